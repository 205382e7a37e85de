"""`python -m benchmarks.arbitration`: what ranking under budgets earns, beside the best that could have been earned.

A generated case: 6,000 customers, 8 messages on 3 channels, a budget per channel and day. Every customer asks once a
day, at an hour of the shop's own rhythm; how much each message is worth differs by customer and by day; at most two
messages a day, and so many a week. Day 0 is yesterday: its decisions are solved for prices, and what it sent counts.
Days 1 and 2 are decided in the order of arrival by the real pipeline, the prices solved again between them. The best
is a linear programme that knows both days in advance (HiGHS).
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from opportune.decision import record
from opportune.decision.budgets import standing_of
from opportune.decision.offers import offer_of
from opportune.decision.pipeline import decide
from opportune.decision.prices import solve
from opportune.decision.rules import rules_of
from opportune.domain.budgets import BudgetPrice
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Case, Score
from opportune.domain.messages import Deliver, Send, SendState
from opportune.flows.price import smoothed
from opportune.playbook.load import Playbook, load_files

DAY0 = datetime(2026, 3, 2, tzinfo=UTC)
MESSAGES = {"a": "email", "b": "email", "c": "email", "d": "push", "e": "push", "f": "push", "g": "sms", "h": "sms"}
#: Share of the customers who may have a message on this channel each day.
ROOM = {"email": 0.22, "push": 0.15, "sms": 0.06}
POLICIES = ("fixed priority", "greedy", "yesterday's prices", "paced prices")
#: Messages per decision and day.
A_DAY = 2


@dataclass(frozen=True, slots=True)
class Week:
    """The weekly cap, and which share of the customers had how many messages in the four days before the first."""

    at_most: int
    had: dict[int, float]


#: A seventh of the customers have heard all that a week allows; the others never come near it.
LOOSE = Week(6, {0: 0.85, 6: 0.15})
#: For a third of the customers a message today costs one tomorrow: what only the best, which knows tomorrow, can weigh.
TIGHT = Week(3, {0: 0.70, 1: 0.15, 2: 0.10, 3: 0.05})
#: Traffic by UTC hour.
RHYTHM = [1, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 10, 10, 9, 9, 10, 12, 14, 15, 14, 10, 5, 2]


def playbook_of(n_customers: int, week: Week, has_values: bool = True) -> Playbook:
    """The case's playbook; without values campaigns rank by a fixed priority."""
    goals = "".join(
        f"  {name}: {{event: Goal {name}, value_minor: {2000 + 700 * i}}}\n" for i, name in enumerate(MESSAGES)
    )
    campaigns = "".join(
        f"  {name}:\n    trigger: ask\n    topic: offers\n    channels: [{channel}]\n    priority: {(i * 5) % 8}\n"
        f"    expires_after: 1h\n{f'    goal: {name}' if has_values else ''}\n"
        f"    content: {{{channel}: {{body: {name}}}}}\n"
        for i, (name, channel) in enumerate(MESSAGES.items())
    )
    budgets = "".join(
        f"  {channel}_a_day: {{channel: {channel}, per: day, at_most: {round(share * n_customers)}}}\n"
        for channel, share in ROOM.items()
    )
    text = (
        f"topics: {{offers: {{}}}}\nconsent: {{default: {{'*': in}}}}\ntriggers: {{ask: {{kind: request}}}}\n"
        f"max_messages: {A_DAY}\ncaps:\n"
        f"  a_day: {{counts: {{purpose: marketing}}, at_most: {A_DAY}, in: calendar day}}\n"
        f"  a_week: {{counts: {{purpose: marketing}}, at_most: {week.at_most}, in: 7d}}\n"
        f"channels: {{sms: {{cost_minor: 4}}}}\ngoals:\n{goals}campaigns:\n{campaigns}budgets:\n{budgets}"
    )
    return load_files({"arbitration.yaml": text.encode()})


@dataclass(frozen=True, slots=True)
class Arrival:
    """One customer asks once: `p` of each message's goal at that moment."""

    customer: int
    at: datetime
    p: tuple[float, ...]


def earlier(n_customers: int, seed: int, week: Week) -> dict[int, list[Send]]:
    """What customers heard in the four days before the first."""
    draw = np.random.default_rng([seed, 1])
    found = {}
    for c, n in enumerate(draw.choice(list(week.had), n_customers, p=list(week.had.values()))):
        at = sorted(DAY0 - timedelta(days=float(days)) for days in draw.uniform(0.1, 4.0, n))
        found[c] = [
            Send(
                message_id=f"{c}-{k}", customer_id=f"c{c}", decision_id="d", rank=1, campaign="a", trigger="ask",
                channel="email", topic="offers", purpose="marketing", variant=None, tags=(), state=SendState.SENT,
                deliver=Deliver.CALLER, send_at=when, expires_at=when, reserved_at=when,
            )
            for k, when in enumerate(at)
        ]  # fmt: skip
    return found


def arrivals_of(n_customers: int, seed: int) -> list[Arrival]:
    """Three days of arrivals in order of time."""
    draw = np.random.default_rng(seed)
    taste = draw.gamma(0.6, 1.0, (n_customers, len(MESSAGES))) * draw.gamma(1.5, 0.03, (n_customers, 1))
    hours = np.array(RHYTHM) / sum(RHYTHM)
    found = []
    for day in range(3):
        mood = np.minimum(0.9, taste * draw.gamma(2.0, 0.5, taste.shape))
        seconds = draw.choice(24, n_customers, p=hours) * 3600 + draw.uniform(0, 3600, n_customers)
        for c in range(n_customers):
            at = DAY0 + timedelta(days=day, seconds=float(seconds[c]))
            found.append(Arrival(c, at, tuple(float(p) for p in mood[c])))
    return sorted(found, key=lambda it: it.at)


def case_of(arrival: Arrival, book: Playbook, sends: Sequence[Send] = ()) -> Case:
    """The arrival as the pipeline sees it, without budgets."""
    name = f"c{arrival.customer}"
    scores = {
        goal: Score(name=goal, p=p, model=f"{goal}/1", target=goal) for goal, p in zip(MESSAGES, arrival.p, strict=True)
    }
    return Case(
        decision_id=f"{name}-{arrival.at.day}",
        ask=Ask(customer_id=name),
        customer=Customer(customer_id=name, traits={"email": "x", "phone": "x", "push_token": "x"}),
        now=arrival.at, playbook_hash=book.hash, code_version="benchmark", seed=name, features={}, features_version=1,
        degraded=False, scores=scores, consents=(), sends=tuple(sends), unit=name,
    )  # fmt: skip


@dataclass
class Market:
    """Everything that changes while days pass: what was sent, what is spent, the newest prices."""

    book: Playbook
    week: Week
    is_paced: bool = True
    sends: dict[int, list[Send]] = field(default_factory=dict)
    spent: dict[tuple[str, datetime], int] = field(default_factory=dict)
    prices: dict[str, BudgetPrice] = field(default_factory=dict)
    earned: dict[int, float] = field(default_factory=dict)

    def day(self, arrivals: Sequence[Arrival]) -> None:
        """Decide for everyone who comes, in order."""
        rules = rules_of(self.book)
        for arrival in arrivals:
            sends = self.sends.setdefault(arrival.customer, [])
            standings = []
            for rule in rules.budgets:
                mine = [
                    (at, n) for (name, at), n in self.spent.items() if name == rule.name and at >= _midnight(arrival.at)
                ]
                it = standing_of(rule, arrival.at, self.prices.get(rule.name), mine)
                standings.append(it if self.is_paced else replace(it, price_minor=it.later_minor))
            case = replace(case_of(arrival, self.book, sends), budgets=tuple(standings))
            decision = decide(case, self.book)
            for message in decision.messages:
                sends.append(record.send_of(decision, message, case))
                place = f"{message.channel}_a_day", _midnight(message.send_at)
                self.spent[place] = self.spent.get(place, 0) + 1
                self.earned[arrival.at.day] = self.earned.get(arrival.at.day, 0.0) + worth_of(message.campaign, arrival)

    def learn(self, arrivals: Sequence[Arrival]) -> None:
        """Solve yesterday's arrivals for prices as if they came again today, with what counts against caps by then."""
        again = [replace(a, at=a.at + timedelta(days=1)) for a in arrivals]
        solved = solve(
            [offer_of(case_of(a, self.book, self.sends.get(a.customer, ())), self.book) for a in again],
            {rule.name: float(rule.limit) for rule in rules_of(self.book).budgets},
        )
        self.prices = {
            name: BudgetPrice(
                budget=name, price_minor=price, shares=smoothed(solved.shares[name]), solved_at=arrivals[-1].at
            )
            for name, price in solved.prices.items()
        }

    def violations(self) -> int:
        """Customers with more messages in seven days than the cap allows, and budgets with more than their limit."""
        limits = {rule.name: rule.limit for rule in rules_of(self.book).budgets}
        over = sum(n > limits[name] for (name, _), n in self.spent.items())
        return over + sum(
            any(
                c.send_at - a.send_at < timedelta(days=7)
                for a, c in zip(sends, sends[self.week.at_most :], strict=False)
            )
            for sends in self.sends.values()
        )


def worth_of(campaign: str, arrival: Arrival) -> float:
    """What the message is worth to this arrival, in minor units, as the playbook counts."""
    at = list(MESSAGES).index(campaign)
    return round(arrival.p[at] * (2000 + 700 * at)) - (4 if MESSAGES[campaign] == "sms" else 0)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def optimum(arrivals: Sequence[Arrival], book: Playbook, week: Week, before: dict[int, int]) -> float:
    """The linear programme that knows all these days. `before`: messages per customer that count already."""
    rows: dict[tuple[str, object], list[int]] = {}
    limits: dict[tuple[str, object], float] = {}
    values: list[float] = []
    room = {rule.name: float(rule.limit) for rule in rules_of(book).budgets}
    for n, arrival in enumerate(arrivals):
        for campaign, channel in MESSAGES.items():
            value = worth_of(campaign, arrival)
            if value <= 0:
                continue
            budget = f"{channel}_a_day"
            for key, limit in (
                (("decision", n), float(A_DAY)),
                (("customer", arrival.customer), float(week.at_most) - before.get(arrival.customer, 0)),
                ((budget, arrival.at.day), room[budget]),
            ):
                rows.setdefault(key, []).append(len(values))
                limits[key] = limit
            values.append(value)
    at = [row for row, columns in enumerate(rows.values()) for _ in columns]
    of = [column for columns in rows.values() for column in columns]
    found = linprog(
        c=[-v for v in values], A_ub=coo_matrix((np.ones(len(at)), (at, of))).tocsr(), b_ub=list(limits.values()),
        bounds=(0.0, 1.0), method="highs",
    )  # fmt: skip
    return -float(found.fun)


@dataclass(frozen=True, slots=True)
class Result:
    """One policy: what it earned on days 1 and 2, as a share of the best, and promises broken (0)."""

    policy: str
    earned_minor: float
    share: float
    n_violations: int
    n_messages: int


def compare(n_customers: int, seed: int, week: Week = LOOSE, policies: Sequence[str] = POLICIES) -> list[Result]:
    """Every policy on the same arrivals, after the same day 0 (paced prices from that day itself)."""
    arrivals = arrivals_of(n_customers, seed)
    days = [[a for a in arrivals if a.at.day == DAY0.day + d] for d in range(3)]
    book = playbook_of(n_customers, week)
    start = Market(book, week, sends=earlier(n_customers, seed, week))
    start.learn(days[0])
    start.day(days[0])
    before = {c: len(sends) for c, sends in start.sends.items()}
    best = optimum([*days[1], *days[2]], book, week, before)
    found = []
    for policy in policies:
        market = Market(
            book, week, is_paced=policy == "paced prices", sends={c: list(s) for c, s in start.sends.items()}
        )
        if policy == "fixed priority":
            market.book = playbook_of(n_customers, week, has_values=False)
        for yesterday, today in pairwise(days):
            if "prices" in policy:
                market.learn(yesterday)
            market.day(today)
        n_sent = sum(map(len, market.sends.values())) - sum(before.values())
        earned = sum(market.earned.values())
        found.append(Result(policy, earned, earned / best, market.violations(), n_sent))
    return found


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tight", action="store_true", help="a weekly cap that binds from day to day")
    options = parser.parse_args()
    began = time.perf_counter()
    print(f"{'':<22}{'earned':>12}{'of the best':>13}{'messages':>10}{'violations':>12}")
    for it in compare(options.customers, options.seed, TIGHT if options.tight else LOOSE):
        print(f"{it.policy:<22}{it.earned_minor:>12,.0f}{it.share:>13.4f}{it.n_messages:>10,}{it.n_violations:>12}")
    print(f"{options.customers:,} customers, {len(MESSAGES)} messages, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
