"""Events as columns, before they become envelopes."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from opportune.world.draws import Bools, Ints


class Code(IntEnum):
    """What a row is."""

    DEVICE = 0  # identify on a second device
    PAGE = 1
    IDENTIFY = 2
    SIGNED_UP = 3
    SEARCH = 4
    LIST = 5
    VIEW = 6
    ADD = 7
    CART = 8
    CHECKOUT = 9
    ORDER = 10
    INVITE = 11
    REFUND = 12
    DELIVERED = 13
    OPENED = 14
    CLICKED = 15
    BOUNCED = 16
    SPAM = 17
    UNSUBSCRIBED = 18


class Rows(NamedTuple):
    """r events as int64 columns.

    `us` instant in microseconds; `who` the customer; `code` a Code; `item` a product, or the index of a message, or -1;
    `n` quantity and device (see `pack`); `basket` key of the basket (shop.Baskets), or -1; `sid` number of
    the session, unique in the customer; `slot` position in the session. (who, sid, slot) is unique.
    """

    us: Ints
    who: Ints
    code: Ints
    item: Ints
    n: Ints
    basket: Ints
    sid: Ints
    slot: Ints

    def take(self, where: Bools | Ints) -> "Rows":
        """The chosen rows."""
        return Rows(*(column[where] for column in self))

    def in_order(self) -> "Rows":
        """By instant, then customer, session and slot."""
        return self.take(np.lexsort((self.slot, self.sid, self.who, self.us)))


def pack(quantity: Ints, device: Ints) -> Ints:
    """Quantity and device (0 first, 1 second) in one column."""
    return quantity * 2 + device


def rows_of(us: Ints, who: Ints, code: Code, **columns: Ints | int) -> Rows:
    """Rows of one kind; columns not given are -1 (`n`, `slot`: 0)."""
    given = {"item": -1, "n": 0, "basket": -1, "sid": -1, "slot": 0} | columns
    shaped = {name: np.broadcast_to(np.asarray(value, np.int64), us.shape) for name, value in given.items()}
    return Rows(us, who, np.full(us.shape, int(code), np.int64), **shaped)


def join(parts: Sequence[Rows]) -> Rows:
    """All rows of the parts, in their order."""
    if not parts:
        return Rows(*(np.empty(0, np.int64) for _ in Rows._fields))
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
