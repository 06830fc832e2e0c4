"""What the journal says of batches: which were begun, how far each has come, and which have not ended.

Reads the journal. The steps of a batch, each on disk before the next is begun:

| state | means | after a crash |
|---|---|---|
| prepared | its calls have intents; the upload begins | nothing was submitted: the intents are void |
| uploaded | its file is at the provider; the batch is about to be created | it may exist: it is looked for by its tag |
| submitted | its id is known | it is asked for |
| ended | all its calls have an answer or are void | |
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from training.calls.journal import Journal
from training.calls.records import Intent, Own, Record

__all__ = ["Order", "ended", "keys_of", "open_orders", "prepared", "submitted", "uploaded"]

KIND = "batch"


@dataclass(frozen=True, slots=True)
class Order:
    """A batch as far as the journal knows it.

    Attributes
    ----------
    tag : str
        Stands in the batch's metadata at the provider.
    endpoint : str
        Whose calls it carries.
    calls : int
        How many.
    at : float
        When it was prepared, seconds since 1970.
    file_id, batch_id : str or None
        The provider's names, once known.
    """

    tag: str
    endpoint: str
    calls: int
    at: float
    file_id: str | None = None
    batch_id: str | None = None


def prepared(order: Order, intents: Iterable[Intent]) -> list[Record]:
    """Return the records of a batch that is about to be uploaded. Pure."""
    told = {
        "tag": order.tag,
        "state": "prepared",
        "endpoint": order.endpoint,
        "calls": order.calls,
        "at": order.at,
    }
    return [Own(KIND, told), *intents]


def uploaded(order: Order) -> Own:
    """Return the record of a batch that is about to be created. Pure."""
    return Own(KIND, {"tag": order.tag, "state": "uploaded", "file": order.file_id, "at": time.time()})


def submitted(order: Order) -> Own:
    """Return the record of a batch whose id is known. Pure."""
    return Own(KIND, {"tag": order.tag, "state": "submitted", "id": order.batch_id})


def ended(order: Order, status: str) -> Own:
    """Return the record of a batch of which nothing is left to do. Pure."""
    return Own(KIND, {"tag": order.tag, "state": "ended", "status": status})


def open_orders(journal: Journal) -> list[Order]:
    """Return the batches that have not ended, in the order in which they were prepared."""
    orders: dict[str, Order] = {}
    for told in journal.own(KIND):
        tag, state = told["tag"], told["state"]
        if state == "prepared":
            orders[tag] = Order(tag, told["endpoint"], told["calls"], told["at"])
        elif state == "uploaded":
            orders[tag] = replace(orders[tag], file_id=told["file"], at=told["at"])
        elif state == "submitted":
            orders[tag] = replace(orders[tag], batch_id=told["id"])
        else:
            del orders[tag]
    return list(orders.values())


def keys_of(journal: Journal, tag: str) -> list[str]:
    """Return the calls of a batch that have neither an answer nor a void."""
    return [key for key, intent in journal.unsettled.items() if intent.via == tag]
