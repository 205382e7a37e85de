"""Offline equals online: DuckDB over archive and tail gives what finalise gives, at every instant, for everybody."""

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.naive import NAMES as EVENTS
from tests.unit.features.naive import NOON, assert_same, event, events, recount

from opportune.adapters import archive_compaction
from opportune.adapters.duckdb_offline import GROUP_BYTES, DuckDbOffline
from opportune.adapters.parquet_archive import ParquetArchive, part_name
from opportune.domain.customers import Claim
from opportune.domain.events import Event, Origin
from opportune.domain.identity import customer_id_of, resolve
from opportune.features.catalog import NAMES
from opportune.features.state import finalise, rebuild

OWNERS = (("c1", None), ("c2", None), (None, "x"), (None, "y"))
KEYS = ("u:c1", "u:c2", "a:x", "a:y")


def pairs_of(log: list[Event]) -> list[tuple[Event, str]]:
    """Events with the customer each belongs to when nobody was ever merged."""
    return [(e, customer_id_of(e.id_key)) for e in log]


def frame(asked: list[tuple[str, datetime]]) -> pd.DataFrame:
    """Rows to ask for, in the shape of the port."""
    return pd.DataFrame({"customer_id": [c for c, _ in asked], "at": pd.to_datetime([a for _, a in asked], utc=True)})


def claims() -> st.SearchStrategy[list[Claim]]:
    """Links and aliases among four keys, happened and known at various instants of the last 60 days."""
    one = st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS[:2]), st.integers(0, 60 * 24), st.integers(0, 30 * 24))
    return st.lists(one, max_size=4).map(
        lambda drawn: [
            Claim(
                message_id=f"claim{i}",
                from_key=source,
                into_key=target,
                is_alias=source.startswith("u:"),
                event_at=NOON - timedelta(hours=ago),
                known_at=NOON - timedelta(hours=ago) + timedelta(hours=lag),
            )
            for i, (source, target, ago, lag) in enumerate(drawn)
            if source != target
        ]
    )


@given(events(OWNERS, late=True), claims(), st.lists(st.integers(0, 120 * 24 * 60), min_size=1, max_size=4), st.data())
@settings(max_examples=15, deadline=None)
def test_offline_equals_a_recount_with_late_events_and_merges(
    log: list[Event], merges: list[Claim], minutes_ago: list[int], data: st.DataObject
) -> None:
    """Any split into archive and tail, any overlap, any lateness, any merges: every value equals the naive recount."""
    instants = [NOON + timedelta(days=40) - timedelta(minutes=m) for m in minutes_ago]
    people = [customer_id_of(key) for key in KEYS]
    asked = [(c, at) for at in instants for c in people]
    final = resolve(merges)
    owned = [(e, customer_id_of(final.get(e.id_key, e.id_key))) for e in log]
    cut = data.draw(st.integers(0, len(log)))
    overlap = data.draw(st.integers(0, cut))
    with TemporaryDirectory() as folder:
        archive = ParquetArchive(Path(folder))
        archive.append(pairs_of(log[: cut // 2]), "one")  # archived before the merges were known
        archive.append(owned[cut // 2 : cut], "two")
        group_bytes = data.draw(st.sampled_from((*[GROUP_BYTES] * 3, 0)))  # all buckets together, or each alone
        found = DuckDbOffline(Path(folder), group_bytes=group_bytes).as_of(frame(asked), owned[overlap:], merges)
    for i, (customer_id, at) in enumerate(asked):
        roots = resolve(c for c in merges if c.known_at <= at)
        mine = [e for e in log if customer_id_of(roots.get(e.id_key, e.id_key)) == customer_id]
        expected = recount(mine, at)
        assert_same(found.iloc[i], expected)
        known = [e for e in mine if e.event_at <= at and e.known_at <= at]
        assert_same(finalise(rebuild(known), at), expected)


def test_values_as_of_an_instant_do_not_change_when_later_known_events_arrive(tmp_path: Path) -> None:
    """An event that happened before T but became known after T is not in the values as of T, however it is stored."""
    log = [event("m1", "Order Completed", NOON - timedelta(days=3), revenue=10)]
    rows = frame([("c1", NOON)])
    offline = DuckDbOffline(tmp_path)
    before = offline.as_of(rows, pairs_of(log), [])
    late = event("m2", "Order Completed", NOON - timedelta(days=1), known_at=NOON + timedelta(hours=1), revenue=99)
    after = offline.as_of(rows, pairs_of([*log, late]), [])
    ParquetArchive(tmp_path).append(pairs_of([*log, late]), "cursor")
    archived = offline.as_of(rows, [], [])
    pd.testing.assert_frame_equal(before, after)
    pd.testing.assert_frame_equal(before, archived)
    assert offline.as_of(frame([("c1", NOON + timedelta(hours=2))]), [], []).loc[0, "orders_n_30d"] == 2


def test_imported_history_counts_from_its_own_time(tmp_path: Path) -> None:
    """An import that came today is known when it happened: it is usable for training as of last year."""
    old = NOON - timedelta(days=365)
    imported = event("m", "Order Completed", old, origin=Origin.IMPORT, revenue=7)
    found = DuckDbOffline(tmp_path).as_of(
        frame([("c1", old), ("c1", old - timedelta(seconds=1))]), pairs_of([imported]), []
    )
    assert list(found["orders_n_all"]) == [1, 0]


def test_rows_keep_their_order_and_index_and_unknown_customers_have_no_history(tmp_path: Path) -> None:
    """As many rows come back as were asked, in the same order, repeated ones too; a stranger has zeros and nulls."""
    log = [event(f"m{i}", "Order Completed", NOON - timedelta(days=i), user=f"c{i % 7}", revenue=i) for i in range(30)]
    asked = [(f"c{i % 9}", NOON - timedelta(days=i % 4)) for i in range(40)]
    rows = frame(asked).set_index(pd.Index(range(100, 140)))
    found = DuckDbOffline(tmp_path).as_of(rows, pairs_of(log), [])
    assert list(found.index) == list(rows.index)
    assert list(found["customer_id"]) == [c for c, _ in asked]
    assert list(found.columns) == ["customer_id", "at", *NAMES]
    assert pd.isna(found.iloc[8]["last_order_age_days"])
    assert DuckDbOffline(tmp_path).as_of(rows.iloc[:0], pairs_of(log), []).empty


def test_naive_instants_are_refused(tmp_path: Path) -> None:
    """`at` without a zone is an error, not a guess."""
    rows = pd.DataFrame({"customer_id": ["c"], "at": [datetime(2026, 1, 1)]})  # noqa: DTZ001
    with pytest.raises(ValueError, match="aware"):
        DuckDbOffline(tmp_path).as_of(rows, [], [])


def test_appending_the_same_cursor_again_changes_nothing(tmp_path: Path) -> None:
    """The archive is idempotent per cursor, and a cut-off append is finished by appending again."""
    archive = ParquetArchive(tmp_path)
    pairs = pairs_of([event(f"m{i}", "Page Viewed", NOON, user=f"c{i}") for i in range(50)])

    def listing() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in (tmp_path / "archive").rglob("*") if p.is_file()}

    archive.append(pairs, "cursor")
    first = listing()
    archive.append(pairs, "cursor")
    assert listing() == first
    Path(next(iter(first))).unlink()
    archive.append(pairs, "cursor")
    assert listing() == first
    assert all(path.endswith(".parquet") for path in first)


def test_chosen_features_are_the_same_as_among_all(tmp_path: Path) -> None:
    """Asked for by name, derived ones too, a feature has the value it has in the whole; a name there is not, fails."""
    log = [event(f"m{i}", EVENTS[i % len(EVENTS)], NOON - timedelta(hours=i), revenue=i) for i in range(60)]
    offline, rows = DuckDbOffline(tmp_path), frame([("c1", NOON), ("c1", NOON - timedelta(hours=9))])
    whole = offline.as_of(rows, pairs_of(log), [])
    for names in (
        ["lifecycle_stage", "is_weekend"],
        ["visit_hours_of_day", "orders_n_7d"],
        ["cart_products"],
        [*NAMES],
    ):
        found = offline.as_of(rows, pairs_of(log), [], names)
        assert list(found.columns) == ["customer_id", "at", *names]
        pd.testing.assert_frame_equal(found, whole[["customer_id", "at", *names]])
        assert list(finalise(rebuild(log), NOON, names)) == names
        assert_same(found.iloc[0], finalise(rebuild(log), NOON, names))
    with pytest.raises(KeyError, match="orders_n_31d"):
        offline.as_of(rows, [], [], ["orders_n_31d"])


def archived_by_older_code(home: Path, log: list[Event], cursor: str) -> None:
    """Parts as an older version wrote them: columns of today are missing, others were measured otherwise."""
    ParquetArchive(home).append(pairs_of(log), cursor)
    for path in (home / "archive").rglob(part_name(cursor)):
        table = pq.read_table(path, partitioning=None).drop_columns(["categories", "is_discounted", "zone_trait"])
        wrong = table.set_column(table.schema.get_field_index("value_minor"), "value_minor", pa.array([1] * len(table)))
        pq.write_table(wrong.replace_schema_metadata(None), path)


def test_what_older_code_archived_is_measured_anew_before_it_is_read(tmp_path: Path) -> None:
    """Old parts alone, beside new ones, after a crash half-way and compacted: as online, for the same history."""
    log = [
        event(f"m{i}", "Order Completed", NOON - timedelta(days=i), revenue=10, category="a", coupon="X")
        for i in range(6)
    ]
    log.append(event("m6", "Identified", NOON - timedelta(days=3), traits={"timezone": "Asia/Tokyo"}))
    offline, rows = DuckDbOffline(tmp_path), frame([("c1", NOON)])
    archived_by_older_code(tmp_path, log[:3], "old")
    alone = offline.as_of(rows, [], []).iloc[0]
    assert (alone["spend_sum_all"], alone["discount_share_365d"], alone["order_category_top_730d"]) == (30.0, 1.0, "a")
    archived_by_older_code(tmp_path, log[3:5], "older")
    ParquetArchive(tmp_path).append(pairs_of(log[5:]), "new")
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(archive_compaction, "_synced", lambda path: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space"):
            offline.as_of(rows, [], [])
    for n_before in (3, 1):
        assert_same(offline.as_of(rows, [], []).iloc[0], finalise(rebuild(log), NOON))
        assert ParquetArchive(tmp_path).compact("next", NOON)["n_before"] == n_before
    assert not list((tmp_path / "archive").rglob(".*.draft"))


def test_compaction_alone_measures_anew_what_older_code_archived(tmp_path: Path) -> None:
    """The merged file says of itself how it was measured, so that no old measure hides in it."""
    log = [event(f"m{i}", "Order Completed", NOON - timedelta(days=i), revenue=10, category="a") for i in range(4)]
    archived_by_older_code(tmp_path, log[:2], "old")
    ParquetArchive(tmp_path).append(pairs_of(log[2:]), "new")
    archive = ParquetArchive(tmp_path)
    assert archive.compact("next", NOON)["n_events"] == 4
    assert archive.measure_anew() == 0
    assert_same(DuckDbOffline(tmp_path).as_of(frame([("c1", NOON)]), [], []).iloc[0], finalise(rebuild(log), NOON))
