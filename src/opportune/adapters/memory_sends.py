"""Sends with their history, and outcomes, in memory."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from opportune.adapters.memory_work import MemoryWork
from opportune.adapters.sql_rows import SEND, Stored, outcome_of, outcome_row, send_of, send_row
from opportune.domain.decisions import Reason
from opportune.domain.instants import from_us, to_us
from opportune.domain.messages import AccountSend, Outcome, Send, SendState, as_account_send

_STATE, _SEND_AT, _HANDED = SEND.index("state"), SEND.index("send_at"), SEND.index("handed_off_at")
_LEAVING = SEND.index("leaving_at")
_DELIVER, _IS_VIRTUAL = SEND.index("deliver"), SEND.index("is_virtual")


def _ordered(rows: Collection[Stored]) -> list[Send]:
    return [send_of(row) for row in sorted(rows, key=lambda row: (row[_SEND_AT], row[0]))]


class MemorySends:
    """`ports.Sends`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def log(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[Send]]:
        """Sends not released with `send_at` >= since, future bookings included, ordered by send_at."""

        def is_wanted(row: Stored) -> bool:
            return bool(row[_STATE] != SendState.RELEASED.value and row[_SEND_AT] >= to_us(since))

        return self._by_customer(customer_ids, is_wanted)

    def log_of_accounts(self, account_ids: Collection[str], since: datetime) -> dict[str, list[AccountSend]]:
        """As `log`, for everybody in each account, by account id; only sends that count."""
        rows, index = self._work.rows("sends"), self._work.rows("sends_of_account")
        found = {}
        for account_id in set(account_ids):
            sends = [send_of(rows[name]) for name in index.get(account_id, ())]
            counted = [s for s in sends if s.counts and s.state is not SendState.RELEASED and s.send_at >= since]
            if counted:
                counted.sort(key=lambda s: (s.send_at, s.message_id))
                found[account_id] = [as_account_send(s) for s in counted]
        return found

    def _by_customer(self, customer_ids: Collection[str], test: Callable[[Stored], bool]) -> dict[str, list[Send]]:
        rows, index = self._work.rows("sends"), self._work.rows("sends_of")
        mine = {it: [rows[name] for name in index.get(it, ()) if test(rows[name])] for it in set(customer_ids)}
        return {it: _ordered(found) for it, found in mine.items() if found}

    def reserve(self, sends: Sequence[Send]) -> None:
        """Insert, with a first line in the history. Raises ValueError when a message id is taken."""
        rows = self._work.change("sends")
        taken = {it.message_id for it in sends} & rows.keys()
        if taken or len({it.message_id for it in sends}) < len(sends):
            raise ValueError(f"message ids taken: {sorted(taken)}")
        for send in sends:
            rows[send.message_id] = send_row(send)
            self._work.link("sends_of", send.customer_id, [send.message_id])
            if send.account_id is not None:
                self._work.link("sends_of_account", send.account_id, [send.message_id])
            self._note(send.message_id, send.reserved_at, send.state.value, None)

    def get(self, message_ids: Collection[str]) -> dict[str, Send]:
        """Known sends by message id, released ones included."""
        rows = self._work.rows("sends")
        return {it: send_of(rows[it]) for it in set(message_ids) if it in rows}

    def move(self, message_id: str, state: SendState, at: datetime, reason: Reason | None = None) -> None:
        """Change state (`sent` also sets handed_off_at and send_at to `at`). Raises KeyError for an unknown message."""
        changed: dict[int, object] = {_STATE: state.value}
        if state is SendState.SENT:
            changed |= {_SEND_AT: to_us(at), _HANDED: to_us(at)}
        self._change(message_id, changed)
        self._note(message_id, at, state.value, None if reason is None else reason.value)

    def replace(self, message_id: str, send_at: datetime, at: datetime) -> None:
        """Place anew. Raises KeyError for an unknown message, ValueError when it is no longer reserved."""
        state = self._work.rows("sends")[message_id][_STATE]
        if state != SendState.RESERVED.value:
            raise ValueError(f"message {message_id} is {state}: only a reserved one can be placed anew")
        self._change(message_id, {_SEND_AT: to_us(send_at)})
        self._note(message_id, at, "replaced", None)

    def leave(self, message_ids: Collection[str], at: datetime) -> None:
        """Note that a courier is given these reserved sends at `at`: caps count them there from now on."""
        for message_id in message_ids:
            if self._work.rows("sends")[message_id][_STATE] == SendState.RESERVED.value:
                self._change(message_id, {_LEAVING: to_us(at)})

    def _change(self, message_id: str, changed: dict[int, object]) -> None:
        rows = self._work.change("sends")
        rows[message_id] = tuple(changed.get(n, value) for n, value in enumerate(rows[message_id]))

    def _note(self, message_id: str, at: datetime, what: str, reason: str | None) -> None:
        self._work.link("send_history", message_id, [(to_us(at), what, reason)])

    def due(self, before: datetime, limit: int, deliver: str | None = None) -> list[Send]:
        """Reserved, not virtual, `send_at` <= before, oldest first."""
        rows = [
            row
            for row in self._work.rows("sends").values()
            if row[_STATE] == SendState.RESERVED.value
            and not row[_IS_VIRTUAL]
            and row[_SEND_AT] <= to_us(before)
            and deliver in (None, row[_DELIVER])
        ]
        return _ordered(rows)[:limit]

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: the sends count for the other customer from now on."""
        rows, names = self._work.change("sends"), self._work.change("sends_of").pop(from_customer, ())
        for name in names:
            rows[name] = (name, into_customer, *rows[name][2:])
        self._work.link("sends_of", into_customer, names)

    def history(self, message_id: str) -> list[tuple[datetime, str, str | None]]:
        """(at, `reserved` | `sent` | `released` | `replaced`, reason), in the order it was written."""
        lines = self._work.rows("send_history").get(message_id, ())
        return [(from_us(us), what, reason) for us, what, reason in lines]


class MemoryOutcomes:
    """`ports.Outcomes`."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Append; a known outcome_id is ignored."""
        known = self._work.change("outcomes")
        for outcome in outcomes:
            if outcome.outcome_id not in known:
                known[outcome.outcome_id] = True
                self._work.link("outcomes_of", outcome.message_id, [outcome_row(outcome)])

    def of(self, message_ids: Collection[str]) -> dict[str, list[Outcome]]:
        """Outcomes by message, oldest first."""
        rows = self._work.rows("outcomes_of")
        return {
            it: sorted(map(outcome_of, rows[it]), key=lambda found: (found.at, found.outcome_id))
            for it in set(message_ids)
            if it in rows
        }
