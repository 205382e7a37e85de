"""The truth of the world is exact: against brute force, and against what then happens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest

from opportune.world import Mood, Rhythm, World, WorldConfig
from opportune.world.rhythms import weekday

END = datetime(2026, 3, 1, tzinfo=UTC)
TWO = (
    Rhythm(
        name="often",
        share=0.6,
        start_warm=0.7,
        idle=Mood(p_visit=0.3, p_cart=0.2, p_order=0.1),
        warm=Mood(p_visit=0.6, p_cart=0.3, p_order=0.4),
        warm_up=0.2,
        cool_down=0.3,
        warm_after_order=0.5,
        hazard=0.05,
        hazard_after_order=0.1,
    ),
    Rhythm(
        name="rarely",
        share=0.4,
        start_warm=0.2,
        idle=Mood(p_visit=0.1, p_cart=0.1, p_order=0.05),
        warm=Mood(p_visit=0.4, p_cart=0.1, p_order=0.2),
        warm_up=0.1,
        cool_down=0.4,
        warm_after_order=0.1,
        hazard=0.1,
        hazard_after_order=0.8,
    ),
)
TINY = WorldConfig(n_customers=60, n_new_customers=0, n_days=4, early_share=0.0, rhythms=TWO, newsletter_every_days=0)


def _emission(rhythm: Rhythm, mode: int, day: int, symbol: int) -> float:
    mood = (rhythm.idle, rhythm.warm, rhythm.lapsed)[mode]
    visit = mood.p_visit * TINY.weekday_factors[weekday(day)]
    return (1 - visit, visit * (1 - mood.p_cart - mood.p_order), visit * mood.p_cart, visit * mood.p_order)[symbol]


def _move(r: Rhythm, mode: int, symbol: int, after: int) -> float:
    if mode == 2:
        return (r.comeback, 0.0, 1 - r.comeback)[after]
    if symbol == 3:
        stay = 1 - r.hazard_after_order
        return (stay * (1 - r.warm_after_order), stay * r.warm_after_order, r.hazard_after_order)[after]
    to_warm = r.warm_up if mode == 0 else 1 - r.cool_down
    return ((1 - r.hazard) * (1 - to_warm), (1 - r.hazard) * to_warm, r.hazard)[after]


def _brute_force(seen: list[int], first_day: int, horizon: int) -> tuple[float, float]:
    """P(order), P(no visit) in the horizon by summing over every class, every path of modes and every future."""
    evidence = order = silence = 0.0
    n = len(seen) + horizon
    for rhythm in TWO:
        for modes in product(range(3), repeat=n):
            start = rhythm.share * (1 - rhythm.start_warm, rhythm.start_warm, 0.0)[modes[0]]
            if not start:
                continue
            for future in product(range(4), repeat=horizon):
                symbols = [*seen, *future]
                p = start
                for t, (mode, symbol) in enumerate(zip(modes, symbols, strict=True)):
                    p *= _emission(rhythm, mode, first_day + t, symbol)
                    if not p:
                        break
                    if t == 0:
                        p /= 1 - _emission(rhythm, mode, first_day, 0)
                    if t + 1 < n:
                        p *= _move(rhythm, mode, symbol, modes[t + 1])
                evidence += p
                order += p * (3 in future)
                silence += p * (not any(future))
    return order / evidence, silence / evidence


def test_truth_equals_brute_force_enumeration() -> None:
    """p_purchase and p_churn are the sums over all hidden paths, computed here from the events alone."""
    world = World(TINY, seed=3, end=END)
    truth = world.truth(horizon_days=2).set_index("customer_id")
    days: dict[str, dict[int, int]] = {}
    first = world.start.date()
    rank = {"page": 1, "Product Added": 2, "Order Completed": 3}
    for e in world.events():
        person = e.get("anonymousId", "a" + e.get("userId", "")[1:])[1:7]
        day = (datetime.fromisoformat(e["timestamp"]).date() - first).days
        seen = days.setdefault(person, {})
        seen[day] = max(seen.get(day, 0), rank.get(e.get("event", e["type"]), 1))
    checked = set()
    for person, seen in days.items():
        arrival = min(seen)
        history = [seen.get(d, 0) for d in range(arrival, TINY.n_days)]
        if (arrival, tuple(history)) in checked:
            continue
        checked.add((arrival, tuple(history)))
        name = f"c{person}" if f"c{person}" in truth.index else f"anon:a{person}-1"
        absolute = (world.start + timedelta(days=arrival) - datetime(1970, 1, 1, tzinfo=UTC)).days
        order, silence = _brute_force(history, absolute, 2)
        assert truth.loc[name, "p_purchase"] == pytest.approx(order, abs=1e-12)
        assert truth.loc[name, "p_churn"] == pytest.approx(silence, abs=1e-12)
        if len(checked) == 9:
            break
    assert len(checked) == 9
    assert len(truth) == len(days)


@pytest.fixture(scope="module")
def many() -> World:
    return World(WorldConfig(n_customers=5_000, n_new_customers=0, n_days=120), seed=11, end=END)


@pytest.mark.parametrize(("p", "came"), [("p_purchase", "has_purchase"), ("p_churn", "has_churned")])
def test_truth_is_calibrated_against_what_happens(many: World, p: str, came: str) -> None:
    """In each tenth of the predicted probability the observed share lies within 4 standard errors, and overall too."""
    at = END - timedelta(days=30)
    truth, real = many.truth(at=at), many.realised(at=at)
    assert truth["customer_id"].tolist() == real["customer_id"].tolist()
    order = np.argsort(truth[p].to_numpy(), kind="stable")
    for rows in [*np.array_split(order, 10), order]:
        expected = truth[p].to_numpy()[rows]
        found = real[came].to_numpy()[rows]
        assert abs((found - expected).sum()) < 4 * np.sqrt((expected * (1 - expected)).sum()) + 1e-9


def test_hidden_truth_is_calibrated_too(many: World) -> None:
    """Given the hidden state the probabilities are right, and sharper than what can be observed."""
    at = END - timedelta(days=30)
    truth, real = many.truth(at=at), many.realised(at=at)
    p, found = truth["p_purchase_hidden"].to_numpy(), real["has_purchase"].to_numpy()
    assert abs((found - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    assert ((found - p) ** 2).mean() < ((found - truth["p_purchase"]) ** 2).mean()


def test_realised_is_what_the_events_say() -> None:
    """`realised` agrees with Order Completed and Page Viewed events of the horizon."""
    world = World(WorldConfig(n_customers=200, n_days=60), seed=5, end=END)
    at = END - timedelta(days=20)
    real = world.realised(at=at, horizon_days=20).set_index("customer_id")
    buyers = {e["anonymousId"][:7] for e in world.events(since=at) if e.get("event") == "Order Completed"}
    visitors = {e["anonymousId"][:7] for e in world.events(since=at) if e["type"] == "page"}
    for customer_id, row in real.iterrows():
        person = "a" + str(customer_id).removeprefix("anon:")[1:7]
        assert row["has_purchase"] == (person in buyers)
        assert row["has_churned"] == (person not in visitors)


def test_truth_does_not_look_ahead() -> None:
    """The truth at an instant is the same in a world that ends there and in one that goes on."""
    config = WorldConfig(n_customers=100, n_days=60, early_share=1.0)
    at = END - timedelta(days=10)
    long = World(config, seed=2, end=END).truth(at=at)
    walked = World(config, seed=2, end=END)
    walked.truth(at=END)
    assert long.equals(walked.truth(at=at))


def test_truth_of_chosen_customers_keeps_their_order() -> None:
    """Rows come in the order asked for; strangers, unseen customers and odd instants are refused."""
    world = World(WorldConfig(n_customers=50, n_days=40), seed=2, end=END)
    every = world.truth()
    some = every["customer_id"].tolist()[5:1:-1]
    assert world.truth(some)["customer_id"].tolist() == some
    assert world.truth(some)["p_churn"].tolist() == every["p_churn"].tolist()[5:1:-1]
    with pytest.raises(KeyError, match="does not live"):
        world.truth(["c999999"])
    with pytest.raises(ValueError, match="not seen"):
        world.truth(["c000050"])
    with pytest.raises(ValueError, match="midnight"):
        world.truth(at=END - timedelta(hours=3))


def test_config_is_open_to_change() -> None:
    """A world whose customers never come back has churn 1 and no purchases."""
    still = Mood(p_visit=0.0, p_cart=0.1, p_order=0.1)
    gone = Rhythm(
        name="gone",
        share=1.0,
        start_warm=1.0,
        idle=still,
        warm=Mood(p_visit=0.5, p_cart=0.1, p_order=0.1),
        warm_up=0.0,
        cool_down=0.0,
        warm_after_order=0.0,
        hazard=1.0,
        hazard_after_order=1.0,
        lapsed=still,
        comeback=0.0,
    )
    truth = World(replace(TINY, rhythms=(gone,)), seed=1, end=END).truth()
    assert len(truth) == 60
    assert (truth["p_churn"] == 1).all()
    assert np.allclose(truth["p_purchase"], 0)
    with pytest.raises(ValueError, match="start"):
        World(replace(TINY, rhythms=(replace(gone, start_warm=0.5),)), seed=1, end=END)
