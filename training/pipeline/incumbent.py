"""The incumbent: the champion as the gate meets it, with what it has seen and what changed on the ladder since.

Pure but for `Incumbent.open`. A prompt judges a champion only if its group neither taught nor certified it. Groups are
remembered as digests, since their names may be those of people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.duel import Contender
from eval.outcomes import Outcomes
from router import Policy, Router
from router.promise import laxest
from router.prompt import Prompt
from router.tiers import Ladder

__all__ = [
    "Incumbent",
    "LadderChange",
    "compare_ladders",
    "contender",
    "digest_groups",
    "read_digests",
    "write_digests",
]

Digests = NDArray[np.uint64]


@dataclass(frozen=True)
class LadderChange:
    """How a ladder differs from the one that a model was made for.

    Attributes
    ----------
    texts : tuple of str
        Sentences; none where nothing changed.
    comparable : bool
        Every tier of the model is there still, with its model, so its decisions can be judged.
    same_tiers : bool
        The tiers are the very same, in order, so its probabilities can be compared, too.
    """

    texts: tuple[str, ...]
    comparable: bool
    same_tiers: bool


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The champion.

    Attributes
    ----------
    version : int
        Of the registered model.
    folder : Path
        Its artefact.
    router : Router
        The same, opened.
    seen, held : uint64 (m,) or None
        Digests of the groups that taught or certified it, and of those that it was held out from, ascending; None where
        nobody wrote them down.
    change : LadderChange
        From its ladder to the one of this run.
    """

    version: int
    folder: Path
    router: Router
    seen: Digests | None
    held: Digests | None
    change: LadderChange

    @classmethod
    def open(
        cls, version: int, folder: Path, seen: Path | None, held: Path | None, ladder: Ladder
    ) -> Incumbent:
        """Open a champion's artefact, and the digests of groups that its run wrote.

        Raises
        ------
        ArtifactError
            It cannot be used.
        """
        router = Router.load(folder)
        taught, judged = (None if each is None else read_digests(each) for each in (seen, held))
        change = compare_ladders(router.manifest.ladder, ladder)
        return cls(version, folder, router, taught, judged, change)

    @property
    def is_void(self) -> bool:
        """Whether its certificate has been declared void, so that it sends everything to the reference tier."""
        return bool(self.router.manifest.document["certificate"].get("void"))

    def unseen(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """Return which prompts it has not learned from, (n,); all of them where nobody wrote down what it saw.

        The latter flatters the champion, so that at worst it is kept for longer than it deserves.
        """
        return ~_among(outcomes, self.seen)

    def held_out(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """Return which prompts its own manifest describes as what it was held out from, (n,); none where nobody knows."""
        return _among(outcomes, self.held)


def contender(
    router: Router, prompts: Sequence[Prompt], ladder: Ladder, max_regret: float, reference: str
) -> Contender:
    """Return what a router says of prompts when it is held to a promise, laid out on a ladder that has all its tiers.

    What certified it counts only where its promise is against the same reference tier.
    """
    decided = router.route_many(prompts, Policy(max_regret=max_regret))
    place = np.array([ladder.names.index(tier.name) for tier in router.tiers], dtype=np.intp)
    chosen = place[[decision.index for decision in decided]] if decided else np.empty(0, np.intp)
    same = router.manifest.document["decision"]["reference"] == reference
    certified = _certified(router, max_regret) if same else (0, 0)
    if compare_ladders(router.manifest.ladder, ladder).same_tiers:
        scores, usd = router.score(prompts).astype(np.float64), router.expected_cost(prompts)
        return Contender(chosen, scores, usd, certified)
    return Contender(chosen, certified=certified)


def _certified(router: Router, max_regret: float) -> tuple[int, int]:
    """Return how many groups of how many regretted the decision under a promise, when it was certified."""
    certificate = router.manifest.document["certificate"]
    found = laxest(certificate, max_regret)
    if found is None or found.observed is None:
        return 0, 0
    return round(found.observed * certificate["n"]), certificate["n"]


def compare_ladders(old: Ladder, new: Ladder) -> LadderChange:
    """Say what changed from one ladder to another. Pure."""
    was, now = ({tier.name: tier for tier in ladder.tiers} for ladder in (old, new))
    texts = []
    if gone := [name for name in was if name not in now]:
        texts.append(
            f"Tier {', '.join(gone)} is gone: the champion goes on sending prompts there until it is replaced."
        )
    if added := [name for name in now if name not in was]:
        texts.append(f"Tier {', '.join(added)} is new: the champion never chooses it.")
    kept = [name for name in was if name in now]
    swapped = [name for name in kept if not set(was[name].models) & set(now[name].models)]
    texts += [
        f"Tier {name} is another model now ({', '.join(now[name].models)}; it was {', '.join(was[name].models)}): what "
        "the champion knows of that tier is of the old one."
        for name in swapped
    ]
    for name in kept:
        before, after = was[name].to_dict(), now[name].to_dict()
        keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        prices = [key for key in keys if "usd" in key or key == "long_context"]
        if prices and name not in swapped:
            texts.append(f"Tier {name} has another price: the champion decides by the old one.")
        elif {"context_window", "capabilities"} & set(keys):
            texts.append(f"Tier {name} takes other requests than before: the champion does not know that.")
    if [name for name in now if name in was] != kept:
        texts.append("The tiers stand in another order: what is dearer has changed.")
    if old.pass_score != new.pass_score:
        texts.append(
            f"An answer now passes at {new.pass_score:g}, before at {old.pass_score:g}: the champion was made for the latter."
        )
    comparable = not gone and not swapped
    return LadderChange(tuple(texts), comparable, comparable and old.names == new.names)


def digest_groups(outcomes: Outcomes, rows: NDArray[np.bool_]) -> Digests:
    """Return the digests of the groups of some rows, ascending, each once. Pure."""
    return np.unique(_digests(outcomes.groups[rows]))


def write_digests(path: Path, digests: Digests) -> None:
    """Write digests as a file of numpy's."""
    np.save(path, digests, allow_pickle=False)


def read_digests(path: Path) -> Digests:
    """Read what `write_digests` wrote."""
    digests: Digests = np.load(path, allow_pickle=False)
    return digests


def _among(outcomes: Outcomes, digests: Digests | None) -> NDArray[np.bool_]:
    if digests is None:
        return np.zeros(len(outcomes), np.bool_)
    return np.isin(_digests(outcomes.groups), digests)


def _digests(groups: NDArray[np.object_]) -> Digests:
    names, of = np.unique(groups.astype(str), return_inverse=True)
    found = [
        int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        for name in names
    ]
    return np.array(found, dtype=np.uint64)[of]
