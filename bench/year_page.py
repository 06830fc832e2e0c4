"""The year's figures, as tables for a terminal, a section of YEAR.md and a drawing beside it. Pure but for `Page.write`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.measuring import render_table
from bench.sections import Section, render_markdown
from bench.targets import Target, judge
from bench.year_figure import render_svg
from bench.year_truth import MARGIN_QUALITY, MARGIN_SAVING

__all__ = ["SECTION", "TARGETS", "render_tables"]

TARGETS = (
    Target("weeks in which the promise was kept, of those that routed", "models champion honoured_routed share", 0.95, at_least=True),
    Target("weeks in which the promise was kept, of all", "models champion honoured share", 0.95, at_least=True),
    Target("the same, without the luck of a week's prompts", "models champion honoured_further share", 0.95, at_least=True),
    Target("changes of champion that the truth calls worse", "worse", 0),
)  # fmt: skip
"""What is promised of each year; the other figures are only told."""

CHOSEN_ON = 0
"""The seed of the traffic on which the gate's rule and the reserve were chosen (docs/LOG.md)."""

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
    year = document["years"][0]
    return [
        _result(document["years"]),
        _whole(document["years"]),
        _quarters(year),
        _runs(year, document["workers"]),
        _changes(year),
        _broken(year),
        _events(year),
    ]


def _result(years: list[dict[str, Any]]) -> _Table:
    rows: list[tuple[object, ...]] = []
    for target in TARGETS:
        judged = [_judge(year, target) for year in years]
        rows.append(
            (target.name, judged[0][0], *(cell for _, measured, said in judged for cell in (measured, said)))
        )
    for name, count in (
        ("changes of champion", lambda year: len(year["changes"])),
        (
            "those after which less is saved, though the old one kept the promise",
            lambda year: year["saved_less"],
        ),
    ):
        rows.append((name, "–", *(cell for year in years for cell in (count(year), ""))))
    return (
        "Against targets",
        ("figure", "target", *(cell for year in years for cell in (f"seed {year['seed']}", ""))),
        rows,
        "",
    )


def _judge(year: dict[str, Any], target: Target) -> tuple[str, str, str]:
    """Return a target's bound, its figure, and whether it is met; a share of no weeks is none."""
    found = year["models"]["champion"]["honoured_routed"]
    if "honoured_routed" in target.path and not found["of"]:
        return f"at least {target.limit:g}", "–", ""
    (judged,) = judge(year, [target])
    return judged["target"], f"{judged['measured']:,}", "met" if judged["met"] else "MISSED"


def _whole(years: list[dict[str, Any]]) -> _Table:
    rows: list[tuple[object, ...]] = []
    for year in years:
        of = f", seed {year['seed']}" if len(years) > 1 else ""
        for part, since in (("models", ""), ("models_since_never", f", weeks from {year['since_never']}")):
            for model, found in year[part].items():
                if found is None or (part == "models" and model == "never"):
                    continue
                rows.append(
                    (
                        NAMES[model] + of + since, _share(found["honoured_routed"]), _share(found["honoured"]),
                        _share(found["honoured_further"]), _percent(found["regret"]), _percent(found["worst_regret"]),
                        _percent(found["saving"]), _percent(found["kept"]),
                    )
                )  # fmt: skip
    return (
        "The year" if len(years) == 1 else "The years",
        (
            "who serves", "promise kept, of weeks that routed", "of all weeks", "the same, without the luck of a week's prompts",
            "regret", "worst week", "saving", "quality kept",
        ),
        rows,
        "Kept: the week's true regret is at most the promise. A week in which everything went to the top tier routed nothing, and keeps "
        "it. Intervals are exact, 95 %, as if weeks were independent; neighbours share a champion. Regret, saving and quality are means "
        "over prompts, by the truth. Without luck: on 2,000 other prompts drawn under the same week's conditions.",
    )  # fmt: skip


def _quarters(year: dict[str, Any]) -> _Table:
    rows: list[tuple[object, ...]] = []
    for quarter in year["quarters"]:
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


def _runs(year: dict[str, Any], workers: int) -> _Table:
    runs = year["runs"]
    names = {
        "promoted": "promoted",
        "kept": "kept the champion",
        "do_not_route": "said: do not route",
        "void": "found the champion's certificate void",
        "demoted": "sent everything to the top for it",
        "refused": "refused the data",
        "gate_could_not_run": "could not run the gate",
    }
    seconds = year["seconds"]
    beside = f" ({workers} years ran at a time)" if workers > 1 else ""
    return (
        f"What {runs['runs']} runs did",
        ("run", "times"),
        [(text, runs[name]) for name, text in names.items() if name in runs],
        f"A run took {seconds['median']:g} s in the median and {seconds['longest']:g} s at most{beside}, MLflow's part {seconds['tracking_median']:g} s and "
        f"{seconds['tracking_longest']:g} s. Nobody rolled back, as nobody was there.",
    )


def _changes(year: dict[str, Any]) -> _Table:
    rows = [
        (
            each["week"], each["how"], _percent(each["old"]["saving"]), _percent(each["new"]["saving"]),
            _percent(each["old"]["regret"]), _percent(each["new"]["regret"]), _points(each["saved_more"]), _points(each["kept_more"]),
            "–" if each["same_cost"] is None else _points(each["same_cost"]), "yes" if each["worse"] else "no",
        )
        for each in year["changes"]
    ]  # fmt: skip
    margins = f"{100 * MARGIN_SAVING:.1f} and {100 * MARGIN_QUALITY:.1f} points"
    below = (
        "On 2,000 prompts of the week in which it was decided. Before the first, everything went to the top tier. Quality at the same "
        "cost: what the scores of either buy for what the new one spends. Worse: it breaks the promise that the old one keeps; or "
        "both break it, and the new one by more; or both keep it, and in one of the gate's two measures, saving and quality at the "
        f"same cost, the new one is behind by more than the gate's margin ({margins}), and in the other not ahead by more than its."
    )
    return (
        "Each change of champion by the truth",
        (
            "week", "how", "saving before", "after", "regret before", "after", "saved more, points", "quality kept more, points",
            "quality at the same cost, points", "worse",
        ),
        [*rows],
        "\n\n".join([below if rows else "None.", *_why_less(year)]),
    )  # fmt: skip


def _why_less(year: dict[str, Any]) -> list[str]:
    """Return why the gate did what cost saving though the old champion kept its promise: its rule, and its words."""
    less = [each for each in year["changes"] if each["saved_less"]]
    if not less:
        return []
    return [
        f"In {len(less)} of these, less is saved than before by more than {100 * MARGIN_SAVING:.1f} points, though by the truth the old "
        "champion kept the promise. The gate does not see the truth: to it, a champion whose promise is not proved any more by the "
        "newest prompts saves nothing at the promised quality ([ADR 13](adr/0013-weekly-run.md)). In its words:",
        "\n".join(f"- week {each['week']}: {each['said'] or 'the gate could not run.'}" for each in less),
    ]


def _broken(year: dict[str, Any]) -> _Table:
    rows = [
        (each["served"], each["prompts"], _percent(each["regret"]), _percent(each["further"]))
        for each in year["broken"]
    ]
    return (
        "Weeks in which the promise was broken",
        ("week served", "prompts", "true regret", "without the luck of its prompts"),
        [*rows],
        "" if rows else "None.",
    )


def _events(year: dict[str, Any]) -> _Table:
    def rates(found: list[float] | None) -> str:
        return "–" if found is None else " / ".join(f"{100 * rate:.0f}" for rate in found)

    rows = [
        (each["week"], each["name"], each["text"], rates(each["before"]), rates(each["after"]))
        for each in year["events"]
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
    machine, years = document["machine"], document["years"]
    year = years[0]
    champion = year["models"]["champion"]
    command = f"python -m bench.year --write --seeds {' '.join(str(each['seed']) for each in years)}"
    command += f" --workers {document['workers']}" if document["workers"] > 1 else ""
    command += f" --per-week {document['per_week']}" if document["per_week"] != 600 else ""
    parts = [
        f"`{command}`{_commits(years)}: {year['weeks']} runs, {document['per_week']:,} prompts in a usual week, a window of "
        f"{document['window']} weeks; {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}.",
        _whose_rules([each["seed"] for each in years]),
        f"The promise of at most {100 * year['promise']:g} % regret was kept in {_weeks(champion['honoured_routed'], ' that routed anything')}, "
        f"and in {_weeks(champion['honoured'], ' in all')}; of {len(year['changes'])} changes of champion, the truth calls {year['worse']} "
        f"worse, and {year['saved_less']} saved less than a champion that kept the promise.",
        "![True regret and saving by week, with the promise and what happened when](year.svg)",
    ]
    for title, header, rows, below in _tables(document):
        parts.append(f"### {title}")
        if rows:
            parts.append(render_markdown(header, rows))
        if below:
            parts.append(below)
    return parts


def _weeks(found: dict[str, Any], which: str) -> str:
    told = f"{found['count']} of {found['of']} weeks{which}"
    if not found["of"]:
        return told
    return f"{told} ({_percent(found['share'])}; {100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _commits(years: list[dict[str, Any]]) -> str:
    """Return at which commits the years were run; nothing where it was outside a checkout."""
    found = dict.fromkeys(commit for year in years for commit in year["commits"] if commit)
    told = []
    for each in found:
        commit, _, changes = each.partition("+")
        told.append(f"`{commit[:12]}`" + (" with changes" if changes else ""))
    return f" at commit {', '.join(told)}" if told else ""


def _whose_rules(seeds: list[int]) -> str:
    """Return whether the gate's rule was chosen on what is shown."""
    told = f"The gate's rule and the reserve were chosen on the traffic of seed {CHOSEN_ON} ([LOG.md](LOG.md)). What follows is seed {seeds[0]}"
    if seeds[0] == CHOSEN_ON:
        return f"{told} itself, which flatters them."
    told += ", on which nothing was chosen: other prompts and answers of the same story."
    if len(seeds) > 1:
        others = ", ".join(map(str, seeds[1:]))
        told += f" Beside it stands seed {others}."
    return told


class _Page(Section):
    """A section with a drawing beside it."""

    __slots__ = ()

    def write(self, docs: Path, document: dict[str, Any]) -> None:
        """Write document, drawing and section."""
        (docs / f"{self.name}.svg").write_text(render_svg(document["years"][0]), encoding="utf-8")
        super().write(docs, document)


SECTION = _Page("year", "## Figures", _render_paragraphs, "YEAR.md")
"""Where the figures are kept."""
