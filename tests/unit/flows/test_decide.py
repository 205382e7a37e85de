"""What the store says counts only when the ledger knows the same; a past decision knows what was known then."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.desks import FakeFeatureStore, desk_of, playbook_of

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.decision import record
from opportune.domain.customers import Consent, ConsentState
from opportune.domain.decisions import Ask, Decision
from opportune.domain.states import StateRow
from opportune.features.state import pack, rebuild
from opportune.flows.decide import decide
from opportune.flows.decide_all import decide_all
from opportune.flows.desk import Desk

from .ingesting import Shop, at, event, identify

PLAYBOOK = """
topics: {carts: {}}
consent: {default: {"*": in}}
triggers: {asked: {kind: request}}
campaigns:
  cart:
    {trigger: asked, topic: carts, channels: [inapp], when: features.views_n_7d >= 0, content: {inapp: {body: Hello}}}
"""


def desk_in(shop: Shop, folder: Path, store: FakeFeatureStore | None = None) -> Desk:
    return desk_of(playbook_of(folder, PLAYBOOK), shop.ledger, clock=shop, features=store)


def seen_by(desk: Desk, answer: object) -> object:
    assert isinstance(answer, Decision)
    with desk.ledger.read() as uow:
        row = uow.decisions.get(answer.decision_id)
    assert row is not None
    return record.case_from_json(row.case).features["views_n_7d"]


def test_a_row_of_a_customer_the_ledger_does_not_have_is_a_leftover(tmp_path: Path) -> None:
    """The home was deleted, the Redis was not: the customer is one without history."""
    shop, store = Shop(), FakeFeatureStore()
    old = pack(rebuild([event("Product Viewed", hour, "c1") for hour in range(4)]))
    store.rows["c1"] = StateRow(customer_id="c1", version=4, state=old, committed_at=at(4))
    desk = desk_in(shop, tmp_path, store)
    assert seen_by(desk, decide([Ask(customer_id="c1")], desk)[0]) == 0


def test_a_row_of_another_installation_with_the_same_version_is_not_ours(tmp_path: Path) -> None:
    """Two homes on one Redis: only version and commit instant together say that it is the very same state."""
    shop, store = Shop(), FakeFeatureStore()
    other = pack(rebuild([event("Product Viewed", hour, "c1") for hour in range(4)]))
    store.rows["c1"] = StateRow(customer_id="c1", version=1, state=other, committed_at=at(4))
    shop.take(event("Product Viewed", 1, "c1"))
    desk = desk_in(shop, tmp_path, store)
    assert seen_by(desk, decide([Ask(customer_id="c1")], desk)[0]) == 1


def test_deciding_for_all_sees_events_that_are_not_archived_yet(tmp_path: Path) -> None:
    """Another process holds the archive's lease: what it has not moved is read from the ledger."""
    shop = Shop()
    shop.take(*[event("Product Viewed", hour, "c1") for hour in range(3)])
    desk = desk_in(shop, tmp_path / "playbook")
    seen: list[object] = []
    score = desk.scorer.score
    desk.scorer.score = lambda values, **more: (seen.extend(v["views_n_7d"] for v in values), score(values, **more))[1]  # type: ignore[method-assign]
    (rows,) = decide_all(at(4), desk, DuckDbOffline(tmp_path))
    assert ([row["customer_id"] for row in rows], seen) == (["c1"], [3])


@pytest.mark.parametrize("merged", [False, True])
def test_deciding_for_all_as_of_then_honours_the_opt_out_of_one_merged_since(tmp_path: Path, merged: bool) -> None:
    """What somebody anonymous had refused by then stays refused then, whoever they turned out to be later."""
    shop = Shop()
    shop.take(event("Seen", 1, None, "a1", mid="seen"), identify(1, "c1"))
    with shop.ledger.begin(["anon:a1"]) as uow:
        uow.consents.add(
            [
                Consent(
                    consent_id="out", customer_id="anon:a1", channel="*", topic="*", state=ConsentState.OUT,
                    at=at(2), source="form", recorded_at=at(2),
                )
            ]
        )  # fmt: skip
    if merged:
        shop.take(identify(4, "c1", "a1"))
    desk = desk_in(shop, tmp_path / "playbook")
    (rows,) = decide_all(at(3), desk, DuckDbOffline(tmp_path))
    found = {row["customer_id"]: row["n_messages"] for row in rows}
    assert found["anon:a1"] == 0
    assert datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=3) == rows[0]["decided_at"]
