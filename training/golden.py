"""Golden inputs: prompts of the project's own making that every artefact is checked with at load.

They cover what a library update could change unnoticed: scripts, accents, case, digits, code, white space,
emptiness, length, and the parts of a conversation.
"""

from __future__ import annotations

from typing import Any

__all__ = ["GOLDEN_PROMPTS"]

GOLDEN_PROMPTS: tuple[str | list[dict[str, Any]], ...] = (
    "",
    " \n\t",
    "Hi",
    "Extract the invoice number from: Invoice INV-20931, due 14 March, total 1,204.50 EUR.",
    "Is this review positive or negative? 'The kettle leaks and nobody answers my mails.'",
    "WRITE A FORMAL REPLY THAT DECLINES THE OFFER BUT KEEPS THE DOOR OPEN.",
    "A train leaves at 09:12 and covers 318 km at 106 km/h. When does it arrive? Show each step.",
    "Prove that the sum of two odd integers is even, then generalise to n odd integers.",
    "Solve for x: 3x^2 - 7x + 2 = 0. Give exact values.",
    "def area(r):\n    return 3.14 * r * 2\n\nWhy does this give the wrong area of a circle?",
    "```sql\nSELECT name, SUM(total) FROM orders GROUP BY city;\n```\nThis query fails. Fix it and say why.",
    "Which of these metals is liquid at room temperature?\nA) iron\nB) mercury\nC) tin\nD) zinc",
    "Summarise in one sentence: the council met on Tuesday, heard two residents, and put off the vote on the "
    "new bridge until the engineers have reported on the flood of last spring.",
    "Translate into French: the meeting has been moved to Thursday afternoon.",
    "Übersetze ins Englische: Die Straße zum Bahnhof ist heute gesperrt, weil gebaut wird.",
    "Résume ce message pour un collègue pressé : la réunion est déplacée à jeudi, salle été.",
    "¿Cuál es la diferencia entre un contrato de obra y uno de servicios? Responde en tres frases.",
    "Объясни простыми словами, почему небо голубое, и приведи один пример.",
    "请用三句话解释什么是复利,并给出一个例子。",
    "この関数の計算量を説明してください。二重ループの中で辞書を引いています。",
    "이 문장을 더 공손하게 고쳐 주세요: 내일까지 보고서 보내.",
    "اشرح الفرق بين الربح والإيراد مع مثال قصير.",
    "इस वाक्य का अंग्रेज़ी में अनुवाद करें: बैठक कल सुबह दस बजे होगी।",
    "ช่วยสรุปข้อความนี้ให้สั้นลงหน่อย",
    "Rate these from best to worst: 🍎🍌🍇 and say why 🙂",
    "cafe\u0301 na\u00efve \ufb01ne \u212b \uff21\uff22\uff23 \u200bhidden",
    "aGVsbG8gd29ybGQsIHRoaXMgaXMgbm90IGEgc2VudGVuY2U=",
    "Answer in LaTeX, \\frac{a}{b} for a fraction: $5 & 7 % of #3, see https://example.org/a_b, then\n- fill in "
    "the blank: the __ of the sea\n- mail it to desk@example.org",
    "zxqv blorptang wibbleforth " * 4,
    "Plan a four-day workshop for twelve people with three rooms, two of them free only in the morning; "
    "nobody may have two sessions at once, and the last afternoon stays empty. " * 4,
    "The minutes of the meeting follow. "
    + "Item: nothing was decided and the chair thanked all. " * 120
    + "List the decisions.",
    [{"role": "user", "content": "What is the capital of Peru?"}],
    [
        {"role": "system", "content": "You are a careful accountant. Answer with a number only."},
        {"role": "user", "content": "Net 1,250 plus 19 % tax?"},
    ],
    [
        {"role": "system", "content": "You book travel."},
        {"role": "user", "content": "Find a train to Lyon on Friday."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "function": {"name": "search"}}],
        },
        {"role": "tool", "content": '{"trains": [{"at": "08:04"}, {"at": "10:31"}]}'},
        {"role": "assistant", "content": "There is one at 08:04 and one at 10:31."},
        {"role": "user", "content": "The later one, please, and a seat by the window."},
    ],
    [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What does the sign in this picture say?"},
                {"type": "image_url", "image_url": {"url": "data:,"}},
            ],
        }
    ],
)
