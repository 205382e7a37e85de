"""The watching half of the ledger: on which side of a crossing customers stand."""

from collections.abc import Collection, Sequence
from typing import Protocol

from opportune.domain.watches import Watch


class Watches(Protocol):
    """One row per (trigger, customer)."""

    def get(self, customer_ids: Collection[str]) -> dict[str, list[Watch]]:
        """By customer, ordered by rule."""
        ...

    def put(self, watches: Sequence[Watch]) -> None:
        """Insert or replace; of two for one (rule, customer) the last counts."""
        ...

    def remove(self, customer_ids: Collection[str]) -> None:
        """Drop all rows of these customers."""
        ...
