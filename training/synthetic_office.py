"""Office families of the synthetic history: extract, classify, rewrite, translate, ask, summarise. Pure."""

from __future__ import annotations

from training.synthetic_words import LANGUAGES, Drawn, Slots, listed

__all__ = [
    "DRAFTS",
    "RECORDS",
    "REPORT",
    "REVIEWS",
    "classification",
    "extraction",
    "factual",
    "rewriting",
    "summary",
    "translation",
]

RECORDS = (
    "Invoice {code} from {company}, dated {date}, total {money}, payable within {n} days.",
    "Hello, this is {name} from {company}. Please ship {n} units of the {product} to {city} by {date}.",
    "Meeting moved to {weekday} {hour}, room {k}, host {name} ({email}).",
    "Delivery note {code}: {k} pallets, {big} kg, received at {city} by {name} on {date}.",
    "Refund of {money} to {name} approved on {date}; reference {code}.",
    "Booking {code}: {name}, {k} nights in {city}, from {date}, paid {money}.",
    "Contract {code} between {company} and {company} starts {date} and ends after {n} months.",
)
_FIELDS = (
    "invoice number",
    "total amount",
    "currency",
    "date",
    "sender",
    "city",
    "quantity",
    "due date",
    "reference",
    "contact",
)


def extraction(s: Slots) -> Drawn:
    """Ask for fields of short business text."""
    fields = s.some(_FIELDS, 1 + int(4 * s.unit() ** 1.5))
    wanted = ", ".join(fields)
    ask = s.pick(
        (
            f"Extract the {wanted} from the text below.",
            f"Return JSON with the keys: {wanted}. Use null where a value is missing.",
            f"What is the {wanted}?",
            f"Read this and give me {wanted}, nothing else.",
        )
    )
    if s.chance(0.12):
        language = s.pick(list(LANGUAGES))
        return Drawn(f"{ask}\n\n{s.lines(LANGUAGES[language][1], s.integer(1, 3))}", 1, len(fields), language)
    records = s.integer(1, 8) if s.chance(0.3) else 1
    return Drawn(f"{ask}\n\n{s.lines(RECORDS, records, chr(10))}", 1 + records // 3, len(fields))


REVIEWS = (
    "The {product} from {company} {mood}.",
    "Bought the {product} in {month} and it {mood}.",
    "{first} says the {thing} {mood}, I say it {mood}.",
    "After {n} days the {product} {mood}!",
    "Your {system} logged me out {k} times since {weekday}.",
    "I was charged {money} twice for order {code}.",
    "Can {name} call me back about the {product} before {weekday}?",
    "Support in {city} answered within {k} hours, and the {thing} {mood}.",
)
_LABELS = (
    "positive, negative or neutral",
    "billing, technical or other",
    "spam or not spam",
    "urgent, normal or low",
    "complaint, question, praise or cancellation",
    "one of: shipping, returns, product, account, pricing, other",
)


def classification(s: Slots) -> Drawn:
    """Ask for one label of a short text."""
    labels = s.pick(_LABELS)
    sentences = 1 + int(5 * s.unit() ** 2)
    language = "English"
    if s.chance(0.12):
        language = s.pick(list(LANGUAGES))
        text = s.lines(LANGUAGES[language][1], sentences)
    else:
        text = s.lines(REVIEWS, sentences)
    ask = s.pick(
        (
            "Classify as {labels}: {text}",
            "Label ({labels})\n{text}",
            "Is this {labels}?\n\n{text}",
            "Text: {text}\nAnswer with one label, {labels}.",
            "Tag the customer message below. Allowed tags: {labels}.\n\n{text}\n\nTag:",
        )
    )
    return Drawn(ask.replace("{labels}", labels).replace("{text}", text), 1, labels.count(",") // 2, language)


DRAFTS = (
    "We can not ship the {product} before {date} because {company} is out of stock.",
    "Hi {first}, as said on {weekday} we need the signed copy of {code}.",
    "The {system} will be down on {weekday} from {hour} for {k} hours.",
    "Thanks for your patience, {name}, your refund of {money} is on its way.",
    "Our office in {city} moves, the new contact is {email}.",
    "Price of the {product} goes up by {pct} from {month}.",
)
_STYLE_RULES = (
    "Keep it under {n} words.",
    "Do not use the word 'unfortunately'.",
    "Keep all numbers as they are.",
    "End with a question.",
    "Write for {reader}.",
    "Use no exclamation marks.",
    "Mention {name} by name.",
    "Start with the date.",
)


def rewriting(s: Slots) -> Drawn:
    """Ask for another tone."""
    rules = int(4 * s.unit() ** 1.7)
    ask = s.pick(
        ("Rewrite this so it sounds {tone}:", "Make it {tone}:", "Fix grammar and make the tone {tone}.")
    )
    draft = s.lines(DRAFTS, s.integer(1, 5))
    return Drawn(f"{s.fill(ask)} {s.lines(_STYLE_RULES, rules)}\n\n{draft}", 1, rules)


def translation(s: Slots) -> Drawn:
    """Ask for a translation or a rewrite in one of `LANGUAGES`."""
    language = s.pick(list(LANGUAGES))
    asks, sentences = LANGUAGES[language]
    rules = int(3 * s.unit() ** 2)
    if s.chance(0.3):
        ask = f"Translate into {language}, keep names unchanged. {s.lines(_STYLE_RULES, rules)}"
        return Drawn(f"{ask}\n{s.lines(DRAFTS, s.integer(1, 6))}", 1, rules + 1, language)
    text = s.lines(sentences, s.integer(1, 5))
    return Drawn(f"{s.pick(asks)}{text} {s.lines(_STYLE_RULES, rules)}".rstrip(), 1, rules, language)


_SUBJECTS = listed(
    "copper,the river Danube,the human liver,a neutron star,the Meiji era,photosynthesis,the Suez Canal,basalt,TCP,"
    "the Ottoman fleet,olive oil,the cello,monsoon rain,the printing press,penicillin,the Baltic Sea,silk,granite,"
    "the abacus,coral reefs,the euro,lithium cells,the Silk Road,tides,the Bauhaus,rye bread,glaciers,saffron,UTF-8,"
    "the moons of Jupiter,cement,honey bees,the Andes,vulcanised rubber,Roman aqueducts,the Gregorian calendar"
)
_QUESTIONS = (
    (1, "What is {a} known for?"),
    (1, "Tell me one fact about {a} that {reader} would enjoy."),
    (1, "In at most {n} words, why does {a} matter?"),
    (1, "Name {k} things connected with {a}."),
    (2, "How did {a} change between 1{cent}{nn} and 19{nn}?"),
    (2, "What do {a} and {b} have in common, in {k} points?"),
    (2, "Which country is best known for {a}, and who is its neighbour to the east?"),
    (3, "Who first described {a}, in which year, and what was said about {b} {n} years later?"),
    (3, "Compare the role of {a} and {b} in 1{cent}{nn}; name {k} sources and say which is disputed."),
)


def factual(s: Slots) -> Drawn:
    """Ask for a fact; the harder ones chain several."""
    steps, template = s.pick(_QUESTIONS)
    a, b = s.some(_SUBJECTS, 2)
    template = template.replace("{a}", a).replace("{b}", b)
    template = template.replace("{cent}", str(s.integer(4, 8))).replace("{nn}", f"{s.integer(0, 99):02d}")
    lead = s.pick(
        (
            "",
            "",
            "Quick question from {city}: ",
            "{name} asked me this on {weekday}. ",
            "For a quiz no. {n}: ",
        )
    )
    return Drawn(s.fill(lead + template), steps, int(s.chance(0.2)))


REPORT = (
    "On {date} the {team} team in {city} reported that the {system} had failed {k} times within {n} minutes.",
    "{name} argued that the budget of {money} would not cover the second phase, which {company} had promised for {month}.",
    "Sales of the {product} rose by {pct}, while returns fell to {n} units in {city}.",
    "Two customers, {company} and {company}, asked for a discount of {pct} and were refused.",
    "The review found that {k} of {n} sensors had been installed upside down, a fault that nobody had noticed since {month}.",
    "By contrast, the pilot in {city} went well, and {name} proposed to extend it until {date}.",
    "The committee postponed the vote because {name} had not received the figures for the {product}.",
    "A later audit corrected the loss from {money} to {money} without giving a reason.",
    "Residents of {city} complained about noise after {hour}, and the operator agreed to stop work on {weekday}.",
    "The {team} team expects the migration of the {system} to take {k} weeks longer than planned.",
    "Researchers measured a drop of {pct} in water use, but warned that only {n} households had taken part.",
    "{company} will open a plant in {city} with {big} employees, provided that the permit arrives before {month}.",
    "In the discussion it became clear that the {team} and {team} teams meant different things by 'done'.",
    "Weather, not demand, explains most of the change, according to {name}.",
)


def summary(s: Slots) -> Drawn:
    """Ask for a summary of a report, before or after it."""
    sentences = 3 + int(23 * s.unit() ** 1.4)
    rules = int(4 * s.unit() ** 1.6)
    ask = s.fill(
        s.pick(
            (
                "Summarise the following report in {k} sentences.",
                "Give me a summary for {reader}.",
                "TL;DR please, at most {n} words:",
                "List the {k} main points of this text.",
                "Write an abstract of the text below.",
            )
        )
    )
    ask = f"{ask} {s.lines(_STYLE_RULES, rules)}".rstrip()
    body = s.lines(REPORT, sentences)
    text = f"{body}\n\n{ask}" if s.chance(0.25) else f"{ask}\n\n{body}"
    return Drawn(text, 1 + sentences // 6, rules)
