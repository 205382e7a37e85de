"""Ledger contract: suppression lists. On memory, SQLite and PostgreSQL."""

from dataclasses import replace

from tests.contract.ledger_samples import T0, at

from opportune.domain.suppressions import named
from opportune.ports import Ledger

ADA = named("email", "ada@example.org", "all", True, "legal", T0).entry
BOB = named("customer_id", "bob", "marketing", True, "crm.csv", T0).entry


def test_the_newest_line_of_a_key_is_in_force(ledger: Ledger) -> None:
    """Listed, narrowed, lifted, listed again; others are not touched, and nothing is where nothing was said."""
    with ledger.begin() as work:
        assert not work.suppressions.any()
        assert work.suppressions.add([ADA, BOB]) == [ADA, BOB]
        assert work.suppressions.any()
    narrowed = replace(ADA, purpose="marketing", at=at(1))
    with ledger.begin() as work:
        work.suppressions.add([narrowed])
    with ledger.read() as work:
        assert work.suppressions.of([ADA.key, BOB.key, "email:none"]) == {ADA.key: narrowed, BOB.key: BOB}
        assert work.suppressions.of([]) == {}
    with ledger.begin() as work:
        work.suppressions.add([replace(ADA, is_on=False, at=at(2))])
        assert work.suppressions.of([ADA.key, BOB.key]) == {BOB.key: BOB}
        work.suppressions.add([replace(ADA, at=at(3))])
        assert work.suppressions.of([ADA.key]) == {ADA.key: replace(ADA, at=at(3))}


def test_what_holds_already_is_not_written_again(ledger: Ledger) -> None:
    """The same list taken in twice is one list; of two lines of one key in one call the last counts."""
    with ledger.begin() as work:
        assert work.suppressions.add([replace(ADA, is_on=False), ADA]) == [ADA]
        assert work.suppressions.add([replace(ADA, at=at(1), source="other")]) == []
        assert work.suppressions.add([replace(BOB, is_on=False)]) == []


def test_what_was_in_force_at_an_instant_can_be_asked(ledger: Ledger) -> None:
    """For decisions as of the past."""
    with ledger.begin() as work:
        work.suppressions.add([replace(ADA, at=at(1))])
    with ledger.begin() as work:
        work.suppressions.add([replace(ADA, is_on=False, at=at(2))])
    with ledger.read() as work:
        known = [bool(work.suppressions.of([ADA.key], at(hours))) for hours in (0.5, 1, 1.5, 2)]
    assert known == [False, True, True, False]
