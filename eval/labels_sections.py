"""The sections of a label report: titles, sentences and tables, the same for the page, the Markdown and the terminal.

Pure, from the document to plain text; each format escapes what it writes.
"""

from __future__ import annotations

from typing import Any

from eval.labels_agreement import HUMAN
from eval.labels_parts import Cell, Entry, Section, Table
from eval.labels_words import say_suspects
from eval.report_words import MISSING, SLICE_KINDS, clean, count, decimal, interval, percent, shorten, usd

__all__ = ["sections"]

_MOST_ROWS = 40
_LONGEST_ID = 40
ALL = "all"


def sections(document: dict[str, Any]) -> list[Section]:
    """Return the sections in the order in which they are read; those with nothing to say are left out."""
    found = [
        _rates(document),
        _suspects(document),
        _agreement(document),
        _inversions(document["inversions"]),
        _noise(document["noise"]),
        _more(document["more"]),
        _censored(document["censored"]),
        _cost(document["usd"]),
        _counts(document["counts"]),
    ]
    return [each for each in found if each.text or each.tables or each.figure]


def _share(share: dict[str, Any] | None) -> Cell:
    said, bounds = interval(share)
    if share is not None and share["few"] and share["rows"]:
        bounds = f"{bounds}, few" if bounds else "few"
    return Cell(said, bounds)


def _rates(document: dict[str, Any]) -> Section:
    rates = document["rates"]
    tables = [_rate_table("All prompts; 95% intervals beneath", "", [(ALL, rates["all"]), *_whole(rates)])]
    kinds = dict.fromkeys(entry["by"] for entry in rates["slices"])
    tables += [
        _rate_table(
            f"{SLICE_KINDS.get(by, f'By {clean(by)}')}; 95% intervals beneath",
            clean(by),
            [(entry["value"], entry) for entry in rates["slices"] if entry["by"] == by],
        )
        for by in kinds
    ]
    text = ["An answer passes from a score of " + decimal(document["pass_score"], 2) + "."]
    if any(tier["rate"]["few"] for entry in (rates["all"], *rates["slices"]) for tier in entry["tiers"]):
        text.append(
            "What rests on fewer than 20 groups is marked few and not drawn: such a rate says little."
        )
    if any(tier["mean_score"] for tier in rates["all"]["tiers"]):
        judged = document["noise"] is not None and document["noise"]["mean"] > 0.0
        text.append(
            "A judged answer’s score is the chance that a person would pass it, so the mean score is the better estimate of how "
            "often a tier is right; the pass rate counts verdicts."
            if judged
            else "Not all scores are 0 or 1, so their mean stands beside the share that passes."
        )
    return Section("rates", "How often each tier passes", tuple(text), tuple(tables), figure="rates")


def _whole(rates: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [] if rates["whole"] is None else [("labels on all tiers", rates["whole"])]


def _rate_table(caption: str, by: str, entries: list[tuple[str, dict[str, Any]]]) -> Table:
    rows = []
    for said, entry in entries:
        note = f"{percent(entry['share'], 0)} of the log" if abs(entry["share"] - 1.0) > 1e-9 else ""
        about = (Cell(clean(said), note), Cell(count(entry["prompts"]), f"{count(entry['groups'])} groups"))
        rows.append((*about, *(_share(tier["rate"]) for tier in entry["tiers"])))
        if said == ALL and any(tier["mean_score"] for tier in entry["tiers"]):
            means = (_share(tier["mean_score"] or tier["rate"]) for tier in entry["tiers"])
            rows.append((Cell("mean score"), about[1], *means))
    head = (by, "prompts", *(shorten(tier["tier"], 24) for tier in entries[0][1]["tiers"]))
    return Table(caption, head, tuple(rows))


def _suspects(document: dict[str, Any]) -> Section:
    title, suspects = "Suspected grader errors", document["suspects"]
    if not suspects:
        return Section("suspects", title, (say_suspects(document),))
    text = "Each is what was seen, not what it means: models can do the same. labels.json names up to 20 prompts of each."
    return Section("suspects", title, (text,), entries=tuple(map(_suspect, suspects)))


def _suspect(each: dict[str, Any]) -> Entry:
    about = f" ({shorten(each['about'], 60)})" if each["about"] else ""
    seen = f"{count(each['count'])} of {count(each['of'])} {each['unit']}, {percent(each['share'])}"
    return Entry(
        f"{each['kind'][0].upper()}{each['kind'][1:]}{about}",
        (
            f"{seen}. {clean(each['text'])} Look at {each['look_at']}.",
            f"Prompts: {_ids(each['prompt_ids'], 5)}",
        ),
    )


def _ids(ids: list[str], most: int) -> str:
    return ", ".join(shorten(prompt, _LONGEST_ID) for prompt in ids[:most]) + (
        ", …" if len(ids) > most else ""
    )


def _agreement(document: dict[str, Any]) -> Section:
    graders, agreement = document["graders"], document["agreement"]
    if not graders:
        return Section("graders", "")
    own = Table(
        "What each grader said",
        ("grader", "asked", "graded", "passes", "no score"),
        tuple(
            (
                Cell(shorten(each["grader"], 40)),
                Cell(count(each["asked"])),
                Cell(count(each["graded"])),
                _share(each["rate"]),
                Cell(
                    count(sum(each["none"].values())),
                    ", ".join(f"{clean(why)} {count(n)}" for why, n in list(each["none"].items())[:3]),
                ),
            )
            for each in graders
        ),
    )
    if not agreement["pairs"]:
        alone = (
            "One grader graded all" if len(graders) == 1 else "No two graders graded ten answers in common"
        )
        return Section("graders", "Graders", (f"{alone}, so there is no agreement to measure.",), (own,))
    pairs = Table(
        "How far graders agree on the answers that both graded; 95% intervals beneath",
        ("graders", "answers", "same verdict", "kappa", "only the first passes", "only the second"),
        tuple(
            (
                Cell(f"{shorten(pair['a'], 40)} and {shorten(pair['b'], 40)}"),
                Cell(count(pair["n"]), f"{count(pair['groups'])} groups"),
                _bounds(pair, "share", "percent"),
                _bounds(pair, "kappa", "decimal"),
                Cell(count(pair["only_a"])),
                Cell(count(pair["only_b"])),
            )
            for pair in agreement["pairs"]
        ),
    )
    text = [
        "Kappa is agreement beyond chance: 1 is full agreement, 0 what two graders who know nothing of each other reach. Graders of "
        "different things, such as form and content, need not agree."
    ]
    if any(pair["b"] == HUMAN for pair in agreement["pairs"]):
        text.append(
            "A judge that was measured on these people’s grades carries them, and so agrees by construction: compare it with "
            "grades that it has not seen."
        )
    if len(agreement["pairs"]) < agreement["looked_at"]:
        text.append(
            f"{count(agreement['looked_at'])} pairs have answers in common; those with the most are shown."
        )
    return Section("graders", "Graders, and how far they agree", tuple(text), (own, pairs))


def _bounds(pair: dict[str, Any], key: str, unit: str) -> Cell:
    said, bounds = interval(
        {"value": pair[key], "low": pair[f"{key}_low"], "high": pair[f"{key}_high"]}, unit
    )
    return Cell(said, bounds)


def _inversions(found: dict[str, Any]) -> Section:
    if not found["prompts"]:
        return Section("inversions", "")
    rows = []
    for pair in found["pairs"]:
        expected = Cell(MISSING)
        if pair["expected"] is not None:
            on = (
                ""
                if pair["expected_on"] == pair["prompts"]
                else f"{count(pair['seen_on'])} seen on {count(pair['expected_on'])} known"
            )
            expected = Cell(decimal(pair["expected"], 1), on)
        rows.append(
            (
                Cell(
                    f"{shorten(pair['cheap'], 40)} passes, {shorten(pair['dear'], 40)} fails",
                    shorten(_ids(pair["prompt_ids"], 3), 36),
                ),
                Cell(count(pair["prompts"])),
                Cell(count(pair["count"])),
                _share(pair["share"]),
                expected,
                Cell(count(pair["reverse"])),
            )
        )
    head = ("pair", "prompts", "cases", "share", "by noise alone", "the other way round")
    tables = [Table("By pair of tiers; 95% intervals beneath", head, tuple(rows))]
    parts = [each for each in found["slices"] if each["prompts"]]
    if parts:
        tables.append(
            Table(
                "By slice",
                ("slice", "prompts", "cases", "share"),
                tuple(
                    (
                        Cell(f"{clean(each['by'])}: {clean(each['value'])}"),
                        Cell(count(each["prompts"])),
                        Cell(count(each["count"])),
                        _share(each["share"]),
                    )
                    for each in parts
                ),
                folded=True,
            )
        )
    text = (
        f"On {count(found['count'])} of {count(found['prompts'])} prompts with labels on several tiers some tier passes where a dearer one fails.",
        "Models differ and answers are drawn by chance, so some are real; by noise alone is what wrong labels would make where every "
        "tier were truly as good as the cheaper ones, known only where label_error is.",
    )
    return Section("inversions", "Cheap passes, dear fails", text, tuple(tables))


def _noise(noise: dict[str, Any] | None) -> Section:
    if noise is None:
        why = "python -m training grade writes label_error where rules graded, or a judge was measured against people."
        return Section(
            "noise", "How often labels are wrong", (f"No label says how probably it is wrong. {why}",)
        )
    rows = tuple(
        (
            Cell(shorten(tier["tier"], 40)),
            Cell(count(tier["known"])),
            Cell(percent(tier["mean"])),
            Cell(percent(tier["false_passes"])),
            Cell(percent(tier["false_failures"])),
        )
        for tier in noise["tiers"]
    )
    head = ("tier", "labels", "wrong", "wrongly passed", "wrongly failed")
    text = ["Rules count as right here; a judge errs as often as it was seen to differ from people."]
    if noise["added"] is not None:
        text.append(
            f"A promise of alpha about labels is one of at most alpha + {percent(noise['added'])} about the truth: the share of "
            f"{shorten(noise['reference'], 40)}’s answers that are wrongly failed, and of other tiers’ that are wrongly passed (a union bound, "
            "whatever is routed)."
        )
    return Section(
        "noise",
        "How often labels are wrong",
        tuple(text),
        (Table("Expected share of labels that are wrong", head, rows),),
    )


def _more(more: dict[str, Any]) -> Section:
    title = "What more labels would buy"
    if more["why"]:
        return Section("more", title, (more["why"],))
    tiers = [tier["tier"] for tier in more["tiers"]]
    steps = Table(
        "Bound on regret by calibration groups, at the rates seen now; promises that it allows beneath",
        (
            "labels",
            "groups that certify",
            "costs",
            "no failure at all",
            *(f"{shorten(tier, 24)} for all" for tier in tiers),
        ),
        tuple(
            (
                Cell("as now" if step["multiple"] == 1 else f"{step['multiple']} times"),
                Cell(count(step["groups"])),
                Cell(usd(step["usd"]), f"{count(step['more_prompts'])} prompts")
                if step["more_prompts"]
                else Cell(MISSING),
                Cell(percent(step["zero"])),
                *(
                    Cell(
                        percent(each["bound"]),
                        f"promise {percent(each['promise'])}" if each["promise"] else "no promise",
                    )
                    for each in step["bounds"]
                ),
            )
            for step in more["steps"]
        ),
    )
    promises = list(more["tiers"][0]["needed"]) if more["tiers"] else []
    needed = Table(
        "Groups that must certify before one cheaper tier for all is promised, at the rate seen",
        ("tier for all", "regret", *(percent(float(alpha), 0) for alpha in promises)),
        tuple(
            (
                Cell(shorten(tier["tier"], 40)),
                _share(tier["regret"]),
                *(
                    Cell("never" if tier["needed"][alpha] is None else count(tier["needed"][alpha]))
                    for alpha in promises
                ),
            )
            for tier in more["tiers"]
        ),
    )
    router = Table(
        "What a router's promise takes: groups that certify, and the labels to have them",
        ("promise", "if nothing goes wrong", "if half of it does", "more prompts", "costs"),
        tuple(
            (
                Cell(percent(row["alpha"], 0)),
                Cell(count(row["groups_at_least"])),
                Cell(count(row["groups"])),
                Cell(count(row["more_prompts"]) if row["more_prompts"] else "enough"),
                Cell(usd(row["usd"]) if row["more_prompts"] else MISSING),
            )
            for row in more["router"]
        ),
    )
    text = (
        f"Regret is how often {shorten(more['reference'], 40)} passes and the chosen tier fails. One cheaper tier for all is the plainest "
        "choice: a router sends it less and regrets less, and its promise rests on the same groups. A fifth of the groups certifies.",
        f"A bound holds with {percent(1 - more['delta'], 0)} confidence; it cannot fall below the rate, whatever is labelled.",
    )
    return Section("more", title, text, (router, steps, needed), figure="more")


def _censored(censored: dict[str, Any] | None) -> Section:
    return Section("censored", "What this log cannot tell", tuple(censored["sentences"]) if censored else ())


def _cost(spent: dict[str, Any]) -> Section:
    rows = [
        (
            Cell(shorten(tier["tier"], 40)),
            Cell(usd(tier["collection_usd"])),
            Cell(usd(tier["grading_usd"])),
            Cell(usd(tier["per_label_usd"])),
        )
        for tier in spent["tiers"]
    ]
    rows.append(
        (
            Cell("all"),
            Cell(usd(spent["collection_usd"])),
            Cell(usd(spent["grading_usd"])),
            Cell(usd(spent["per_label_usd"])),
        )
    )
    logged = spent["logged_share"]
    text = [f"One more prompt on every tier costs {usd(spent['whole_prompt_usd'])}, graded."]
    if logged < 1.0:
        text.append(
            f"{percent(logged, 0)} of labels have a logged cost; the others count at their tokens, or an estimate of them."
        )
    table = Table("USD", ("tier", "answers", "grading", "a label"), tuple(rows))
    return Section("cost", "What the labels cost", tuple(text), (table,))


def _counts(counts: dict[str, Any]) -> Section:
    tables = [
        Table(
            "Rows by tier",
            ("tier", "rows", "labels"),
            tuple(
                (Cell(shorten(tier["tier"], 40)), Cell(count(tier["rows"])), Cell(count(tier["labels"])))
                for tier in counts["tiers"]
            ),
        )
    ]
    for caption, key in (("What came of the calls", "status"), ("Rows without a label, and why", "ungraded")):
        if counts[key]:
            rows = tuple(
                (Cell(clean(name)), Cell(count(n))) for name, n in list(counts[key].items())[:_MOST_ROWS]
            )
            tables.append(Table(caption, (key if key == "status" else "why", "rows"), rows))
    text = (
        f"{count(counts['rows'])} rows of {count(counts['prompts'])} prompts; {count(counts['prompts_with_label'])} prompts have a label, "
        f"{count(counts['prompts_whole'])} on every tier. A row without a label is unobserved, and never counts as a failure.",
    )
    return Section("counts", "What the history holds", text, tuple(tables))
