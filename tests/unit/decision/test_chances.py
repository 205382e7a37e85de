"""Logged probabilities are right: they are how often things are drawn, and other policies can be judged by them."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import pytest
from tests.unit.decision.making import NOW, case, playbook, score, swapped

from opportune.decision.chance import uniform
from opportune.decision.pipeline import decide
from opportune.domain.decisions import Ask, Decision, RankDraw

N_SEEDS, N_BATCHES = 20_000, 50
TWO_WORDINGS = swapped(
    (
        "    content: {inapp: {body: Plain}}",
        "    variants:\n      a: {weight: 3, content: {inapp: {body: A}}}\n      b: {content: {inapp: {body: B}}}",
    )
)
#: Three hours left today: a few slots for each message.
BOOK = """
exploration: {rate: 0.3, hours: 0.2, floor: 0.02}
quiet_hours: {start: '15:00', end: '08:00'}
max_messages: 2
"""


@dataclass
class Log:
    """What 20,000 decisions drew, each for a customer of another probability to buy."""

    decisions: list[Decision]
    p: list[float]


@pytest.fixture(scope="module")
def log() -> Log:
    """One decision per seed; at half past twelve, with at most a few hours of the day open."""
    base = TWO_WORDINGS.replace("    priority: 5", "    priority: 5\n    expires_after: 2h")
    book = playbook(BOOK, base=base.replace("    value_minor: 9000", "    value_minor: 9000\n    expires_after: 3h"))
    p = [0.02 + 0.4 * uniform(str(n), "customer") for n in range(N_SEEDS)]
    ask = Ask(customer_id="c1", channels=("email", "inapp"))
    decided = [
        decide(case(book, ask, {"purchase": score(p[n])}, seed=f"{n:x}", decision_id=f"d{n}", now=NOW), book)
        for n in range(N_SEEDS)
    ]
    return Log(decided, p)


def test_everything_is_drawn_as_often_as_it_is_logged(log: Log) -> None:
    """Over 20,000 seeds, for wordings and at each rank, nothing included: within the Monte-Carlo error of each."""
    drawn: dict[tuple[int, str], float] = defaultdict(float)
    expected: dict[tuple[int, str], float] = defaultdict(float)
    variance: dict[tuple[int, str], float] = defaultdict(float)
    for decision in log.decisions:
        for draw in decision.draws:
            assert sum(draw.probabilities.values()) == pytest.approx(1)
            drawn[draw.rank, draw.chosen] += 1
            for key, p in draw.probabilities.items():
                expected[draw.rank, key] += p
                variance[draw.rank, key] += p * (1 - p)
    assert drawn.keys() <= expected.keys()
    assert len(expected) > 25
    worst = max(abs(drawn[it] - expected[it]) / sqrt(variance[it]) for it in expected if variance[it] > 5)
    assert worst < 4.2  # of some 40 normal numbers, more than that once in a thousand times
    assert all(drawn[it] == expected[it] for it in expected if variance[it] == 0)


def test_no_action_is_less_likely_than_the_floor(log: Log) -> None:
    """Not even nothing; where there are too many for that all are equally likely."""
    firsts = [draw for decision in log.decisions[:500] for draw in decision.draws if draw.rank > 0]
    for draw in firsts:
        assert min(draw.probabilities.values()) >= min(0.02, 1 / len(draw.probabilities)) - 1e-12
    crowded = playbook("exploration: {floor: 0.5}\n")
    draw = decide(case(crowded), crowded).draws[0]
    assert set(draw.probabilities.values()) == {0.2}


def test_a_floor_alone_explores_and_a_seed_draws_the_same_again() -> None:
    """The best is still by far the likeliest; nobody needs a rate; the log is reproducible from the seed."""
    book = playbook("exploration: {floor: 0.01}\n")
    draws = [decide(case(book, seed=str(n)), book).draws[0] for n in range(400)]
    assert {draw.chosen for draw in draws} > {"nothing"}
    probabilities = draws[0].probabilities
    assert sorted(probabilities.values()) == pytest.approx([0.01] * 4 + [0.96])
    assert draws == [decide(case(book, seed=str(n)), book).draws[0] for n in range(400)]


def _campaign(key: str) -> str:
    return key.partition("|")[0]


def _best(draw: RankDraw, p: float) -> dict[str, float]:
    """The policy without exploration."""
    return {max(draw.probabilities, key=lambda key: draw.probabilities[key]): 1.0}


def _even(draw: RankDraw, p: float) -> dict[str, float]:
    """Every action alike, nothing included."""
    return dict.fromkeys(draw.probabilities, 1 / len(draw.probabilities))


def _picky(draw: RankDraw, p: float) -> dict[str, float]:
    """Nothing for those who hardly buy, the small campaign at an even hour for the others."""
    small = [key for key in draw.probabilities if _campaign(key) == "small"]
    return {"nothing": 1.0} if p < 0.2 else dict.fromkeys(small, 1 / len(small))


def _reward(key: str, p: float) -> float:
    """What an action truly brings on average: known here, never to the estimate."""
    base = {"big": 90 * p, "small": 25 * p + 3, "plain": 4.0, "nothing": 1.0}[_campaign(key)]
    return base * (1.5 if "T14" in key else 1.0)


@pytest.mark.parametrize("policy", [_best, _even, _picky])
def test_inverse_probability_estimates_cover_the_truth_of_three_policies(
    log: Log, policy: Callable[[RankDraw, float], Mapping[str, float]]
) -> None:
    """Over all decisions within 3 standard errors; in batches of 400 the 95 % interval holds the truth nearly always
    that often; the weights' mean is 1."""
    weights, found, truth = [], [], []
    for n, (decision, p) in enumerate(zip(log.decisions, log.p, strict=True)):
        draw = next(draw for draw in decision.draws if draw.rank == 1)
        wanted = policy(draw, p)
        noise = 10 * (uniform(str(n), "noise") - 0.5)
        weights.append(wanted.get(draw.chosen, 0.0) / draw.probabilities[draw.chosen])
        found.append(weights[-1] * (_reward(draw.chosen, p) + noise))
        truth.append(sum(share * _reward(key, p) for key, share in wanted.items()))
    estimate, error = _mean_and_error(found)
    true = sum(truth) / len(truth)
    assert abs(estimate - true) < 3 * error
    assert sum(weights) / len(weights) == pytest.approx(1, abs=4 * _mean_and_error(weights)[1])
    size = N_SEEDS // N_BATCHES
    covered = 0
    for start in range(0, N_SEEDS, size):
        estimate, error = _mean_and_error([f - t for f, t in zip(found, truth, strict=True)][start : start + size])
        covered += abs(estimate) <= 1.96 * error
    assert covered >= 42  # of 50: binomial with 0.95, fewer once in ten thousand times


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    n = len(values)
    mean = sum(values) / n
    return mean, sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
