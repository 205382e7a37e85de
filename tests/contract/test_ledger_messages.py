"""Ledger contract: sends, outcomes, decisions, playbooks, exposures."""

from dataclasses import replace

import pytest
from tests.contract.ledger_samples import T0, a_decision, a_send, an_outcome, at

from opportune.domain.decisions import Reason
from opportune.domain.messages import Deliver, SendState, as_account_send
from opportune.ports import Ledger


def test_a_send_comes_back_as_it_was_reserved(ledger: Ledger) -> None:
    """Tags, flags and payload included."""
    send = a_send("m1", variant="b", obeys_caps=False, counts=False, is_virtual=True, trigger_key="cart-1")
    with ledger.begin() as work:
        work.sends.reserve([send])
        assert work.sends.get(["m1", "m2"]) == {"m1": send}


def test_the_log_holds_what_counts_from_since_into_the_future(ledger: Ledger) -> None:
    """Released sends are out, future bookings and virtual ones are in, ordered by send_at."""
    with ledger.begin() as work:
        sends = [a_send("future", minutes=999), a_send("now"), a_send("old", minutes=-9), a_send("gone", minutes=1)]
        work.sends.reserve([*sends, a_send("virtual", minutes=2, is_virtual=True), a_send("other", "c2")])
        work.sends.move("gone", SendState.RELEASED, at(1), Reason.CALLER_DECLINED)
        assert [it.message_id for it in work.sends.log(["c1"], T0)["c1"]] == ["now", "virtual", "future"]


def test_sent_sets_the_real_instants_and_each_change_leaves_a_line(ledger: Ledger) -> None:
    """Reserve, replace, release and a late confirmation are all in the history, in order."""
    with ledger.begin() as work:
        work.sends.reserve([a_send("m1", minutes=5)])
        work.sends.replace("m1", at(8), at(1))
        assert work.sends.get(["m1"])["m1"].send_at == at(8)
        work.sends.move("m1", SendState.RELEASED, at(2), Reason.NO_CONSENT)
        work.sends.move("m1", SendState.SENT, at(3))
        found = work.sends.get(["m1"])["m1"]
        assert (found.state, found.send_at, found.handed_off_at) == (SendState.SENT, at(3), at(3))
        assert work.sends.history("m1") == [
            (T0, "reserved", None), (at(1), "replaced", None), (at(2), "released", "no_consent"), (at(3), "sent", None),
        ]  # fmt: skip


def test_an_unknown_message_is_a_key_error(ledger: Ledger) -> None:
    """move and replace say so, and leave no line."""
    with ledger.begin() as work:
        with pytest.raises(KeyError):
            work.sends.move("m404", SendState.SENT, T0)
        with pytest.raises(KeyError):
            work.sends.replace("m404", T0, T0)
        assert work.sends.history("m404") == []


def test_only_a_reserved_send_is_placed_anew(ledger: Ledger) -> None:
    """What was sent or released stays where it was."""
    with ledger.begin() as work:
        work.sends.reserve([a_send("m1")])
        work.sends.move("m1", SendState.SENT, at(1))
        with pytest.raises(ValueError, match="only a reserved"):
            work.sends.replace("m1", at(9), at(2))


def test_a_message_id_is_reserved_once(ledger: Ledger) -> None:
    """The second reservation is a ValueError, and in a savepoint the rest goes on."""
    with ledger.begin() as work:
        work.sends.reserve([a_send("m1")])
        with pytest.raises(ValueError), work.savepoint():  # noqa: PT011 - the text is the database's own
            work.sends.reserve([a_send("m2"), a_send("m1")])
        work.sends.reserve([a_send("m3")])
    with ledger.read() as work:
        assert set(work.sends.get(["m1", "m2", "m3"])) == {"m1", "m3"}


def test_due_is_what_must_go_now(ledger: Ledger) -> None:
    """Reserved, real, due; oldest first; by deliverer when asked; limited."""
    with ledger.begin() as work:
        work.sends.reserve([a_send("b", minutes=1), a_send("a"), a_send("later", minutes=9), a_send("sent")])
        work.sends.reserve([a_send("virtual", is_virtual=True), a_send("caller", minutes=-1, deliver=Deliver.CALLER)])
        work.sends.move("sent", SendState.SENT, T0)
        assert [it.message_id for it in work.sends.due(at(1), 9)] == ["caller", "a", "b"]
        assert [it.message_id for it in work.sends.due(at(1), 1, "service")] == ["a"]


def test_after_a_merge_the_sends_count_for_the_other(ledger: Ledger) -> None:
    """All of them, whatever their state."""
    with ledger.begin() as work:
        work.sends.reserve([a_send("m1", "old"), a_send("m2", "new", 1)])
        work.sends.reassign("old", "new")
        found = work.sends.log(["old", "new"], at(-9))
    assert {who: [it.message_id for it in mine] for who, mine in found.items()} == {"new": ["m1", "m2"]}


def test_the_log_of_an_account_holds_what_counts_of_everybody_in_it(ledger: Ledger) -> None:
    """Of all its customers, virtual and future ones too; not what is released, old, without effect or of no account."""
    with ledger.begin() as work:
        mine = [a_send("m1", "c1", 5, account_id="acme"), a_send("m2", "c2", 1, account_id="acme", is_virtual=True)]
        other = [a_send("m3", "c1", account_id="other"), a_send("m4", "c1"), a_send("m5", "c1", -9, account_id="acme")]
        work.sends.reserve([*mine, *other, a_send("m6", "c3", account_id="acme", counts=False)])
        work.sends.reserve([a_send("m7", "c3", account_id="acme")])
        work.sends.move("m7", SendState.RELEASED, at(1), Reason.CALLER_DECLINED)
        found = work.sends.log_of_accounts(["acme", "other", "nobody"], T0)
        work.sends.reassign("c2", "c1")
        assert work.sends.log_of_accounts(["acme"], T0) == {"acme": found["acme"]}
    assert found == {"acme": [as_account_send(mine[1]), as_account_send(mine[0])], "other": [as_account_send(other[0])]}


def test_what_a_courier_has_counts_where_it_is(ledger: Ledger) -> None:
    """From when it was given away until it is known to be sent; what is not reserved any more is left alone."""
    with ledger.begin() as work:
        work.sends.reserve([a_send("m1", account_id="acme"), a_send("m2", account_id="acme")])
        work.sends.move("m2", SendState.SENT, at(1))
        work.sends.leave(["m1", "m2"], at(7))
        found = work.sends.get(["m1", "m2"])
        assert (found["m1"].send_at, found["m1"].counts_at, found["m1"].leaving_at) == (T0, at(7), at(7))
        assert (found["m2"].counts_at, found["m2"].leaving_at) == (at(1), None)
        assert {s.message_id: s.send_at for s in work.sends.log_of_accounts(["acme"], T0)["acme"]} == {
            "m1": at(7),
            "m2": at(1),
        }
        work.sends.move("m1", SendState.SENT, at(9))
        assert work.sends.get(["m1"])["m1"].counts_at == at(9)


def test_outcomes_are_kept_once_and_oldest_first(ledger: Ledger) -> None:
    """A known outcome_id changes nothing."""
    with ledger.begin() as work:
        work.outcomes.add([an_outcome("o2", minutes=2), an_outcome("o1", minutes=1), an_outcome("o3", "m2")])
        work.outcomes.add([an_outcome("o1", minutes=77)])
        assert work.outcomes.of(["m1"]) == {"m1": [an_outcome("o1", minutes=1), an_outcome("o2", minutes=2)]}


def test_a_decision_comes_back_byte_for_byte(ledger: Ledger) -> None:
    """Case and decision are what was written."""
    with ledger.begin() as work:
        work.decisions.add([a_decision("d1"), replace(a_decision("d2"), trigger="cart")])
    with ledger.read() as work:
        assert work.decisions.get("d1") == a_decision("d1")
        assert work.decisions.get("d404") is None


def test_newest_decisions_come_first(ledger: Ledger) -> None:
    """Of one customer, or of all."""
    with ledger.begin() as work:
        work.decisions.add([a_decision("d1"), a_decision("d2", "c2"), a_decision("d3")])
    with ledger.read() as work:
        assert [it.decision_id for it in work.decisions.newest(None, 2)] == ["d3", "d2"]
        assert [it.decision_id for it in work.decisions.newest("c1", 9)] == ["d3", "d1"]


def test_the_decision_cursor_walks_all_once(ledger: Ledger) -> None:
    """As for events."""
    with ledger.begin() as work:
        work.decisions.add([a_decision(f"d{n}") for n in range(3)])
    with ledger.read() as work:
        first, cursor = work.decisions.after("", 2)
        rest, end = work.decisions.after(cursor, 9)
        assert [it.decision_id for it in first + rest] == ["d0", "d1", "d2"]
        assert work.decisions.after(end, 9) == ([], end)


def test_a_playbook_is_kept_once_by_its_hash(ledger: Ledger) -> None:
    """The first text stays."""
    with ledger.begin() as work:
        work.playbooks.put("sha256:a", b"one", T0)
        work.playbooks.put("sha256:a", b"two", T0)
        assert work.playbooks.get("sha256:a") == b"one"
        assert work.playbooks.get("sha256:b") is None


def test_the_first_exposure_of_a_unit_counts(ledger: Ledger) -> None:
    """Later ones, in the same batch too, change nothing."""
    row = {"experiment": "e", "unit": "u1", "variation": "a", "customer_id": "c1", "decision_id": "d1", "at": T0}
    with ledger.begin() as work:
        work.exposures.add([row, row | {"variation": "b"}, row | {"unit": "u2", "at": at(-1)}])
        work.exposures.add([row | {"variation": "c", "at": at(-5)}])
        found = work.exposures.of("e")
        assert found == [row | {"unit": "u2", "at": at(-1)}, row]
        assert work.exposures.of("other") == []


def test_exposures_are_walked_counted_and_looked_up_by_unit(ledger: Ledger) -> None:
    """Pages in order of unit join to the whole; counts are per experiment and variation."""
    row = {"experiment": "e", "unit": "u1", "variation": "a", "customer_id": "c1", "decision_id": "d1", "at": T0}
    others = [{"unit": "u2", "variation": "b"}, {"unit": "u3", "at": at(5)}, {"experiment": "f"}]
    with ledger.begin() as work:
        work.exposures.add([row, *(row | other for other in others)])
        first = work.exposures.page("e", "", 2)
        assert [it["unit"] for it in first] == ["u1", "u2"]
        assert [it["unit"] for it in work.exposures.page("e", "u2", 2)] == ["u3"]
        assert work.exposures.known("e", ["u1", "u9"]) == {"u1"}
        assert work.exposures.known("e", []) == set()
        counts = [(c["experiment"], c["variation"], c["n_units"], c["last_at"]) for c in work.exposures.counts()]
        assert counts == [("e", "a", 2, at(5)), ("e", "b", 1, T0), ("f", "a", 1, T0)]
