"""Ledger contract: customers, identities, consent, states. One promise a test, on memory, SQLite and PostgreSQL."""

from tests.contract.ledger_samples import T0, a_claim, a_consent, a_state, at

from opportune.domain.customers import Customer
from opportune.ports import Ledger


def test_a_customer_comes_back_as_it_was_put(ledger: Ledger) -> None:
    """Traits, stamps and instants survive to the microsecond."""
    customer = Customer(
        customer_id="c1",
        traits={"email": "é@x.y", "n": 1, "score": 0.1, "tags": ["a"], "none": None, "deep": {"a": {"b": True}}},
        trait_stamps={"email": (1_700_000_000_000_001, "m1")},
        first_seen_at=T0,
        last_seen_at=None,
    )
    with ledger.begin(["c1"]) as work:
        work.customers.put([customer])
    with ledger.read() as work:
        assert work.customers.get(["c1", "nobody"]) == {"c1": customer}


def test_put_replaces_and_remove_drops(ledger: Ledger) -> None:
    """The last put counts; a removed customer is gone."""
    with ledger.begin() as work:
        work.customers.put([Customer(customer_id="c1", traits={"a": 1}), Customer(customer_id="c2")])
        work.customers.put([Customer(customer_id="c1", traits={"a": 2})])
        work.customers.remove(["c2"])
    with ledger.read() as work:
        assert {it.customer_id: it.traits for it in work.customers.get(["c1", "c2"]).values()} == {"c1": {"a": 2}}


def test_all_ids_walks_every_customer_in_code_point_order(ledger: Ledger) -> None:
    """Pages join to the whole, ordered as Python orders text."""
    ids = ["Zoe", "adam", "a:1", "éve", "B", "_x", "10", "9", "日本"]
    with ledger.begin() as work:
        work.customers.put([Customer(customer_id=it) for it in ids])
    with ledger.read() as work:
        seen: list[str] = []
        while page := work.customers.all_ids(seen[-1] if seen else "", 2):
            seen += page
    assert seen == sorted(ids)


def test_empty_questions_have_empty_answers(ledger: Ledger) -> None:
    """No ids, no rows, no error."""
    with ledger.begin() as work:
        work.customers.put([])
        work.events.append([])
        work.outbox.put([])
        assert (work.customers.get([]), work.states.get([]), work.consents.of([]), work.events.of([])) == ({},) * 4
        assert (work.sends.log([], T0), work.timers.of([]), work.identities.canonical([])) == ({},) * 3


def test_thousands_of_ids_are_one_question(ledger: Ledger) -> None:
    """No limit on the number of parameters shows through."""
    ids = [f"c{n}" for n in range(40_000)]
    with ledger.begin(ids[:2500]) as work:
        work.states.put([a_state(it) for it in ids[-2:]])
        assert work.states.versions(ids) == {ids[-2]: 1, ids[-1]: 1}
        assert work.states.stamps(ids) == {c: (1, row.committed_at) for c, row in work.states.get(ids).items()}


def test_identities_map_and_answer_both_ways(ledger: Ledger) -> None:
    """canonical and keys_of are each other's inverse; mapping again overwrites."""
    with ledger.begin() as work:
        work.identities.map({"u:x": "x", "a:1": "x", "a:2": "anon:2"})
        work.identities.map({"a:2": "x"})
    with ledger.read() as work:
        assert work.identities.canonical(["u:x", "a:2", "a:9"]) == {"u:x": "x", "a:2": "x"}
        assert work.identities.keys_of(["x", "anon:2"]) == {"x": ["a:1", "a:2", "u:x"]}


def test_claims_touching_returns_whole_components(ledger: Ledger) -> None:
    """A chain is found from any of its keys, and nothing of other chains."""
    chain = [a_claim("m1", "a:1", "u:x"), a_claim("m2", "a:2", "u:x"), a_claim("m3", "u:x", "u:y")]
    other = a_claim("m4", "a:9", "u:z")
    with ledger.begin() as work:
        work.identities.add_claims([*chain, other])
        work.identities.add_claims(chain)
    with ledger.read() as work:
        found = work.identities.claims_touching(["a:2"])
        assert sorted(found, key=lambda it: it.message_id) == chain
        assert work.identities.claims_touching(["a:404"]) == []
        assert len(work.identities.all_claims()) == 4


def test_consent_history_is_whole_and_oldest_first(ledger: Ledger) -> None:
    """Lines come by (at, consent_id); a known consent_id changes nothing."""
    lines = [a_consent("k3", minutes=5), a_consent("k2"), a_consent("k1"), a_consent("k4", "c2")]
    with ledger.begin() as work:
        work.consents.add(lines)
        work.consents.add([a_consent("k1", minutes=99)])
    with ledger.read() as work:
        assert work.consents.of(["c1"]) == {"c1": [lines[2], lines[1], lines[0]]}


def test_a_withdrawn_line_is_gone_and_may_be_said_again(ledger: Ledger) -> None:
    """Only the lines named go, unknown ids are no error, and the same id may be added anew, for another too."""
    with ledger.begin() as work:
        work.consents.add([a_consent("k1"), a_consent("k2", minutes=5), a_consent("k3", "c2")])
    with ledger.begin() as work:
        work.consents.withdraw(["k1", "k3", "k404"])
        work.consents.withdraw([])
    with ledger.begin() as work:
        assert work.consents.of(["c1", "c2"]) == {"c1": [a_consent("k2", minutes=5)]}
        work.consents.add([a_consent("k1", "c2")])
    with ledger.read() as work:
        assert work.consents.of(["c2"]) == {"c2": [a_consent("k1", "c2")]}


def test_a_state_comes_back_byte_for_byte_with_its_version(ledger: Ledger) -> None:
    """Packed bytes, version and commit instant are exact; put replaces; remove drops."""
    with ledger.begin() as work:
        work.states.put([a_state("c1"), a_state("c2")])
        work.states.put([a_state("c1", 2, bytes(range(256)))])
        work.states.remove(["c2"])
    with ledger.read() as work:
        assert work.states.get(["c1", "c2"]) == {"c1": a_state("c1", 2, bytes(range(256)))}
        assert work.states.versions(["c1", "c2"]) == {"c1": 2}
        assert work.states.get(["c1"])["c1"].committed_at == at(2)
