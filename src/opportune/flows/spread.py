"""News of the catalogue spreads: a change becomes one firing for each customer who is interested, page by page.

A page is one transaction: its timers, and how far the change was told. A worker that dies loses nothing (its claim runs
out) and doubles nothing (the next goes on where the ledger says).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from opportune.domain.identity import customer_id_of
from opportune.domain.items import Item, ItemChange
from opportune.domain.timers import Timer
from opportune.flows.note import PAGE as NOTED_AT_ONCE
from opportune.flows.note import note_interest
from opportune.flows.update_items import NEWS
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Interest, Ledger, LockLost, OutboxItem, UnitOfWork
from opportune.triggers.interest import is_interested, signals_of, since
from opportune.triggers.news import payload_of, rules_for, subject_of

LEASE = timedelta(seconds=60)
PAGE = 500
ATTEMPTS = 5


def spread(ledger: Ledger, playbook: Playbook, clock: Clock, limit: int = PAGE) -> int:
    """Tell one page of one change, once all interest is noted; returns 1 when something was done, 0 without news.

    Raises Unavailable, LockLost: try again.
    """
    now = clock.now()
    with ledger.read() as uow:
        first = uow.outbox.next_at(NEWS, now)
    if first is None or first > now:
        return 0
    if note_interest(ledger, playbook) >= NOTED_AT_ONCE:
        return 1  # a long history is read between other duties
    with ledger.begin() as uow:
        items = uow.outbox.claim(NEWS, now, 1, now + LEASE)
    if items:
        _tell(items[0], ledger, playbook, now, limit)
    return len(items)


def _tell(claimed: OutboxItem, ledger: Ledger, playbook: Playbook, now: datetime, limit: int) -> None:
    for _ in range(ATTEMPTS):
        with ledger.read() as uow:
            change = uow.items.change(claimed.key)
            told = uow.items.cursor(claimed.key)
            item = uow.items.get([change.item_id]).get(change.item_id) if change else None
            rules = rules_for(change, playbook, now) if change else []
            rule, after = _place(told, rules)
            page: list[str] = []
            if change is not None and rule is not None:
                page = _page(change, rule, after, playbook, limit, uow)
            whose = _customers(page, uow)
        if change is None or item is None or told is None or rule is None:
            with ledger.begin() as uow:
                uow.outbox.done([claimed])
            return
        with ledger.begin(sorted(set(whose.values()))) as uow:
            if _customers(page, uow) != whose:
                continue  # merged in between: once more, holding the lock of who it really is
            if not uow.items.move_cursor(change.change_id, told, _next_place(rule, page, limit, rules)):
                return  # somebody else told this page
            uow.timers.arm(_timers(change, item, rule, page, whose, playbook, now, uow))
            uow.outbox.retry([claimed], now)
        return
    raise LockLost("the identities of these customers keep changing: try again")


def _place(told: str | None, rules: Sequence[str]) -> tuple[str | None, str]:
    """(trigger to go on with, last id key told); null: everybody was told."""
    rule, _, after = (told or "").partition("\n")
    left = [name for name in rules if name >= rule]
    if not left:
        return None, ""
    return left[0], after if left[0] == rule else ""


def _next_place(rule: str, page: Sequence[str], limit: int, rules: Sequence[str]) -> str:
    if len(page) == limit:
        return f"{rule}\n{page[-1]}"
    following = [name for name in rules if name > rule]
    return f"{following[0]}\n" if following else "~"  # `~` sorts behind every name


def _page(change: ItemChange, rule: str, after: str, playbook: Playbook, limit: int, uow: UnitOfWork) -> list[str]:
    """Id keys that may be interested, the next after the last told."""
    trigger = playbook.spec.triggers[rule]
    subject = subject_of(change, trigger)
    if subject is None:
        return []
    names = sorted({signal.name for signal in signals_of(trigger)})
    return uow.interests.page(subject, names, since(trigger, change.at), after, limit)


def _customers(id_keys: Sequence[str], uow: UnitOfWork) -> dict[str, str]:
    known = uow.identities.canonical(id_keys) if id_keys else {}
    return {key: known.get(key) or customer_id_of(key) for key in id_keys}


def _timers(
    change: ItemChange,
    item: Item,
    rule: str,
    page: Sequence[str],
    whose: Mapping[str, str],
    playbook: Playbook,
    now: datetime,
    uow: UnitOfWork,
) -> list[Timer]:
    """One timer for each customer of the page who is interested and was not told yet."""
    trigger = playbook.spec.triggers[rule]
    subject, ids, due_at = subject_of(change, trigger), sorted(set(whose.values())), now + trigger.delay
    if subject is None or not ids:
        return []
    theirs = _interest_of(ids, subject, whose, uow)
    pending = uow.timers.of(ids)
    past = uow.timers.past(ids, change.recorded_at)
    cooling = uow.timers.fired(ids, due_at - trigger.cooldown) if trigger.cooldown else {}
    payload = payload_of(change, item, trigger)
    timers: dict[str, Timer] = {}
    for id_key in page:
        customer_id = whose[id_key]
        told = (it.set_by for it in (*pending.get(customer_id, ()), *past.get(customer_id, ())) if it.rule == rule)
        if customer_id in timers or any(by.startswith(f"item:{change.change_id}:") for by in told):
            continue
        if any((r, k) == (rule, change.item_id) for r, k, _ in cooling.get(customer_id, ())):
            continue
        if is_interested(theirs[customer_id], trigger, change.at):
            timers[customer_id] = Timer(
                rule=rule,
                customer_id=customer_id,
                key=change.item_id,
                due_at=due_at,
                set_at=change.at,
                set_by=f"item:{change.change_id}:{id_key}",
                expires_at=due_at + trigger.expires_after,
                payload=payload,
            )
    return list(timers.values())


def _interest_of(
    ids: Sequence[str], subject: str, whose: Mapping[str, str], uow: UnitOfWork
) -> dict[str, list[Interest]]:
    """What each customer did with the subject under any of their identities."""
    owner = {key: customer for customer, keys in uow.identities.keys_of(ids).items() for key in keys}
    owner.update(whose)
    found: dict[str, list[Interest]] = {customer: [] for customer in ids}
    for row in uow.interests.of(subject, sorted(owner)):
        found[owner[row.id_key]].append(row)
    return found


def spread_all(ledger: Ledger, playbook: Playbook, clock: Clock, limit: int = PAGE) -> int:
    """Pages until there is no news; returns how many."""
    n = 0
    while spread(ledger, playbook, clock, limit):
        n += 1
    return n
