"""The catalogue half of the ledger: items, how they changed, who is interested in them, and how sources do."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from opportune.domain.items import Item, ItemChange


class Items(Protocol):
    """Items and the append-only history of their changes. Write under the lock `item:<id>` of the ledger."""

    def get(self, item_ids: Collection[str]) -> dict[str, Item]: ...
    def put(self, items: Sequence[Item]) -> None: ...
    def add_changes(self, changes: Sequence[ItemChange]) -> None:
        """Append; a known `change_id` is ignored."""
        ...

    def change(self, change_id: str) -> ItemChange | None: ...
    def changes_of(self, item_id: str, limit: int) -> list[ItemChange]:
        """The newest changes of an item by arrival, newest first."""
        ...

    def move_cursor(self, change_id: str, before: str, after: str) -> bool:
        """How far a change was told to those interested: from `before` (`""`: to nobody) to `after`. False, and nothing
        done, when it stands elsewhere: somebody else has told them."""
        ...

    def cursor(self, change_id: str) -> str | None:
        """How far a change was told; null: no such change."""
        ...


class Interest(NamedTuple):
    """An identity did something with an item or category (`subject`): when it last did."""

    subject: str
    id_key: str
    name: str  # of the event
    last_at: datetime


class Interests(Protocol):
    """Who did what with which item or category, by the identity that owns the events, so that merges change nothing."""

    def note(self, rows: Collection[Interest]) -> None:
        """Keep the later `last_at` per (subject, id_key, name)."""
        ...

    def page(self, subject: str, names: Collection[str], since: datetime, after: str, limit: int) -> list[str]:
        """Id keys greater than `after`, in order, with one of these events at or after `since`."""
        ...

    def of(self, subject: str, id_keys: Collection[str]) -> list[Interest]:
        """All that these identities did with it, any order."""
        ...

    def older(self, than: datetime, limit: int) -> list[Interest]:
        """Up to `limit` rows last seen before an instant, any order. Looks at every row: ask while nobody waits."""
        ...

    def drop(self, rows: Collection[Interest]) -> None:
        """Delete these; one that was noted again since (another `last_at`) stays."""
        ...


class Sources(Protocol):
    """How many signs of life a source gave in each minute."""

    def count(self, source: str, counts: Sequence[tuple[datetime, int]]) -> None:
        """Add to the counts of minutes, each named by its first instant."""
        ...

    def minutes(self, source: str, since: datetime) -> list[tuple[datetime, int]]:
        """(minute, count) from `since` on, oldest first; minutes without a sign are left out."""
        ...

    def newest(self, source: str, before: datetime) -> datetime | None:
        """The newest minute earlier than `before` with a sign; null: there is none."""
        ...

    def forget_before(self, at: datetime) -> None: ...


class Catalogued(Protocol):
    """The part of a unit of work that is about items and sources."""

    @property
    def items(self) -> Items: ...
    @property
    def interests(self) -> Interests: ...
    @property
    def sources(self) -> Sources: ...
