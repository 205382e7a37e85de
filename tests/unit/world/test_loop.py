"""The closed loop: same luck under every policy, effects as declared, promises counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from opportune.playbook.reach import QuietHours
from opportune.playbook.schema import Cap
from opportune.world import CampaignEffect, Delivery, Rules, World, WorldConfig

END = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BIG = CampaignEffect(p_order=0.3, annoyance=5.0)
CONFIG = WorldConfig(
    n_customers=1_200,
    n_days=60,
    early_share=1.0,
    effects={
        "nice": BIG,
        "nothing": CampaignEffect(p_order=0.0),
        "nasty": CampaignEffect(p_order=-0.5),
        "cart": CampaignEffect(p_order=0.3, relevance="cart", off_share=0.1, half_life_h=24.0),
        "comeback": CampaignEffect(p_order=0.3, relevance="lapsed"),
        "wanted": CampaignEffect(p_order=0.0, annoyance=0.0),
    },
)


@pytest.fixture(scope="module")
def base() -> World:
    return World(CONFIG, seed=4, end=END)


def mail(world: World, campaign: str, at: datetime, ids: list[str], channel: str = "email") -> list[Delivery]:
    return [
        Delivery(message_id=f"{campaign}-{at:%d%H%M}-{c}", customer_id=c, campaign=campaign, channel=channel, at=at)
        for c in ids
    ]


def run(world: World, days: int, first: list[Delivery]) -> list[dict]:
    events = world.step(world.now + DAY, first)
    for _ in range(days - 1):
        events += world.step(world.now + DAY)
    return events


def test_the_loop_goes_on_where_history_ends(base: World) -> None:
    """Without messages the loop gives the same organic events as a longer history would hold."""
    quiet = base.fork()
    told = run(quiet, 10, [])
    hourly = base.fork()
    steps = [e for h in range(240) for e in hourly.step(END + timedelta(hours=h + 1))]
    assert steps == told
    stamps = [e["timestamp"] for e in told]
    assert stamps == sorted(stamps)
    assert "2026-03-01" <= stamps[0] < stamps[-1] < "2026-03-11"
    assert quiet.accounts()["incremental_minor"].sum() == 0


def test_policies_share_their_luck(base: World) -> None:
    """A policy only adds events: the organic ones are the same, and so are accounts but for what messages caused."""
    quiet, loud = base.fork(), base.fork()
    without = run(quiet, 8, [])
    ids = loud.reachable("email")
    along = run(loud, 8, mail(loud, "nice", END + timedelta(hours=9), ids))
    organic = {e["messageId"]: e for e in without}
    caused = [e for e in along if e["messageId"] not in organic]
    assert [e for e in along if e["messageId"] in organic] == without
    assert {"Email Delivered", "Email Opened", "Order Completed"} <= {e.get("event") for e in caused}
    a, b = quiet.accounts(), loud.accounts()
    assert (b["revenue_minor"] - b["incremental_minor"]).tolist() == a["revenue_minor"].tolist()
    assert b["n_messages"].sum() == len(ids)
    assert a["n_messages"].sum() == 0


@pytest.mark.parametrize("campaign", ["nice", "cart", "comeback", "nothing", "unheard_of"])
def test_effects_are_realised_as_declared(base: World, campaign: str) -> None:
    """Extra orders and their value are as `incremental` says, within 4 standard errors, at all hours."""
    n = value = expected = worth = variance = value_variance = 0.0
    for hour in range(0, 24, 3):
        world = base.fork()
        at = END + timedelta(hours=hour)
        if hour:
            world.step(at)
        ids = world.reachable("email")
        truth = world.incremental(ids, campaign, "email", [at])
        events = world.step(END + 4 * DAY, mail(world, campaign, at, ids))
        caused = [
            e for e in events if e.get("event") == "Order Completed" and int(e["messageId"].split("-")[2]) >= 10**6
        ]
        accounts = world.accounts().set_index("customer_id").loc[ids]
        p = truth["p_order"][:, 0]
        n, value = n + len(caused), value + accounts["extra_minor"].sum()
        expected, worth = expected + p.sum(), worth + truth["value_minor"].sum()
        variance += (p * (1 - p)).sum()
        value_variance += (2.2 * p * (truth["value_minor"][:, 0] / np.maximum(p, 1e-12)) ** 2).sum()
        assert accounts["extra_minor"].sum() == pytest.approx(sum(e["properties"]["revenue"] for e in caused) * 100)
    assert abs(n - expected) <= 4 * np.sqrt(variance)
    assert abs(value - worth) <= 4 * np.sqrt(value_variance)
    assert (n > 0) == (campaign != "nothing")


def test_harm_is_realised_as_declared(base: World) -> None:
    """A campaign that annoys spoils as many organic orders as `incremental` says, and is paid for in the accounts."""
    world, quiet = base.fork(), base.fork()
    ids = world.reachable("email")
    at = END + timedelta(hours=12)
    truth = world.incremental(ids, "nasty", "email", [at])
    p = -truth["p_order"][:, 0]
    run(world, 10, mail(world, "nasty", at, ids))
    run(quiet, 10, [])
    lost = quiet.accounts()["n_orders"].sum() - world.accounts()["n_orders"].sum()
    assert p.min() >= 0
    assert abs(lost - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    assert (world.accounts()["incremental_minor"] <= 0).all()
    assert world.accounts()["skipped_minor"].sum() > 0
    spoiled = quiet.accounts()["revenue_minor"].sum() - world.accounts()["revenue_minor"].sum()
    assert spoiled == world.accounts()["skipped_minor"].sum()


def test_the_best_hour_is_best() -> None:
    """For every rested customer the expected effect over a day is greatest at the true best local hour."""
    world = World(replace(CONFIG, n_customers=200, newsletter_every_days=0), seed=4, end=END)
    truth = world.truth().set_index("customer_id")
    # UTC+1 and no change of clocks that day: local hour = UTC hour + 1
    ids = [c for c in world.reachable("email") if truth.loc[c, "zone"] == "Europe/Berlin"]
    value = world.incremental(ids, "nice", "email", [END + timedelta(hours=h) for h in range(24)])["p_order"]
    assert ((value.argmax(axis=1) + 1) % 24 == truth.loc[ids, "best_hour_local"]).all()


def test_unsubscribes_and_fatigue_grow_with_sends(base: World) -> None:
    """The more was sent lately the more leave, as often as `incremental` says, and the less a message does."""
    world = base.fork()
    ids = world.reachable("email")
    rested = world.incremental(ids, "nice", "email", [END])
    for day in range(3):
        at = END + day * DAY
        expected = world.incremental(ids, "nice", "email", [at])["p_unsubscribe"][:, 0]
        before = world.accounts()["n_unsubscribes"].sum()
        run(world, 1, mail(world, "nice", at, ids))
        left = world.accounts()["n_unsubscribes"].sum() - before
        assert expected.sum() * 0.5 - 5 < left < expected.sum() * 1.5 + 5
    tired = world.incremental(ids, "nice", "email", [world.now])
    assert (tired["p_unsubscribe"] > rested["p_unsubscribe"]).all()
    assert (tired["p_open"] < rested["p_open"]).all()
    assert len(world.reachable("email")) < len(ids)
    again = base.fork()
    run(again, 3, mail(again, "wanted", END, ids))
    assert again.accounts()["n_unsubscribes"].sum() == 0


def test_channels_without_address_reach_nobody(base: World) -> None:
    """A push to someone without a device, or to someone who never signed up, has no answer at all."""
    world = base.fork()
    truth = world.truth()
    strangers = truth["customer_id"][truth["customer_id"].str.startswith("anon:")].tolist()
    told = {e["userId"]: e["traits"] for e in base.events() if e["type"] == "identify" and e["traits"]}
    deaf = [c for c, t in told.items() if "push_token" not in t]
    ids = [*strangers, *deaf]
    assert strangers
    events = run(world, 2, mail(world, "nice", END, ids, channel="push"))
    assert not any(e.get("properties", {}).get("channel") == "push" for e in events)


RULES = Rules(
    caps={
        "week": Cap(counts={"purpose": "marketing"}, at_most=2, window="7d"),  # type: ignore[arg-type]
        "apart": Cap(at_least_apart=timedelta(hours=20)),
        "day": Cap(at_most=1, window="calendar day"),
    },
    quiet_hours=QuietHours(start="21:00", end="08:00"),  # type: ignore[arg-type]
    consent_default={"email": "in", "*": "out"},
)


def broken(base: World, *deliveries: Delivery) -> list[str]:
    world = base.fork()
    world.hold_to(RULES)
    world.step(END + 8 * DAY, deliveries)
    return [v.rule for v in world.violations]


def test_the_world_counts_broken_promises() -> None:
    """Caps over rolling and calendar windows, spacing, quiet hours in the true zone, and consent."""
    base = World(replace(CONFIG, n_customers=150, n_days=20), seed=4, end=END).fork()
    truth = base.truth().set_index("customer_id")
    london = next(c for c in base.reachable("email") if truth.loc[c, "zone"] == "Europe/London")
    india = next(c for c in base.reachable("email") if truth.loc[c, "zone"] == "Asia/Kolkata")
    noon = END + timedelta(hours=12)

    def one(at: datetime, customer: str = london, **more: object) -> Delivery:
        given = {"message_id": f"{at}", "customer_id": customer, "campaign": "wanted", "channel": "email", "at": at}
        return Delivery(**{**given, **more})

    assert broken(base, one(noon), one(noon + 3 * DAY), one(noon + 7 * DAY)) == []
    assert broken(base, one(noon), one(noon + 3 * DAY), one(noon + 7 * DAY - timedelta(seconds=1))) == ["week"]
    assert broken(base, one(noon + timedelta(hours=8)), one(noon + timedelta(hours=27))) == ["apart"]
    assert broken(base, one(noon), one(noon + timedelta(hours=5))) == ["apart", "day"]
    assert broken(base, one(noon), one(noon + timedelta(hours=5), obeys_caps=False)) == []
    assert broken(base, one(noon, counts=False), one(noon + timedelta(hours=5))) == []
    night = END + timedelta(hours=21)
    assert broken(base, one(night)) == ["quiet_hours"]
    assert broken(base, one(night, obeys_quiet_hours=False)) == []
    assert broken(base, one(night, purpose="transactional")) == []
    assert broken(base, one(END + timedelta(hours=2, minutes=31), india)) == []  # 08:01 there
    assert broken(base, one(END + timedelta(hours=2, minutes=29), india)) == ["quiet_hours"]  # 07:59 there
    said = {c.customer_id: c.state.value for c in base.consents() if c.channel == "email"}
    refused = next(c for c, s in said.items() if s == "out" and truth.loc[c, "zone"] == "Europe/London")
    assert broken(base, one(noon, refused)) == ["consent"]
    assert broken(base, one(noon, refused, purpose="transactional")) == []


def test_mail_after_unsubscribing_is_a_violation(base: World) -> None:
    """Who has left and hears from us again is counted."""
    world = base.fork()
    gone: set[str] = set()
    for day in range(4):
        at = END + day * DAY
        events = run(world, 1, mail(world, "nice", at, world.reachable("email")))
        gone |= {e["userId"] for e in events if e.get("event") == "Unsubscribed"}
    assert gone
    assert not gone & set(world.reachable("email"))
    assert world.violations == []
    world.step(world.now + DAY, mail(world, "nice", world.now, sorted(gone)))
    assert {v.rule for v in world.violations} == {"consent"}
    assert {v.customer_id for v in world.violations} == gone


def test_forks_do_not_touch_each_other(base: World) -> None:
    """What one policy does is unknown to the other, and the world they started from stands still."""
    before = base.accounts()
    one, other = base.fork(), base.fork()
    ids = one.reachable("email")
    run(one, 5, mail(one, "nice", END, ids))
    assert base.now == other.now == END
    assert base.accounts().equals(before)
    assert run(other, 5, []) == run(base.fork(), 5, [])
    assert one.accounts()["n_messages"].sum() == len(ids)


def test_new_customers_arrive_in_the_loop(base: World) -> None:
    """The loop has sign-ups of customers that history did not know."""
    world = base.fork()
    n = world.n_signed_up
    events = run(world, 30, [])
    assert any(e.get("event") == "Signed Up" and e["userId"] >= f"c{CONFIG.n_customers:06d}" for e in events)
    assert world.n_signed_up > n


def test_steps_only_go_forward(base: World) -> None:
    """A step into the past, a message outside of its step, and a stranger are refused."""
    world = base.fork()
    late = Delivery(message_id="m", customer_id="c000001", campaign="nice", channel="email", at=END + 2 * DAY)
    with pytest.raises(ValueError, match="not after now"):
        world.step(END)
    with pytest.raises(ValueError, match="not within"):
        world.step(END + DAY, [late])
    with pytest.raises(KeyError, match="does not live"):
        world.step(END + 3 * DAY, [replace(late, customer_id="u1")])
    with pytest.raises(ValueError, match="before now"):
        world.incremental(["c000001"], "nice", "email", [END - DAY])
