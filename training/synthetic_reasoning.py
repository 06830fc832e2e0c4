"""Reasoning families of the synthetic history: code, debug, calculate, plan, read contracts. Pure."""

from __future__ import annotations

from training.synthetic_office import REPORT
from training.synthetic_words import Drawn, Slots, listed

__all__ = ["arithmetic", "coding", "debugging", "legal", "planning"]

_CODE_TASKS = (
    (1, "returns the {k} largest {noun}"),
    (1, "counts {noun} per {noun}"),
    (1, "removes duplicate {noun} and keeps the order"),
    (1, "formats {noun} as a table with {k} columns"),
    (2, "groups {noun} by week and fills the gaps with zeros"),
    (2, "validates {noun} against a schema with {k} rules"),
    (2, "retries a call {k} times with exponential backoff"),
    (3, "merges overlapping intervals of {noun} and reports gaps longer than {n} minutes"),
    (3, "implements an LRU cache of {n} {noun} with expiry after {big} seconds"),
    (4, "finds the cheapest route through {noun} with at most {k} stops"),
    (4, "streams {big} GB of {noun} with constant memory and resumes after a crash"),
    (5, "schedules {noun} over {k} workers so that dependencies hold and the makespan is minimal"),
    (5, "diffs two trees of {noun} and returns the minimal edit script"),
)
_CODE_RULES = (
    "No external libraries.",
    "Add type hints.",
    "It has to be thread-safe.",
    "Raise ValueError on an empty input.",
    "O(n log n) or better.",
    "Write {k} unit tests as well.",
    "Do not mutate the arguments.",
    "Handle missing values.",
    "It must work on inputs of {big} million {noun}.",
    "Support time zones.",
)
_QUERY_RULES = (
    "Standard SQL only.",
    "No subqueries.",
    "Count a cancelled row as zero.",
    "Treat NULL as {k}.",
    "It has to finish within {n} seconds on {big} million rows.",
    "Sort by {noun}, newest first.",
    "Dates are in UTC, but report in the time zone of {city}.",
)
_QUERIES = (
    (1, "the {k} customers with the highest total in {year}"),
    (1, "the number of {noun} per {noun}"),
    (2, "the monthly share of {noun} that were cancelled"),
    (2, "customers without any order since {month} {year}"),
    (3, "a {n}-day moving average per city, without gaps"),
    (4, "for each cohort by first month, the retention after {k} months"),
    (5, "the longest streak of days on which each customer ordered, ties broken by amount"),
)


def coding(s: Slots) -> Drawn:
    """Ask for a SQL query or a function."""
    language = s.pick(("SQL", "Python", "JavaScript"))
    rules = int(5 * s.unit() ** 1.6)
    if language == "SQL":
        steps, what = s.pick(_QUERIES)
        tail = s.lines(_QUERY_RULES, rules)
        tables = "\n".join(
            f"CREATE TABLE {noun} (id BIGINT PRIMARY KEY, {', '.join(s.some(_COLUMNS, s.integer(2, 6)))});"
            for noun in s.some(
                ("orders", "customers", "items", "payments", "visits", "stores"), s.integer(1, 5)
            )
        )
        return Drawn(f"{s.fill(f'Write a SQL query for {what}.')} {tail}\n\n{tables}", steps, rules, language)
    steps, what = s.pick(_CODE_TASKS)
    tail = s.lines(_CODE_RULES, rules)
    ask = s.pick(
        ("Write a {} function `{}` that {}.", "{}: I need `{}`, which {}.", "Implement in {} `{}`; it {}.")
    )
    context = f"\n\nContext: {s.lines(REPORT, s.integer(1, 4))}" if s.chance(0.25) else ""
    return Drawn(
        f"{ask.format(language, s.slot('func'), s.fill(what))} {tail}{context}", steps, rules, language
    )


_COLUMNS = listed(
    "customer_id BIGINT,city TEXT,amount NUMERIC,created_at TIMESTAMP,status TEXT,quantity INT,store_id BIGINT,"
    "discount NUMERIC,email TEXT,cancelled_at TIMESTAMP,currency CHAR(3),note TEXT"
)
_BLOCKS = (
    "    total = 0\n    for row in {noun}:\n        total =+ row['{noun}']",
    "    cache = {}\n    if key not in cache:\n        cache[key] = {func}(key)",
    "    {noun} = [item for item in {noun} if item.score > {k}]",
    "    while index <= len({noun}):\n        {func}({noun}[index])\n        index += 1",
    "    with open(path) as handle:\n        data = json.load(handle)['{noun}'][{k}]",
    "    result = sorted({noun}, key=lambda item: item['{noun}'])[:-{k}]",
    "    try:\n        {func}(client, timeout={n})\n    except Exception:\n        pass",
    "    threads = [Thread(target={func}, args=(i)) for i in range({k})]",
    "    {noun}.append({noun})\n    return {noun}.sort()",
    "    await asyncio.gather(*[{func}(item) for item in {noun}])",
)
_SYMPTOMS = (
    (1, "it raises KeyError: '{noun}' on line {n}"),
    (1, "it prints None instead of the {noun}"),
    (2, "the last of the {noun} is missing"),
    (3, "it works for {k} items, but with {big} it never ends"),
    (4, "about one run in {n} gives another result"),
    (5, "memory grows by {k} MB per hour and only in production"),
)


def debugging(s: Slots) -> Drawn:
    """Ask for the bug in a snippet."""
    steps, symptom = s.pick(_SYMPTOMS)
    blocks = 1 + int(9 * s.unit() ** 1.3)
    code = "\n".join(
        f"def {s.slot('func')}({s.slot('noun')}, key, path):\n{s.fill(s.pick(_BLOCKS))}"
        for _ in range(blocks)
    )
    log = ""
    if s.chance(0.4):
        log = "\n\nLog:\n" + s.lines(
            ("{hour} WARN {system}: {func} took {big} ms", "{hour} INFO {noun}={big}"), 9, "\n"
        )
    ask = s.fill(
        s.pick(("Why does this fail: {}?", "Find the bug, {}.", "Help, {}. What is wrong?")).replace(
            "{}", symptom
        )
    )
    return Drawn(f"{ask}\n\n```python\n{code}\n```{log}", steps + blocks // 3, int(s.chance(0.3)), "Python")


_CHANGES = (
    "sells {k} of every {n}",
    "receives {n} more",
    "gives {pct} of what is left to {first}",
    "doubles the stock",
    "loses {k} in transport",
    "splits the rest evenly over {k} shelves and keeps one shelf",
    "buys {k} boxes of {n} each",
    "pays a fee of {k} per piece on {n} pieces",
    "returns a third of them, rounded down",
)


def arithmetic(s: Slots) -> Drawn:
    """Ask a word problem of several operations."""
    steps = s.integer(1, 9)
    lead = s.fill("{name} of {company} starts on {weekday} with {big} {thing}s")
    story = ", then ".join(s.fill(change) for change in (s.pick(_CHANGES) for _ in range(steps)))
    ask = s.pick(
        ("How many are left?", "What number remains?", "How many is that per {k} people, to two decimals?")
    )
    extra = s.chance(0.25)
    distraction = " " + s.lines(REPORT, s.integer(1, 3)) if extra else ""
    return Drawn(f"{lead}, {story}.{distraction} {s.fill(ask)}", steps, int(extra))


_CLUES = (
    "{0} sits left of {1}.",
    "{0} does not own the {2}.",
    "Either {0} or {1} owns the {2}.",
    "The owner of the {2} is older than {0}.",
    "{1} arrives {3} minutes after the owner of the {2}.",
    "If {0} owns the {2}, then {1} sits at an end.",
    "{0} and {1} are not neighbours.",
)


def planning(s: Slots) -> Drawn:
    """Ask a seating puzzle or for a schedule."""
    people = s.integer(3, 7)
    names = s.some(_PEOPLE, people)
    clues = people + s.integer(0, 12)
    if s.chance(0.5):
        lines = " ".join(
            s.pick(_CLUES).format(*s.some(names, 2), s.slot("thing"), s.integer(2, 59)) for _ in range(clues)
        )
        text = f"{people} people ({', '.join(names)}) sit in a row. {lines} {s.fill('Who owns the {thing}?')}"
        return Drawn(text, people, clues // 3)
    lines = "\n".join(
        f"- {s.fill('{verb} the {noun}')} ({s.integer(1, 9)} h, {name}"
        + (f", after task {s.integer(1, i)})" if i and s.chance(0.6) else ")")
        for i, name in enumerate(s.pick(names) for _ in range(clues))
    )
    ask = s.fill(
        "Plan these tasks so that all is done by {weekday} {hour}; nobody works over {k} hours a day."
    )
    return Drawn(f"{ask}\n{lines}", people, clues // 3)


_PEOPLE = ("Ada", "Bela", "Carlo", "Dunja", "Emeka", "Farid", "Greta", "Hanna", "Ivo", "Jun", "Kiran", "Lena")
_CLAUSES = (
    "The Supplier shall deliver the Goods to {city} no later than {n} days after the Order, unless Clause {k} applies.",
    "Liability of either Party is limited to {money} per event, save for gross negligence and for Clause {k}.",
    "The Customer may terminate with {n} days' notice; fees paid in advance are refunded less {pct}.",
    "Where the Supplier is in delay for more than {k} weeks, the Customer may reduce the price by {pct} per week.",
    "Clause {k} survives termination, except where the Agreement ends under Clause {k}.",
    "Any notice has to be in writing and is deemed received {k} days after dispatch, or on the next working day in {city}.",
    "The Parties shall keep the terms confidential for {k} years, subject to disclosure required by law.",
    "Notwithstanding Clause {k}, title passes on payment in full, whereas risk passes on handover to the carrier.",
    "The price of {money} is fixed until {date} and follows the index thereafter, capped at {pct} a year.",
)
_LEGAL_QUESTIONS = (
    (1, "Which clause limits liability, and to what amount?"),
    (2, "May {name} terminate on {date}, and what would be refunded?"),
    (3, "{company} was late by {k} weeks. What may the customer claim, and does the cap apply?"),
    (4, "Do any two clauses contradict each other? Say which prevails, and why."),
    (
        5,
        "Draft an amendment that lets {company} assign the agreement without reviving the terminated duties.",
    ),
)


def legal(s: Slots) -> Drawn:
    """Ask about a contract whose clauses refer to each other."""
    clauses = 2 + int(21 * s.unit() ** 1.3)
    steps, question = s.pick(_LEGAL_QUESTIONS)
    body = "\n".join(f"{i}. {s.fill(s.pick(_CLAUSES))}" for i in range(1, clauses + 1))
    head = s.fill("Agreement {code} between {company} (Supplier) and {company} (Customer).")
    return Drawn(f"{head}\n{body}\n\n{s.fill(question)}", steps, clauses // 4)
