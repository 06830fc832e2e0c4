"""Words of the synthetic history: what the slots of the grammar are filled with.

Data, the class that draws from it, and the form of what is drawn. Everything here was written for this
project; people, companies and products are invented. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

__all__ = ["LANGUAGES", "WORDS", "Drawn", "Message", "Slots", "listed"]

T = TypeVar("T")
Message = dict[str, Any]


def listed(text: str) -> tuple[str, ...]:
    """Return the comma-separated words of a text."""
    return tuple(text.split(","))


WORDS: dict[str, tuple[str, ...]] = {
    "first": listed(
        "Ada,Bela,Carlo,Dunja,Emeka,Farid,Greta,Hanna,Ivo,Jun,Kiran,Lena,Mateo,Nadia,Oskar,Priya,"
        "Quentin,Rosa,Samir,Tomoko,Ulla,Viktor,Wanda,Ximena,Yusuf,Zoe,Amara,Bruno,Chiara,Dmitri,Elif,"
        "Fatou,Goran,Hui,Ines,Jonas,Katya,Liam,Mina,Noor"
    ),
    "last": listed(
        "Abel,Brandt,Castro,Dinh,Eriksen,Fontaine,Gupta,Haddad,Ito,Jansen,Kovac,Lindqvist,Moreau,"
        "Nowak,Okafor,Petrov,Quiroga,Rossi,Sato,Tanaka,Ueda,Vasquez,Weber,Xu,Yilmaz,Zeman,Almeida,"
        "Boateng,Cohen,Duarte,Egger,Farah,Grimm,Horvat,Iyer,Jovic,Keller,Laine,Meyer,Nagy"
    ),
    "city": listed(
        "Lyon,Osaka,Leipzig,Porto,Lagos,Tampere,Denver,Pune,Lima,Kazan,Bergen,Nairobi,Busan,Seville,Ghent,"
        "Quito,Izmir,Hanoi,Graz,Leeds,Tunis,Cordoba,Adelaide,Gdansk,Aleppo,Calgary,Xiamen,Trieste,Accra,Brno"
    ),
    "firm": listed(
        "Northlake,Verdano,Bluefern,Kestrel,Ostara,Palmetto,Quarrion,Ridgeway,Solvance,Tamarind,Umbra,Vantree,"
        "Westrow,Yarrow,Zephyrine,Amberfield,Brightwell,Cinderpath,Dovetail,Everline,Foxglove,Gullwing,Harrowgate,"
        "Ironbark,Juniper"
    ),
    "kind": listed("Logistics,Foods,Optics,Energy,Textiles,Health,Software,Freight,Ceramics,Mobility"),
    "shade": listed("compact,steel,foldable,wireless,organic,heavy-duty,quiet,solar,blue,refurbished"),
    "thing": listed(
        "kettle,headset,drill,backpack,lamp,router,printer,tent,bicycle pump,blender,monitor,desk,water filter,"
        "keyboard,thermostat,jacket,camera,toaster,speaker,ladder,charger,scale,mixer,heater,sensor"
    ),
    "month": listed("January,February,March,April,May,June,July,August,September,October,November,December"),
    "weekday": listed("Monday,Tuesday,Wednesday,Thursday,Friday"),
    "currency": ("USD", "EUR", "GBP", "CHF", "JPY", "INR"),
    "team": listed(
        "billing,platform,payments,search,mobile,warehouse,data,support,identity,procurement,legal,growth"
    ),
    "verb": listed("load,merge,parse,rank,sync,fetch,split,build,score,clean,group,trim,map,flush,scan"),
    "noun": listed(
        "orders,users,events,batches,rows,scores,tokens,routes,nodes,carts,leads,sessions,prices,"
        "tickets,files"
    ),
    "system": listed(
        "order service,login page,invoice export,search index,message queue,mobile app,report builder,"
        "price feed,backup job,image store,payment gateway,mail relay"
    ),
    "mood": listed(
        "is a joy,works as promised,broke after a week,was late again,is fine I suppose,exceeded what I hoped for,"
        "smells odd,arrived dented,makes my mornings easier,is not worth the price,does the job,confused my parents,"
        "needs a better manual,saved our weekend,keeps losing the connection,is quieter than the old one"
    ),
    "tone": listed(
        "friendly,formal,neutral,warmer,shorter and firmer,plain,apologetic,confident,less technical,more polite"
    ),
    "reader": listed(
        "a new customer,the board,a ten-year-old,a supplier,our auditors,a busy manager,an engineer,the press"
    ),
}
"""Slot name to what may fill it; other slots are computed by `Slots.slot`."""

LANGUAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "German": (
        (
            "Übersetze ins Englische: ",
            "Formuliere den folgenden Text höflicher: ",
            "Wie lautet das auf Englisch? ",
        ),
        (
            "Die Lieferung {code} aus {city} verspätet sich um {k} Tage.",
            "Bitte senden Sie die Rechnung über {money} bis zum {n}. an {name}.",
            "Wir haben {n} Stück bestellt, aber nur {k} erhalten.",
            "{name} ist ab {weekday} wieder im Büro in {city} erreichbar.",
            "Der Vertrag mit {company} läuft in {k} Monaten aus, falls niemand ihn verlängert.",
        ),
    ),
    "Spanish": (
        ("Traduce al inglés: ", "Reescribe con un tono más formal: ", "¿Cómo se dice esto en inglés? "),
        (
            "El pedido {code} salió de {city} hace {k} días y todavía no ha llegado.",
            "{name} necesita una copia de la factura de {money} antes de las {hour}.",
            "La reunión con {company} se aplazó porque faltaban {n} documentos.",
            "Compramos {n} unidades, pero {k} estaban dañadas.",
            "¿Podrían confirmar si la garantía cubre el envío a {city}?",
        ),
    ),
    "French": (
        (
            "Traduis en anglais : ",
            "Réécris ce message de façon plus concise : ",
            "Comment dit-on en anglais : ",
        ),
        (
            "Le colis {code} est resté bloqué à {city} pendant {k} jours.",
            "{name} souhaite annuler l'abonnement de {money} sans frais.",
            "Nous avons reçu {n} cartons, dont {k} étaient ouverts.",
            "La société {company} propose une remise de {pct} sur la prochaine commande.",
            "Merci de rappeler le client avant {hour}, il attend depuis ce matin.",
        ),
    ),
    "Japanese": (
        (
            "次の文を英語に訳してください。",
            "もっと丁寧な表現に書き直してください。",
            "英語でどう言いますか。",
        ),
        (
            "注文番号{code}の商品が{k}日遅れています。",
            "{name}さんは{hour}に{city}の事務所に到着する予定です。",
            "{money}の請求書をもう一度送っていただけますか。",
            "{n}個のうち{k}個が壊れていました。",
            "{company}との契約は来月更新される見込みです。",
        ),
    ),
    "Arabic": (
        ("ترجم إلى الإنجليزية: ", "أعد صياغة الرسالة بأسلوب رسمي: ", "كيف أقول هذا بالإنجليزية؟ "),
        (
            "تأخرت الشحنة {code} القادمة من {city} لمدة {k} أيام.",
            "يرجى إرسال الفاتورة بقيمة {money} قبل الساعة {hour}.",
            "استلمنا {n} قطعة وكانت {k} منها تالفة.",
            "طلب {name} إلغاء الاجتماع مع شركة {company}.",
            "هل يشمل الضمان الإصلاح في {city}؟",
        ),
    ),
    "Hindi": (
        ("अंग्रेज़ी में अनुवाद करें: ", "इस संदेश को और विनम्र बनाइए: ", "इसे अंग्रेज़ी में कैसे कहेंगे? "),
        (
            "ऑर्डर {code} {city} से {k} दिन देर से आया।",
            "कृपया {money} का बिल {hour} से पहले भेज दीजिए।",
            "हमने {n} मँगाए थे, पर {k} टूटे हुए निकले।",
            "{name} अगले सप्ताह {company} के साथ बैठक करेंगे।",
            "क्या वारंटी {city} में भी मान्य है?",
        ),
    ),
    "Russian": (
        ("Переведи на английский: ", "Перепиши вежливее: ", "Как это сказать по-английски? "),
        (
            "Заказ {code} задержался в городе {city} на {k} дня.",
            "{name} просит выслать счёт на {money} до {hour}.",
            "Мы заказали {n} штук, но {k} пришли с браком.",
            "Договор с {company} истекает через {k} месяцев.",
            "Подскажите, действует ли гарантия при доставке в {city}?",
        ),
    ),
    "Chinese": (
        ("请翻译成英文：", "请把这段话改得更正式：", "这句话用英语怎么说？"),
        (
            "订单{code}从{city}发出后已经延误了{k}天。",
            "请在{hour}之前把{money}的发票发给{name}。",
            "我们订购了{n}件，其中{k}件有损坏。",
            "与{company}的合同将在{k}个月后到期。",
            "请问保修是否包括寄往{city}的运费？",
        ),
    ),
}
"""Language to its instructions (translate or rewrite) and the sentences to work on."""


class Drawn(NamedTuple):
    """One prompt and the visible things that make it hard.

    Attributes
    ----------
    content : str or list of dict
        The prompt, or OpenAI-style chat messages.
    steps : int
        Inferences, operands or turns the answer needs.
    constraints : int
        Conditions that the answer has to meet.
    language : str
        English, one of `LANGUAGES`, or the programming language asked for.
    """

    content: str | list[Message]
    steps: int = 1
    constraints: int = 0
    language: str = "English"


_SLOT = re.compile(r"\{(\w+)\}")
_REFILL = 8192  # uniforms drawn at once: one call of the generator per thousands of slots


class Slots:
    """A stream of choices: the same generator state gives the same choices.

    Parameters
    ----------
    rng : numpy.random.Generator
        Used by this stream alone.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: list[float] = []

    def unit(self) -> float:
        """Draw from [0, 1)."""
        if not self._left:
            self._left = self._rng.random(_REFILL).tolist()
        return self._left.pop()

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.unit() < probability

    def integer(self, low: int, high: int) -> int:
        """Draw an integer from low to high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Draw one option."""
        return options[int(self.unit() * len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Draw count different options, or all of them where there are fewer, in random order."""
        pool = list(options)
        return [pool.pop(int(self.unit() * len(pool))) for _ in range(min(count, len(pool)))]

    def fill(self, template: str) -> str:
        """Return the template with each {slot} drawn anew."""
        return _SLOT.sub(lambda match: self.slot(match[1]), template)

    def lines(self, templates: Sequence[str], count: int, separator: str = " ") -> str:
        """Return count filled templates; none is repeated before all were used."""
        chosen: list[str] = []
        while len(chosen) < count:
            chosen += self.some(templates, count - len(chosen))
        return separator.join(self.fill(template) for template in chosen)

    def slot(self, name: str) -> str:
        """Draw what fills one slot; an unknown name is a KeyError."""
        if name in WORDS:
            return self.pick(WORDS[name])
        if name in _COMPOUND:
            return self.fill(self.pick(_COMPOUND[name]))
        low, high, form = _NUMBER[name]
        return form.format(self.integer(low, high))


_COMPOUND: dict[str, tuple[str, ...]] = {
    "name": ("{first} {last}",),
    "company": ("{firm} {kind}", "{firm} & {last}", "{last} {kind}", "{firm} {kind} Ltd"),
    "product": ("{shade} {thing}",),
    "date": ("{day} {month} {year}", "{month} {day}, {year}", "{year}-{mm}-{day}"),
    "money": ("{currency} {big}.{cc}", "{big} {currency}", "{currency} {big}"),
    "code": ("{firm}-{big}", "INV-{serial}", "#{serial}", "PO {serial}"),
    "email": ("{first}.{last}@example.com", "{team}@example.org"),
    "func": ("{verb}_{noun}", "{verb}_{noun}_by_{noun}", "{verb}_all_{noun}"),
}
_NUMBER: dict[str, tuple[int, int, str]] = {
    "k": (2, 9, "{}"),
    "n": (11, 99, "{}"),
    "big": (100, 9899, "{}"),
    "serial": (10000, 99999, "{}"),
    "cc": (0, 99, "{:02d}"),
    "day": (1, 28, "{}"),
    "mm": (1, 12, "{:02d}"),
    "year": (2019, 2026, "{}"),
    "pct": (2, 64, "{} %"),
    "hour": (7, 19, "{}:30"),
}
