"""The suppression lists' part of the ledger."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from opportune.domain.suppressions import Suppression


class Suppressions(Protocol):
    """Append-only: the newest line of a key is in force."""

    def add(self, lines: Sequence[Suppression]) -> list[Suppression]:
        """Append those that change what is in force (two of one key: the last counts); returns them."""
        ...

    def any(self) -> bool:
        """Whether anybody was ever listed: most installations need not ask further."""
        ...

    def of(self, keys: Collection[str], at: datetime | None = None) -> dict[str, Suppression]:
        """Entries in force by key; `at`: those in force at that instant. Lifted ones are left out."""
        ...
