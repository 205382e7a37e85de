"""Items, interest in them, and signs of life of sources, in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, text

from opportune.adapters import sql_item_tables as tables
from opportune.adapters.sql_rows import from_json, to_json
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.instants import from_us, to_us
from opportune.domain.items import Item, ItemChange
from opportune.ports.items import Interest

_ITEM = (
    "item_id", "updated_at", "price_minor", "stock", "category", "title", "url", "image_url", "attributes",
    "is_active", "stamps",
)  # fmt: skip
_CHANGE = (
    "change_id", "item_id", "at", "recorded_at", "is_new", "category", "old_price_minor", "price_minor", "old_stock",
    "stock", "was_available", "is_available",
)  # fmt: skip
_items, _changes, _interests, _minutes = (
    tables.items.c,
    tables.item_changes.c,
    tables.interests.c,
    tables.source_minutes.c,
)
_GET = select(*(_items[name] for name in _ITEM)).where(among(_items.item_id, "ids"))
_PUT = "ON CONFLICT (item_id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _ITEM[1:])
_CHANGE_OF = select(*(_changes[name] for name in _CHANGE))
_ONE_CHANGE = _CHANGE_OF.where(_changes.change_id == bindparam("id"))
_NEWEST_CHANGES = (
    _CHANGE_OF.where(_changes.item_id == bindparam("id")).order_by(_changes.seq.desc()).limit(bindparam("n"))
)
_TOLD = select(_changes.told).where(_changes.change_id == bindparam("id"))
_TELL = text("UPDATE item_changes SET told = :after WHERE change_id = :id AND told = :before")


class SqlItems:
    """`ports.Items`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def get(self, item_ids: Collection[str]) -> dict[str, Item]:
        """Items by id; unknown ones are left out."""
        return {row[0]: _item_of(row) for row in self._work.fetch(_GET, ids=item_ids)} if item_ids else {}

    def put(self, items: Sequence[Item]) -> None:
        """Insert or replace."""
        rows = {it.item_id: _item_row(it) for it in items}
        self._work.insert(tables.items, _ITEM, [rows[item_id] for item_id in sorted(rows)], _PUT)

    def add_changes(self, changes: Sequence[ItemChange]) -> None:
        """Append; a known `change_id` is ignored."""
        rows = [(*_change_row(it), "") for it in {it.change_id: it for it in changes}.values()]
        self._work.insert(tables.item_changes, (*_CHANGE, "told"), rows, "ON CONFLICT DO NOTHING")

    def change(self, change_id: str) -> ItemChange | None:
        """One change, or null."""
        rows = self._work.fetch(_ONE_CHANGE, id=change_id)
        return _change_of(rows[0]) if rows else None

    def changes_of(self, item_id: str, limit: int) -> list[ItemChange]:
        """The newest changes of an item by arrival, newest first."""
        return [_change_of(row) for row in self._work.fetch(_NEWEST_CHANGES, id=item_id, n=limit)]

    def move_cursor(self, change_id: str, before: str, after: str) -> bool:
        """Compare and set how far a change was told."""
        return self._work.run(_TELL, id=change_id, before=before, after=after) == 1

    def cursor(self, change_id: str) -> str | None:
        """How far a change was told; null: no such change."""
        rows = self._work.fetch(_TOLD, id=change_id)
        return str(rows[0][0]) if rows else None


def _item_row(it: Item) -> tuple[Any, ...]:
    known = (it.item_id, to_us(it.updated_at), it.price_minor, it.stock, it.category, it.title, it.url, it.image_url)
    return (*known, to_json(it.attributes), it.is_active, to_json(it.stamps))


def _item_of(row: Sequence[Any]) -> Item:
    return Item(
        item_id=row[0],
        updated_at=from_us(row[1]),
        price_minor=row[2],
        stock=row[3],
        category=row[4],
        title=row[5],
        url=row[6],
        image_url=row[7],
        attributes=from_json(row[8]),
        is_active=bool(row[9]),
        stamps=from_json(row[10]),
    )


def _change_row(it: ItemChange) -> tuple[Any, ...]:
    said = (it.change_id, it.item_id, to_us(it.at), to_us(it.recorded_at), it.is_new, it.category)
    return (*said, it.old_price_minor, it.price_minor, it.old_stock, it.stock, it.was_available, it.is_available)


def _change_of(row: Sequence[Any]) -> ItemChange:
    return ItemChange(
        change_id=row[0],
        item_id=row[1],
        at=from_us(row[2]),
        recorded_at=from_us(row[3]),
        is_new=bool(row[4]),
        category=row[5],
        old_price_minor=row[6],
        price_minor=row[7],
        old_stock=row[8],
        stock=row[9],
        was_available=bool(row[10]),
        is_available=bool(row[11]),
    )


_NOTE = (
    "ON CONFLICT (subject, id_key, name) DO UPDATE SET last_at = excluded.last_at"
    " WHERE interests.last_at < excluded.last_at"
)
_PAGE = (
    select(_interests.id_key)
    .distinct()
    .where(
        _interests.subject == bindparam("subject"),
        _interests.id_key > bindparam("after"),
        among(_interests.name, "names"),
        _interests.last_at >= bindparam("since"),
    )
    .order_by(_interests.id_key)
    .limit(bindparam("n"))
)
_OF = select(_interests.subject, _interests.id_key, _interests.name, _interests.last_at).where(
    _interests.subject == bindparam("subject"), among(_interests.id_key, "ids")
)
_OLDER = (
    select(_interests.subject, _interests.id_key, _interests.name, _interests.last_at)
    .where(_interests.last_at < bindparam("than"))
    .limit(bindparam("n"))
)
_DROP = text(
    "DELETE FROM interests WHERE subject = :subject AND id_key = :id_key AND name = :name AND last_at = :last_at"
)


class SqlInterests:
    """`ports.Interests`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def note(self, rows: Collection[Interest]) -> None:
        """Keep the later `last_at` per (subject, id_key, name)."""
        newest: dict[tuple[str, str, str], int] = {}
        for it in rows:
            place = (it.subject, it.id_key, it.name)
            newest[place] = max(newest.get(place, to_us(it.last_at)), to_us(it.last_at))
        stored = [(*place, newest[place]) for place in sorted(newest)]
        self._work.insert(tables.interests, ("subject", "id_key", "name", "last_at"), stored, _NOTE)

    def page(self, subject: str, names: Collection[str], since: datetime, after: str, limit: int) -> list[str]:
        """Id keys greater than `after`, in order, with one of these events at or after `since`."""
        asked: dict[str, Any] = {"subject": subject, "names": names, "since": to_us(since), "after": after, "n": limit}
        return [row[0] for row in self._work.fetch(_PAGE, **asked)]

    def of(self, subject: str, id_keys: Collection[str]) -> list[Interest]:
        """All that these identities did with it, any order."""
        rows = self._work.fetch(_OF, subject=subject, ids=id_keys) if id_keys else []
        return [Interest(row[0], row[1], row[2], from_us(row[3])) for row in rows]

    def older(self, than: datetime, limit: int) -> list[Interest]:
        """Up to `limit` rows last seen before an instant."""
        rows = self._work.fetch(_OLDER, than=to_us(than), n=limit)
        return [Interest(row[0], row[1], row[2], from_us(row[3])) for row in rows]

    def drop(self, rows: Collection[Interest]) -> None:
        """Delete these; one that was noted again since stays."""
        self._work.run_many(_DROP, [it._asdict() | {"last_at": to_us(it.last_at)} for it in sorted(rows)])


_COUNT = "ON CONFLICT (source, minute_at) DO UPDATE SET n = source_minutes.n + excluded.n"
_MINUTES = (
    select(_minutes.minute_at, _minutes.n)
    .where(_minutes.source == bindparam("name"), _minutes.minute_at >= bindparam("since"))
    .order_by(_minutes.minute_at)
)
_NEWEST = select(func.max(_minutes.minute_at)).where(
    _minutes.source == bindparam("name"), _minutes.minute_at < bindparam("before")
)
_FORGET = delete(tables.source_minutes).where(_minutes.minute_at < bindparam("before"))


class SqlSources:
    """`ports.Sources`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def count(self, source: str, counts: Sequence[tuple[datetime, int]]) -> None:
        """Add to the counts of minutes."""
        sums: dict[int, int] = {}
        for at, n in counts:
            sums[to_us(at)] = sums.get(to_us(at), 0) + n
        rows = [(source, us, n) for us, n in sorted(sums.items())]
        self._work.insert(tables.source_minutes, ("source", "minute_at", "n"), rows, _COUNT)

    def minutes(self, source: str, since: datetime) -> list[tuple[datetime, int]]:
        """(minute, count) from `since` on, oldest first."""
        return [(from_us(us), n) for us, n in self._work.fetch(_MINUTES, name=source, since=to_us(since))]

    def newest(self, source: str, before: datetime) -> datetime | None:
        """The newest minute earlier than `before` with a sign; null: there is none."""
        us = self._work.fetch(_NEWEST, name=source, before=to_us(before))[0][0]
        return None if us is None else from_us(us)

    def forget_before(self, at: datetime) -> None:
        """Drop older minutes."""
        self._work.run(_FORGET, before=to_us(at))
