"""Prompts of the synthetic history: the task families, their shares, and the surface of real traffic.

Each builder draws a prompt and says the visible things that make it hard: how many steps, how many
constraints, which language. It knows nothing of tiers; training/synthetic.py turns what it says into
outcomes. Pure: the same `Slots` stream gives the same prompts.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from training.synthetic_office import (
    DRAFTS,
    RECORDS,
    REPORT,
    REVIEWS,
    classification,
    extraction,
    factual,
    rewriting,
    summary,
    translation,
)
from training.synthetic_reasoning import arithmetic, coding, debugging, legal, planning
from training.synthetic_words import Drawn, Message, Slots

__all__ = ["FAMILIES", "draw_prompt", "nearly_repeat", "text_of"]

WRAPPED_SHARE = 0.056
"""Share of the plain families given as system and user message; with agents and chats, about 15 % of all."""


def text_of(content: str | list[Message]) -> str:
    """Return all the text a model is given: the prompt, or what the messages and tool calls say. Pure."""
    if isinstance(content, str):
        return content
    parts = []
    for message in content:
        parts.append(message["content"] or "")
        parts += [call["function"]["arguments"] for call in message.get("tool_calls", ())]
    return "\n".join(parts)


_TOOLS = ("find_order", "list_invoices", "refund", "book_slot", "search_docs", "update_ticket")
_AGENT_RULES = (
    "Ask before any refund above {money}.",
    "Never show an email address.",
    "Answer in at most {n} words.",
    "Check the stock in {city} first.",
    "Escalate to {name} after {k} failed calls.",
)


def agent(s: Slots) -> Drawn:
    """Draw a tool-using agent's conversation up to its next turn."""
    turns, rules = s.integer(1, 7), s.integer(0, 4)
    tools = s.some(_TOOLS, s.integer(2, 5))
    system = f"You are the {s.slot('team')} agent of {s.slot('company')}. Tools: {', '.join(tools)}."
    messages: list[Message] = [
        {"role": "system", "content": f"{system} {s.lines(_AGENT_RULES, rules)}".rstrip()},
        {"role": "user", "content": s.lines(REVIEWS + RECORDS, s.integer(1, 2))},
    ]
    for turn in range(turns):
        arguments = {"reference": s.slot("code"), "limit": s.integer(1, 50)}
        call = {"name": s.pick(tools), "arguments": json.dumps(arguments)}
        result = {
            "status": s.pick(("ok", "ok", "ok", "timeout", "not found")),
            "text": s.fill(s.pick(RECORDS)),
        }
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{turn}", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": f"call_{turn}", "content": json.dumps(result)},
        ]
    if s.chance(0.5):
        messages.append({"role": "user", "content": s.fill(s.pick(_CHAT_TURNS))})
    return Drawn(messages, turns, rules)


_CHAT_TURNS = (
    "And what about {city}?",
    "That is not what I meant, I asked about the {product}.",
    "Please do the same for {company}, from {date}.",
    "Could you shorten that to {n} words?",
    "Are you sure? {name} says it was {money}.",
    "Thanks. One more thing: how would you explain this to {reader}?",
    "Put it into a table with {k} columns.",
)


def chat(s: Slots) -> Drawn:
    """Draw a chat of several turns that began as another family."""
    turns = s.integer(1, 6)
    start = s.pick((factual, rewriting, classification, arithmetic))(s)
    messages: list[Message] = [{"role": "user", "content": text_of(start.content)}]
    for _ in range(turns):
        messages.append({"role": "assistant", "content": s.lines(REPORT + DRAFTS, s.integer(1, 2))})
        messages.append({"role": "user", "content": s.fill(s.pick(_CHAT_TURNS))})
    return Drawn(messages, turns + start.steps // 2, start.constraints, start.language)


FAMILIES: dict[str, tuple[float, str, Callable[[Slots], Drawn]]] = {
    "extraction": (0.12, "inbox", extraction),
    "classification": (0.10, "inbox", classification),
    "rewriting": (0.08, "editor", rewriting),
    "translation": (0.08, "editor", translation),
    "factual": (0.08, "assistant", factual),
    "summary": (0.08, "editor", summary),
    "coding": (0.10, "ide", coding),
    "debugging": (0.07, "ide", debugging),
    "arithmetic": (0.08, "assistant", arithmetic),
    "planning": (0.06, "assistant", planning),
    "legal": (0.05, "contracts", legal),
    "agent": (0.05, "helpdesk", agent),
    "chat": (0.05, "helpdesk", chat),
}
"""Task family to its share of the traffic (they add up to one), the product feature it is logged under,
and its builder."""

_ENDINGS = (" Thanks!", " Thank you.", "\n", " Be brief.", " Think step by step.", " cheers, {first}")


def draw_prompt(family: str, slots: Slots) -> Drawn:
    """Draw one prompt of a family, with the small variations of real traffic in its surface."""
    drawn = FAMILIES[family][2](slots)
    if not isinstance(drawn.content, str):
        return drawn
    text = drawn.content
    if slots.chance(0.15):
        text += slots.fill(slots.pick(_ENDINGS))
    if slots.chance(0.06):
        text = text.lower()
    if slots.chance(WRAPPED_SHARE):
        system = slots.fill(
            slots.pick(("You are a helpful assistant.", "You work for {company}.", "Be concise."))
        )
        return drawn._replace(
            content=[{"role": "system", "content": system}, {"role": "user", "content": text}]
        )
    return drawn._replace(content=text)


def nearly_repeat(drawn: Drawn, slots: Slots) -> Drawn:
    """Return the same prompt with a trivial change in the last thing the user says."""
    change: Callable[[str], str] = slots.pick(
        (
            lambda text: f"{text} ",
            lambda text: f"Please: {text}",
            lambda text: f"{text}\n\n",
            lambda text: f"{text} Thanks.",
            lambda text: f"Hi, {text}",
            lambda text: f"{text} ?",
        )
    )
    if isinstance(drawn.content, str):
        return drawn._replace(content=change(drawn.content))
    messages = [dict(message) for message in drawn.content]
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    messages[last]["content"] = change(messages[last]["content"])
    return drawn._replace(content=messages)
