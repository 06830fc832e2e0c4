"""A judge of known faults: it reads what `training/grade/judges` asks, and errs as often as it is told to.

Pure. What is right it knows from the skills, as the models do, or else from the reference that it is shown. Its errors
depend on the question and the responses, so that both orders of a pair meet the same judge.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from abilities import chance, digest
from skills import read

__all__ = ["JUDGE", "Judge"]

JUDGE = "standin-judge"
_HEAD = re.compile(r"Task id: ([0-9a-f]{16})\nKind: (absolute|pairwise)\n")
_NAMES = "RUBRIC|QUESTION|REFERENCE|RESPONSE A|RESPONSE B|RESPONSE"
_OFF_FORMAT = (
    "I would say that this is quite good.",
    "Score: 4 out of 5",
    '{"id": "%s", "score":',
    '{"id": "0123", "score": 4, "winner": "A"}',
    '{"verdict": "%s"}',
)


@dataclass(frozen=True, slots=True)
class Judge:
    """How a judge errs: each is a probability.

    Attributes
    ----------
    false_pass, false_fail : float
        That a wrong response gets 4 or 5, and a right one 1 or 2.
    error : float
        That of a pair the worse is preferred, or one of two that are alike.
    position_bias : float
        That "A" wins a pair, whatever stands there.
    off_format : float
        That a call is answered in another form than was asked for.
    """

    false_pass: float = 0.08
    false_fail: float = 0.05
    error: float = 0.08
    position_bias: float = 0.0
    off_format: float = 0.0

    def answer(self, prompt: str, seed: int = 0) -> str:
        """Return the verdict on a judge's prompt."""
        head = _HEAD.match(prompt)
        if head is None:
            return "There is nothing here to judge."
        nonce, kind = head.groups()
        fences = rf"^<<<({_NAMES}) {nonce}>>>\n(.*?)\n<<<END \1 {nonce}>>>$"
        parts = dict(re.findall(fences, prompt, re.S | re.M))
        off = digest(seed, "off format", prompt)
        if chance(off) < self.off_format:
            form = _OFF_FORMAT[off[-1] % len(_OFF_FORMAT)]
            return form.replace("%s", nonce)
        question, reference = parts.get("QUESTION", ""), parts.get("REFERENCE")
        if kind == "absolute":
            score = self._score(question, parts.get("RESPONSE", ""), reference, seed)
            verdict: dict[str, object] = {"id": nonce, "score": score}
        else:
            winner = self._winner(
                question, parts.get("RESPONSE A", ""), parts.get("RESPONSE B", ""), reference, seed
            )
            verdict = {"id": nonce, "winner": winner}
        return f"I compared it with what was asked.\n{json.dumps(verdict)}"

    def _score(self, question: str, response: str, reference: str | None, seed: int) -> int:
        right = _is_right(question, response, reference)
        drawn = digest(seed, "score", question, response)
        if right is None:
            return 1 + drawn[-1] % 5
        errs = chance(drawn) < (self.false_fail if right else self.false_pass)
        return (4 if right != errs else 1) + drawn[-1] % 2

    def _winner(self, question: str, a: str, b: str, reference: str | None, seed: int) -> str:
        drawn = digest(seed, "pair", question, sorted((a, b)))
        if chance(drawn) < self.position_bias:
            return "A"
        better = (_is_right(question, a, reference) is True) - (_is_right(question, b, reference) is True)
        if chance(drawn[::-1]) < self.error:
            better = -better or (1 if a <= b else -1)
        return ("tie", "A", "B")[better]


def _is_right(question: str, response: str, reference: str | None) -> bool | None:
    """Return whether a response is right; None where there is nothing to tell it by."""
    reading = read(question.rpartition("[user]\n")[2])
    if reading is not None:
        return reading.task.is_right(response)
    return None if reference is None else reference.strip().casefold() in response.casefold()
