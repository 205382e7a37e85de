"""The rows of the archive: an event as a Parquet row, with what was measured on it as columns, and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.instants import from_us
from opportune.features.measures import COLUMNS, KINDS, MEASURING, Measures, extract

TIMES = ("original_at", "sent_at", "received_at", "event_at", "known_at", "ingested_at")
TEXTS = ("message_id", "id_key", "customer_id", "kind", "name", "origin")
#: In the metadata of a file: how its measures were taken.
MARK = {"opportune.measuring": MEASURING}
_PAGE = 20_000


def schema() -> Any:
    """The Arrow schema of a part: envelope, measures, and the rest of the envelope as JSON in `body`."""
    import pyarrow as pa

    kinds = {"int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(), "text": pa.string()}
    return pa.schema(
        [(name, pa.string()) for name in TEXTS]
        + [(name, pa.timestamp("us", tz="UTC")) for name in TIMES]
        + [(name, kinds[KINDS.get(name, "text")]) for name in COLUMNS]
        + [("body", pa.binary())],
        metadata=MARK,
    )


def table_of(pairs: Sequence[tuple[Event, str]], with_body: bool = True) -> Any:
    """An Arrow table of (event, customer id) pairs in the archive's schema; `body` null when not asked for."""
    import pyarrow as pa

    measured: list[Measures] = [extract(event) for event, _ in pairs]
    columns: dict[str, list[Any]] = {
        "message_id": [event.message_id for event, _ in pairs],
        "id_key": [event.id_key for event, _ in pairs],
        "customer_id": [customer_id for _, customer_id in pairs],
        "kind": [event.kind.value for event, _ in pairs],
        "name": [event.name for event, _ in pairs],
        "origin": [event.origin.value for event, _ in pairs],
        "body": [_body(event) if with_body else None for event, _ in pairs],
    }
    for name in TIMES:
        columns[name] = [getattr(event, name) for event, _ in pairs]
    for name in COLUMNS:
        columns[name] = [getattr(measures, name) for measures in measured]
    return pa.table({name: columns[name] for name in schema().names}, schema=schema())


def _body(event: Event) -> bytes:
    return orjson.dumps(
        {
            "user_id": event.user_id,
            "anonymous_id": event.anonymous_id,
            "previous_id": event.previous_id,
            "group_id": event.group_id,
            "properties": event.properties,
            "traits": event.traits,
            "context": event.context,
            "flags": event.flags,
        },
        option=orjson.OPT_SORT_KEYS,
    )


def event_of(row: Sequence[Any]) -> Event:
    """The event of an archived row: message_id, kind, name, origin, six instants in microseconds, body."""
    body = orjson.loads(row[-1])
    times: dict[str, Any] = {
        name: None if us is None else from_us(us) for name, us in zip(TIMES, row[4:-1], strict=True)
    }
    return Event(
        message_id=row[0],
        kind=EventKind(row[1]),
        name=row[2],
        origin=Origin(row[3]),
        **{**body, "flags": tuple(body["flags"])},
        **times,
    )


def is_current(path: Path) -> bool:
    """Whether the measures of a file were taken as they are taken now; reads the file's footer."""
    import pyarrow.parquet as pq

    told = pq.read_metadata(path).metadata or {}
    return all(told.get(key.encode()) == value.encode() for key, value in MARK.items())


def copy_measured(path: Path, into: Path) -> int:
    """A copy of a file with every event measured anew from its envelope; returns the events. Memory is bounded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 0
    wanted = [*TEXTS, *TIMES, "body"]
    with pq.ParquetFile(path) as file, pq.ParquetWriter(into, schema(), compression="zstd") as writer:
        for batch in file.iter_batches(_PAGE, columns=wanted):
            columns = {name: batch.column(name) for name in wanted}
            instants = [columns[name].cast(pa.int64()).to_pylist() for name in TIMES]
            rest = [columns[name].to_pylist() for name in ("message_id", "kind", "name", "origin")]
            rows = zip(*rest, *instants, columns["body"].to_pylist(), strict=True)
            customer_ids = columns["customer_id"].to_pylist()
            writer.write_table(table_of([(event_of(row), c) for row, c in zip(rows, customer_ids, strict=True)]))
            n += len(customer_ids)
    return n
