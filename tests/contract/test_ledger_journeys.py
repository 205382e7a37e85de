"""Ledger contract: journeys."""

from dataclasses import replace
from typing import Any

import pytest
from tests.contract.ledger_samples import T0, at

from opportune.domain.journeys import Ending, Instance, Result, StepTaken
from opportune.ports import Ledger

#: What SQLite, PostgreSQL and memory say.
TWICE = "UNIQUE|unique|already|two instances"


def an_instance(instance_id: str = "j1", customer_id: str = "c1", **fields: Any) -> Instance:
    """One who has just set out."""
    given: dict[str, Any] = {
        "journey": "onboarding", "key": "", "version": "sha256:1", "started_at": T0, "started_by": "m1",
        "properties": {"plan": "é"}, "step": "1",
    }  # fmt: skip
    return Instance(instance_id=instance_id, customer_id=customer_id, **(given | fields))


def a_step(n: int = 1, instance_id: str = "j1") -> StepTaken:
    """A message that was refused."""
    return StepTaken(instance_id=instance_id, n=n, step="1", result=Result.REFUSED, at=at(n), detail={"go": "2"})


def test_an_instance_comes_back_as_it_was_put(ledger: Ledger) -> None:
    """Every field, with and without the optional ones; putting it again replaces it."""
    first = an_instance()
    later = replace(
        first, step="2", begun_at=at(1), until_at=at(9), round=2, message_ids=("d0-1", "d1-1"), n_said_before=1,
        heard=("m1",), listens=("*", "Order Completed"), n_taken=3,
    )  # fmt: skip
    ended = replace(later, ended_at=at(5), ending=Ending.GOAL)
    with ledger.begin() as work:
        for stage in (first, later, ended):
            work.journeys.put([stage])
            assert work.journeys.of(["c1", "c2"]) == {"c1": [stage]}
        assert work.journeys.running(["c1"]) == {}


def test_instances_are_listed_in_order_of_their_start(ledger: Ledger) -> None:
    """Running ones apart from ended ones."""
    old = an_instance("j1", ended_at=at(1), ending=Ending.COMPLETED)
    new, other = an_instance("j2", started_at=at(2)), an_instance("j3", started_at=at(1), key="k")
    with ledger.begin() as work:
        work.journeys.put([new, other, old])
        assert work.journeys.of(["c1"]) == {"c1": [old, other, new]}
        assert work.journeys.running(["c1"]) == {"c1": [other, new]}


def test_only_one_instance_runs_per_customer_journey_and_key(ledger: Ledger) -> None:
    """The database says so, whatever the flows believe; ending one makes room for the next in the same breath."""
    one, two = an_instance("j1"), an_instance("j2")
    with ledger.begin() as work:
        work.journeys.put([one])
    with pytest.raises(ValueError, match=TWICE), ledger.begin() as work:
        work.journeys.put([two])
    with ledger.begin() as work:
        work.journeys.put([two, replace(one, ended_at=at(1), ending=Ending.MERGED)])
        assert work.journeys.running(["c1"]) == {"c1": [two]}


def test_steps_taken_are_kept_in_order_and_never_twice(ledger: Ledger) -> None:
    """The same number of the same instance is refused, and leaves nothing."""
    with ledger.begin() as work:
        work.journeys.take([a_step(2), a_step(1), a_step(1, "j2")])
    with pytest.raises(ValueError, match=TWICE), ledger.begin() as work:
        work.journeys.take([a_step(3)])
        work.journeys.take([a_step(2)])
    with ledger.read() as work:
        assert work.journeys.taken(["j1", "j2", "j9"]) == {"j1": [a_step(1), a_step(2)], "j2": [a_step(1, "j2")]}


def test_a_merge_moves_instances_along(ledger: Ledger) -> None:
    """Ended ones too: they count for coming again."""
    ended = an_instance("j1", "old", ended_at=at(1), ending=Ending.COMPLETED)
    running, there = an_instance("j2", "old", key="k"), an_instance("j3", "new")
    with ledger.begin() as work:
        work.journeys.put([ended, running, there])
        work.journeys.reassign("old", "new")
        assert work.journeys.of(["old"]) == {}
        assert {it.instance_id for it in work.journeys.of(["new"])["new"]} == {"j1", "j2", "j3"}
        assert {it.instance_id for it in work.journeys.running(["new"])["new"]} == {"j2", "j3"}
    with pytest.raises(ValueError, match=TWICE), ledger.begin() as work:
        work.journeys.put([an_instance("j4", "third")])
        work.journeys.reassign("third", "new")


def test_a_definition_is_kept_once(ledger: Ledger) -> None:
    """By its version; an unknown one is null."""
    with ledger.begin() as work:
        work.journeys.define("sha256:1", b'{"a":1}', T0)
        work.journeys.define("sha256:1", b"other", T0)
        assert work.journeys.definition("sha256:1") == b'{"a":1}'
        assert work.journeys.definition("sha256:2") is None
