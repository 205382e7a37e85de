"""The journeys' part of the ledger: instances, the steps they took, and the definitions they stay on."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from opportune.domain.journeys import Instance, StepTaken


class Journeys(Protocol):
    """Write under the lock of the customer."""

    def of(self, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        """All instances of each customer, ended ones too, ordered by (started_at, instance_id)."""
        ...

    def running(self, customer_ids: Collection[str]) -> dict[str, list[Instance]]:
        """As `of`, without those that have ended."""
        ...

    def put(self, instances: Sequence[Instance]) -> None:
        """Insert, or replace the one with the same id. Raises ValueError when two would run for one customer, journey
        and key."""
        ...

    def take(self, steps: Sequence[StepTaken]) -> None:
        """Append to the history. Raises ValueError when a step was taken already."""
        ...

    def taken(self, instance_ids: Collection[str]) -> dict[str, list[StepTaken]]:
        """Steps taken by each instance, in order."""
        ...

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: all instances move along. End one of two running ones of the same key before."""
        ...

    def define(self, version: str, source: bytes, at: datetime) -> None:
        """Keep a definition by its version, once."""
        ...

    def definition(self, version: str) -> bytes | None: ...
