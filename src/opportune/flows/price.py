"""Budgets get their prices: once a day, the decisions of the last day are solved as if they came again the next."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from opportune.decision.offers import offer_of
from opportune.decision.prices import Offer, solve
from opportune.decision.record import case_from_json
from opportune.decision.rules import rules_of
from opportune.domain.budgets import BudgetPrice
from opportune.domain.decisions import Case, StoredDecision
from opportune.experiments.assign import hash_v2
from opportune.flows.accounts import account_logs, log_of
from opportune.flows.desk import horizon_start
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, UnitOfWork

EVERY = timedelta(days=1)
PRICE_CURSOR = "price"
PAGE = 500
#: Decisions that go into one solve at most; of more, a share is drawn by a hash of the decision id.
MOST_OFFERS = 20_000
#: From this part of a day on, its hours are taken for those of every day, and this share of the use for evenly spread.
WHOLE, EVEN = 0.9, 0.1
#: How many days a period has.
_DAYS = {"day": 1.0, "week": 7.0, "month": 30.4375}


def price(ledger: Ledger, playbook: Playbook, clock: Clock, owner: str, most: int = MOST_OFFERS) -> int:
    """Set the prices of all budgets when a day has passed since the last time; how many were set.

    Memory is bounded by `most` offers. A day without a decision leaves the prices as they are.
    """
    rules, now = rules_of(playbook).budgets, clock.now()
    if not rules:
        return 0
    names = [rule.name for rule in rules]
    with ledger.begin() as uow:
        known = uow.budgets.prices(names)
        if len(known) == len(names) and min(it.solved_at for it in known.values()) + EVERY > now:
            return 0
        if not uow.cursors.lease(PRICE_CURSOR, owner, now, now + timedelta(minutes=10)):
            return 0
        cursor = uow.cursors.get(PRICE_CURSOR) or ""
    offers, n_seen, first_at, cursor = _offers(cursor, now, most, ledger, playbook)
    prices: list[BudgetPrice] = []
    if offers:
        days = max((now - first_at) / EVERY, 1 / 24)
        share = len(offers) / n_seen
        solved = solve(offers, {rule.name: rule.limit * days * share / _DAYS[rule.spec.per] for rule in rules})
        prices = [
            BudgetPrice(
                budget=name,
                price_minor=solved.prices[name],
                shares=smoothed(solved.shares[name]) if days > WHOLE else (),
                solved_at=now,
            )
            for name in names
        ]
    with ledger.begin() as uow:
        uow.budgets.set_prices(prices)
        uow.cursors.put(PRICE_CURSOR, cursor)
    return len(prices)


def _offers(
    cursor: str, now: datetime, most: int, ledger: Ledger, playbook: Playbook
) -> tuple[list[Offer], int, datetime, str]:
    """Offers of the decisions of the last day after the cursor, how many decisions there were, the first one's instant,
    and the new cursor."""
    offers: list[Offer] = []
    n_seen, share, first_at = 0, 1.0, now
    while True:
        with ledger.read() as uow:
            rows, following = uow.decisions.after(cursor, PAGE)
            if not rows:
                return offers, n_seen, first_at, cursor
            cursor = following
            fresh = [row for row in rows if row.decided_at > now - EVERY]
            n_seen += len(fresh)
            first_at = min([first_at, *(row.decided_at for row in fresh)])
            drawn = [row for row in fresh if hash_v2("price", row.decision_id) < share]
            offers += [offer_of(case, playbook) for case in next_day(drawn, now, playbook, uow)]
        while len(offers) > most:
            share /= 2
            offers = offers[::2]


def next_day(rows: Sequence[StoredDecision], now: datetime, playbook: Playbook, uow: UnitOfWork) -> Iterator[Case]:
    """The cases of these decisions as if they came again a day later at the same hour, when what their customers have
    heard by now counts."""
    cases = [case_from_json(row.case) for row in rows]
    ids = {case.customer.customer_id for case in cases}
    heard = uow.sends.log(ids, horizon_start(now, playbook)) if ids else {}
    in_accounts = account_logs((case.customer for case in cases), now, playbook, uow)
    for case in cases:
        firing = case.ask.firing
        ask = case.ask if firing is None else replace(case.ask, firing=replace(firing, due_at=firing.due_at + EVERY))
        sends = tuple(heard.get(case.customer.customer_id, ()))
        account = tuple(log_of(case.customer, in_accounts))
        yield replace(case, ask=ask, now=case.now + EVERY, sends=sends, account_sends=account)


def smoothed(shares: Sequence[float]) -> tuple[float, ...]:
    """The plan of a day from what one day showed: an hour in which nothing came by chance is not planned empty."""
    return tuple((1.0 - EVEN) * share + EVEN / 24 for share in shares)
