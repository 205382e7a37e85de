"""Items, interest in them, and signs of life of sources, in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import from_json, to_json
from opportune.domain.items import Item, ItemChange
from opportune.ports.items import Interest


class MemoryItems:
    """`ports.Items`. A change is kept beside how far it was told."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def get(self, item_ids: Collection[str]) -> dict[str, Item]:
        """Items by id; unknown ones are left out."""
        rows = self._work.rows("items")
        return {it: rows[it] for it in set(item_ids) if it in rows}

    def put(self, items: Sequence[Item]) -> None:
        """Insert or replace."""
        # Through JSON, so that what comes back is what a database gives.
        self._work.change("items").update(
            (it.item_id, replace(it, attributes=from_json(to_json(it.attributes)))) for it in items
        )

    def add_changes(self, changes: Sequence[ItemChange]) -> None:
        """Append; a known `change_id` is ignored."""
        rows = self._work.change("item_changes")
        for it in changes:
            rows.setdefault(it.change_id, (it, ""))

    def change(self, change_id: str) -> ItemChange | None:
        """One change, or null."""
        row = self._work.rows("item_changes").get(change_id)
        found: ItemChange | None = row[0] if row else None
        return found

    def changes_of(self, item_id: str, limit: int) -> list[ItemChange]:
        """The newest changes of an item by arrival, newest first."""
        mine = [it for it, _ in self._work.rows("item_changes").values() if it.item_id == item_id]
        return mine[::-1][:limit]

    def move_cursor(self, change_id: str, before: str, after: str) -> bool:
        """Compare and set how far a change was told."""
        row = self._work.rows("item_changes").get(change_id)
        if row is None or row[1] != before:
            return False
        self._work.change("item_changes")[change_id] = (row[0], after)
        return True

    def cursor(self, change_id: str) -> str | None:
        """How far a change was told; null: no such change."""
        row = self._work.rows("item_changes").get(change_id)
        return row[1] if row else None


class MemoryInterests:
    """`ports.Interests`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def note(self, rows: Collection[Interest]) -> None:
        """Keep the later `last_at` per (subject, id_key, name)."""
        kept = self._work.change("interests")
        for it in rows:
            place = (it.subject, it.id_key, it.name)
            kept[place] = max(kept.get(place, it.last_at), it.last_at)

    def page(self, subject: str, names: Collection[str], since: datetime, after: str, limit: int) -> list[str]:
        """Id keys greater than `after`, in order, with one of these events at or after `since`."""
        rows = self._work.rows("interests").items()
        found = {k for (s, k, name), at in rows if s == subject and k > after and name in names and at >= since}
        return sorted(found)[:limit]

    def of(self, subject: str, id_keys: Collection[str]) -> list[Interest]:
        """All that these identities did with it, any order."""
        rows = self._work.rows("interests").items()
        return [Interest(s, k, name, at) for (s, k, name), at in rows if s == subject and k in set(id_keys)]

    def older(self, than: datetime, limit: int) -> list[Interest]:
        """Up to `limit` rows last seen before an instant."""
        rows = self._work.rows("interests").items()
        found = (Interest(s, k, name, at) for (s, k, name), at in rows if at < than)
        return list(islice(found, limit))

    def drop(self, rows: Collection[Interest]) -> None:
        """Delete these; one that was noted again since stays."""
        kept = self._work.change("interests")
        for it in rows:
            if kept.get((it.subject, it.id_key, it.name)) == it.last_at:
                del kept[it.subject, it.id_key, it.name]


class MemorySources:
    """`ports.Sources`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def count(self, source: str, counts: Sequence[tuple[datetime, int]]) -> None:
        """Add to the counts of minutes."""
        rows = self._work.change("source_minutes")
        for at, n in counts:
            rows[source, at] = rows.get((source, at), 0) + n

    def minutes(self, source: str, since: datetime) -> list[tuple[datetime, int]]:
        """(minute, count) from `since` on, oldest first."""
        rows = self._work.rows("source_minutes").items()
        return sorted((at, n) for (name, at), n in rows if name == source and at >= since)

    def newest(self, source: str, before: datetime) -> datetime | None:
        """The newest minute earlier than `before` with a sign; null: there is none."""
        return max(
            (at for name, at in self._work.rows("source_minutes") if name == source and at < before), default=None
        )

    def forget_before(self, at: datetime) -> None:
        """Drop older minutes."""
        rows = self._work.change("source_minutes")
        for place in [place for place in rows if place[1] < at]:
            del rows[place]
