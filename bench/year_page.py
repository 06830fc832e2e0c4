"""The year's figures, as tables for a terminal, a section of YEAR.md and a drawing beside it. Pure but for `Page.write`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.measuring import render_table
from bench.sections import Section, render_markdown
from bench.targets import Target, judge, target_rows
from bench.year_figure import render_svg

__all__ = ["SECTION", "TARGETS", "render_tables"]

TARGETS = (
    Target("weeks in which the promise was kept, share", "models champion honoured share", 0.95, at_least=True),
    Target("the same, without the luck of a week's prompts", "models champion honoured_further share", 0.95, at_least=True),
    Target("promotions that the truth calls worse", "worse", 0),
)  # fmt: skip
"""What is promised; the other figures are only told."""

NAMES = {"champion": "champion", "newest": "promote always", "never": "never retrain"}

_Table = tuple[str, tuple[str, ...], list[tuple[object, ...]], str]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _share(found: dict[str, Any]) -> str:
    if not found["of"]:
        return "–"
    return f"{found['count']} of {found['of']}: {_percent(found['share'])} ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _tables(document: dict[str, Any]) -> list[_Table]:
    """Return a title, a header, rows and what to say below, for each table."""
    return [
        (
            "Against targets",
            ("figure", "measured", "target", ""),
            target_rows(judge(document, TARGETS)),
            "",
        ),
        _whole(document),
        _quarters(document),
        _runs(document),
        _promotions(document),
        _broken(document),
        _events(document),
    ]


def _whole(document: dict[str, Any]) -> _Table:
    rows: list[tuple[object, ...]] = []
    for part, since in (("models", ""), ("models_since_never", f", weeks from {document['since_never']}")):
        for model, found in document[part].items():
            if found is None or (part == "models" and model == "never"):
                continue
            rows.append(
                (
                    NAMES[model] + since, _share(found["honoured"]), _share(found["honoured_further"]),
                    found["always_top"], _percent(found["regret"]), _percent(found["worst_regret"]), _percent(found["saving"]),
                    _percent(found["kept"]),
                )
            )  # fmt: skip
    return (
        "The year",
        (
            "who serves", "weeks in which the promise was kept", "the same, without the luck of a week's prompts",
            "weeks always top", "regret", "worst week", "saving", "quality kept",
        ),
        rows,
        "Kept: the week's true regret is at most the promise; weeks in which everything went to the top tier count as kept, and have a "
        "column. Intervals are exact, 95 %, as if weeks were independent; neighbours share a champion. Regret, saving and quality are means "
        "over prompts, by the truth. Without luck: on 2,000 other prompts drawn under the same week's conditions.",
    )  # fmt: skip


def _quarters(document: dict[str, Any]) -> _Table:
    rows: list[tuple[object, ...]] = []
    for quarter in document["quarters"]:
        runs = quarter["runs"]
        for model in NAMES:
            found = quarter[model]
            if found is None:
                continue
            changes = f"{runs['promoted']} of {runs['runs']}" if model == "champion" else ""
            rows.append(
                (
                    f"{quarter['from']} to {quarter['to']}", NAMES[model], changes,
                    f"{found['honoured']['count']} of {found['honoured']['of']}", found["always_top"],
                    _percent(found["regret"]), _percent(found["worst_regret"]), _percent(found["saving"]), _percent(found["kept"]),
                )
            )  # fmt: skip
    return (
        "By quarter",
        ("weeks served", "who serves", "promotions", "kept", "always top", "regret", "worst week", "saving", "quality kept"),
        rows,
        "",
    )  # fmt: skip


def _runs(document: dict[str, Any]) -> _Table:
    runs = document["runs"]
    names = {
        "promoted": "promoted",
        "kept": "kept the champion",
        "do_not_route": "said: do not route",
        "void": "found the champion's certificate void",
        "demoted": "sent everything to the top for it",
        "refused": "refused the data",
        "gate_could_not_run": "could not run the gate",
    }
    seconds = document["seconds"]
    return (
        f"What {runs['runs']} runs did",
        ("run", "times"),
        [(text, runs[name]) for name, text in names.items() if name in runs],
        f"A run took {seconds['median']:g} s in the median and {seconds['longest']:g} s at most, MLflow's part {seconds['tracking_median']:g} s and "
        f"{seconds['tracking_longest']:g} s. Nobody rolled back, as nobody was there.",
    )


def _promotions(document: dict[str, Any]) -> _Table:
    rows = [
        (
            each["week"], _percent(each["old"]["saving"]), _percent(each["new"]["saving"]),
            _percent(each["old"]["regret"]), _percent(each["new"]["regret"]), _points(each["saved_more"]), _points(each["kept_more"]),
            "yes" if each["worse"] else "no",
        )
        for each in document["promotions"]
    ]  # fmt: skip
    return (
        "Each promotion by the truth",
        ("week", "saving before", "after", "regret before", "after", "saved more, points", "quality kept more, points", "worse"),
        [*rows],
        "On 2,000 prompts of the week in which it was decided. Before the first, everything went to the top tier. Worse: it breaks the "
        "promise that the old one keeps, or both keep it and it saves less or keeps less quality by more than a point and makes up for it by nothing.",
    )  # fmt: skip


def _broken(document: dict[str, Any]) -> _Table:
    rows = [
        (each["served"], each["prompts"], _percent(each["regret"]), _percent(each["further"]))
        for each in document["broken"]
    ]
    return (
        "Weeks in which the promise was broken",
        ("week served", "prompts", "true regret", "without the luck of its prompts"),
        [*rows],
        "" if rows else "None.",
    )


def _events(document: dict[str, Any]) -> _Table:
    def rates(found: list[float] | None) -> str:
        return "–" if found is None else " / ".join(f"{100 * rate:.0f}" for rate in found)

    rows = [
        (each["week"], each["name"], each["text"], rates(each["before"]), rates(each["after"]))
        for each in document["events"]
    ]
    return (
        "What happened",
        ("from week", "in the figure", "what", "pass rates before, %", "after"),
        [*rows],
        "Pass rates of small, medium and large over the week's traffic. Beside these, slowly: coding, debugging and chats grow, "
        "translation, classification and summaries shrink, and up to 30 % of prompts come with pasted background.",
    )


def render_tables(document: dict[str, Any]) -> list[str]:
    """Return the tables for a terminal."""
    return [
        f"{title}\n{render_table(header, rows)}\n{below}\n"
        for title, header, rows, below in _tables(document)
    ]


def _render_paragraphs(document: dict[str, Any]) -> list[str]:
    machine = document["machine"]
    kept = document["models"]["champion"]["honoured"]
    command = "python -m bench.year --write" + (f" --seed {document['seed']}" if document["seed"] else "")
    if document["per_week"] != 600:
        command += f" --per-week {document['per_week']}"
    parts = [
        f"`{command}`: {document['weeks']} runs, {document['per_week']:,} prompts in a usual week, a window of {document['window']} weeks, seed {document['seed']}; "
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}.",
        f"The promise of at most {100 * document['promise']:g} % regret was kept in {kept['count']} of {kept['of']} weeks, {_percent(kept['share'])} "
        f"({100 * kept['low']:.1f} to {100 * kept['high']:.1f}); of {len(document['promotions'])} promotions, the truth calls {document['worse']} worse.",
        "![True regret and saving by week, with the promise and what happened when](year.svg)",
    ]
    for title, header, rows, below in _tables(document):
        parts.append(f"### {title}")
        if rows:
            parts.append(render_markdown(header, rows))
        if below:
            parts.append(below)
    return parts


class _Page(Section):
    """A section with a drawing beside it."""

    __slots__ = ()

    def write(self, docs: Path, document: dict[str, Any]) -> None:
        """Write document, drawing and section."""
        (docs / f"{self.name}.svg").write_text(render_svg(document), encoding="utf-8")
        super().write(docs, document)


SECTION = _Page("year", "## Figures", _render_paragraphs, "YEAR.md")
"""Where the figures are kept."""
