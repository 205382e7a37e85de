"""A dry run plays history once more under another playbook, and leaves everything as it was."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import opportune
from opportune.adapters.system_clock import FixedClock
from opportune.cli import main
from opportune.experiments.dry import DryTally, compare, to_words
from opportune.flows.dry_run import carry_over, history_of, in_sample, play, regular_asks, scene_of
from opportune.flows.ingest import ingest
from opportune.sandboxes import Sandbox

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
PLAYBOOK = """
goals: {{order: {{event: Order Completed}}}}
topics: {{reminders: {{purpose: marketing}}, orders: {{purpose: transactional}}}}
consent: {{default: {{email: in, "*": out}}}}
caps: {{weekly: {{counts: {{purpose: marketing}}, at_most: {cap}, in: 7d}}}}
triggers:
  cart_abandoned:
    {{on: {{event: Product Added, key: properties.cart_id}}, unless: {{event: Order Completed}}, wait: 1h}}
  offer: {{kind: request}}
campaigns:
  cart_reminder:
    {{trigger: cart_abandoned, topic: reminders, channels: [email], content: {{email: {{subject: s, body: b}}}}}}
  offer: {{trigger: offer, topic: reminders, channels: [email], content: {{email: {{subject: s, body: b}}}}}}
"""


class Nobody:
    """Hands over to nobody."""

    def deliver(self, sends: object, at: datetime) -> None: ...


@pytest.fixture
def shop() -> Sandbox:
    """A fortnight of Ada and Bob leaving carts, Bob out of marketing since the second week, one request by a caller."""
    with opportune.sandbox(playbook=PLAYBOOK.format(cap=1), at=START) as o:
        for who in ("ada", "bob"):
            o.identify(who, email=f"{who}@example.org", timezone="Europe/London")
        for day in range(14):
            for who in ("ada", "bob"):
                o.track(who, "Product Added", cart_id=f"{who}{day}", product_id="p", price=5)
            if day == 7:
                o.consent("bob", "email", "out")
            if day == 10:
                o.decide("ada")
            o.advance("1d")
        return o


def dry(source: Sandbox, cap: int, since: datetime, share: float = 1.0) -> DryTally:
    with opportune.sandbox(playbook=PLAYBOOK.format(cap=cap), at=since) as scratch:
        desk = scratch.desk
        clock = desk.clock
        assert isinstance(clock, FixedClock)
        for page in history_of(source.desk.ledger, since, share):
            ingest(page, (), desk.ledger, desk.playbook, clock)
        carry_over(source.desk.ledger, desk, since)
        scene = scene_of(source.desk.ledger, since, source.now, share)
        return play(scene, desk, Nobody(), clock, grain=timedelta(0))


def test_the_active_playbook_over_its_own_history_sends_what_was_sent(shop: Sandbox) -> None:
    """Same playbook, same events, same requests: the same messages as in life."""
    lived = [(m.campaign, m.channel) for m in shop.messages]
    tally = dry(shop, 1, START)
    assert sum(tally.messages.values()) == len(lived) == 3
    assert tally.n_decisions == len(shop.log())


def test_a_wider_cap_sends_more_and_the_difference_is_told(shop: Sandbox) -> None:
    """The comparison names messages, people, caps hit and reasons."""
    found = compare(dry(shop, 1, START), dry(shop, 100, START))
    totals = {row["name"]: (row["active"], row["new"]) for row in found["totals"]}
    assert totals["messages"][0] < totals["messages"][1]
    assert totals["people"] == (2, 2)
    (hit,) = found["caps hit"]
    assert (hit["name"], hit["new"]) == ("weekly", 0)
    assert hit["active"] > 10
    for markdown in (False, True):
        words = to_words(found, "title", markdown)
        assert "cart_reminder by email" in words
        assert "weekly" in words


def test_what_was_said_and_heard_before_the_period_counts_in_it(shop: Sandbox) -> None:
    """An opt-out given over HTTP and a message sent in the week before both hold."""
    since = START + timedelta(days=8)
    tally = dry(shop, 1, since)
    assert tally.held["no consent"] == 6
    assert tally.people <= {"ada"}


def test_a_dry_run_leaves_the_installation_as_it_was(shop: Sandbox) -> None:
    """Not one decision, send, timer or event more."""

    def state() -> tuple[object, ...]:
        with shop.desk.ledger.read() as uow:
            return len(shop.log()), len(uow.events.of(["ada", "bob"])["ada"]), uow.timers.pending(), shop.messages

    before = state()
    dry(shop, 5, START)
    assert state() == before


def test_a_share_of_the_customers_is_the_same_share_every_time(shop: Sandbox) -> None:
    """Who is in depends on the id alone; everybody is in the whole."""
    people = [f"c{n}" for n in range(2000)]
    half = {c for c in people if in_sample(c, 0.5)}
    assert 900 < len(half) < 1100
    assert half <= {c for c in people if in_sample(c, 0.7)}
    assert all(in_sample(c, 1.0) for c in people)


def test_regular_asks_are_spread_over_the_interval_and_reach_everybody_once_in_it(shop: Sandbox) -> None:
    """Two weeks asked weekly: twice each."""
    asks = regular_asks(shop.desk.ledger, START, START + timedelta(days=14), timedelta(days=7), 1.0)
    assert sorted(a.customer_id for _, a in asks) == ["ada", "ada", "bob", "bob"]
    assert [at for at, _ in asks] == sorted(at for at, _ in asks)


def test_the_command_prints_both_playbooks_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sample world, the active playbook against a copy of itself: no difference; a bad period is one line."""
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPPORTUNE_DATABASE_URL", raising=False)
    default = str(Path(opportune.__file__).parent / "playbook" / "default")

    def code(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["simulate", *arguments])
        return int(end.value.code or 0)

    assert code("--playbook", default, "--on", "world", "--customers", "20", "--grain", "6h") == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.endswith("+0")]
    assert len(rows) >= 5
    assert code("--playbook", default, "--on", "2026-03-02..2026-03-01") == 2
    assert "is not before" in capsys.readouterr().err
    assert code() == 2
    assert "--world, or --playbook" in capsys.readouterr().err
