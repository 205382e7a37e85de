"""Sends with their history, and outcomes, in SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import bindparam, select, text, update

from opportune.adapters import sql_tables as tables
from opportune.adapters.sql_rows import DELIVERS, OUTCOME, SEND, SEND_STATES, outcome_of, outcome_row, send_of, send_row
from opportune.adapters.sql_work import SqlWork, among
from opportune.domain.decisions import Reason
from opportune.domain.instants import from_us, to_us
from opportune.domain.messages import AccountSend, Outcome, Send, SendState

_sends, _history, _outcomes = tables.sends.c, tables.send_history.c, tables.outcomes.c
_ACCOUNT_SEND = (
    "message_id", "account_id", "send_at", "reserved_at", "state", "deliver", "campaign", "channel", "topic", "purpose",
    "tags", "leaving_at",
)  # fmt: skip
_COLUMNS = [_sends[name] for name in SEND]

_LOG = (
    select(*_COLUMNS)
    .where(among(_sends.customer_id, "ids"), _sends.send_at >= bindparam("since"), text("state <> 'released'"))
    .order_by(_sends.send_at, _sends.message_id)
)
_LOG_OF_ACCOUNTS = (
    select(*(_sends[name] for name in _ACCOUNT_SEND))
    .where(
        among(_sends.account_id, "ids"),
        _sends.send_at >= bindparam("since"),
        text("state <> 'released'"),
        _sends.counts.is_(True),
    )
    .order_by(_sends.send_at, _sends.message_id)
)
_GET = select(*_COLUMNS).where(among(_sends.message_id, "ids"))
_STATE = select(_sends.state).where(_sends.message_id == bindparam("id"))
_MOVE = update(tables.sends).where(_sends.message_id == bindparam("id")).values(state=bindparam("now"))
_MOVE_SENT = (
    update(tables.sends)
    .where(_sends.message_id == bindparam("id"))
    .values(state=bindparam("now"), send_at=bindparam("when"), handed_off_at=bindparam("when"))
)
_REPLACE = (
    update(tables.sends)
    .where(_sends.message_id == bindparam("id"), _sends.state == SendState.RESERVED.value)
    .values(send_at=bindparam("when"))
)
_LEAVE = (
    update(tables.sends)
    .where(among(_sends.message_id, "ids"), _sends.state == SendState.RESERVED.value)
    .values(leaving_at=bindparam("when"))
)
# The state stands in the text so that the partial index serves it.
_DUE = (
    select(*_COLUMNS)
    .where(text("state = 'reserved'"), _sends.send_at <= bindparam("before"), _sends.is_virtual.is_(False))
    .order_by(_sends.send_at, _sends.message_id)
    .limit(bindparam("n"))
)
_DUE_BY = _DUE.where(_sends.deliver == bindparam("by"))
_REASSIGN = update(tables.sends).where(_sends.customer_id == bindparam("gone")).values(customer_id=bindparam("into"))
_HISTORY = (
    select(_history.at, _history.what, _history.reason)
    .where(_history.message_id == bindparam("id"))
    .order_by(_history.seq)
)
_LINE = ("message_id", "at", "what", "reason")


class SqlSends:
    """`ports.Sends`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def log(self, customer_ids: Collection[str], since: datetime) -> dict[str, list[Send]]:
        """Sends not released with `send_at` >= since, future bookings included, ordered by send_at."""
        found: dict[str, list[Send]] = {}
        if customer_ids:
            for row in self._work.fetch(_LOG, ids=customer_ids, since=to_us(since)):
                found.setdefault(row[1], []).append(send_of(row))
        return found

    def log_of_accounts(self, account_ids: Collection[str], since: datetime) -> dict[str, list[AccountSend]]:
        """As `log`, for everybody in each account, by account id; only sends that count."""
        found: dict[str, list[AccountSend]] = {}
        if account_ids:
            for row in self._work.fetch(_LOG_OF_ACCOUNTS, ids=account_ids, since=to_us(since)):
                found.setdefault(row[1], []).append(_account_send(row))
        return found

    def reserve(self, sends: Sequence[Send]) -> None:
        """Insert, with a first line in the history. Raises ValueError when a message id is taken."""
        self._work.insert(tables.sends, SEND, [send_row(it) for it in sends])
        self._note([(it.message_id, to_us(it.reserved_at), it.state.value, None) for it in sends])

    def get(self, message_ids: Collection[str]) -> dict[str, Send]:
        """Known sends by message id, released ones included."""
        return {row[0]: send_of(row) for row in self._work.fetch(_GET, ids=message_ids)} if message_ids else {}

    def move(self, message_id: str, state: SendState, at: datetime, reason: Reason | None = None) -> None:
        """Change state (`sent` also sets handed_off_at and send_at to `at`). Raises KeyError for an unknown message.

        From released to sent is allowed: a confirmation that came late is still the truth.
        """
        values: dict[str, Any] = {"id": message_id, "now": state.value}
        if state is SendState.SENT:
            touched = self._work.run(_MOVE_SENT, when=to_us(at), **values)
        else:
            touched = self._work.run(_MOVE, **values)
        if not touched:
            raise KeyError(message_id)
        self._note([(message_id, to_us(at), state.value, None if reason is None else reason.value)])

    def replace(self, message_id: str, send_at: datetime, at: datetime) -> None:
        """Place anew. Raises KeyError for an unknown message, ValueError when it is no longer reserved."""
        if not self._work.run(_REPLACE, id=message_id, when=to_us(send_at)):
            found = self._work.fetch(_STATE, id=message_id)
            if not found:
                raise KeyError(message_id)
            raise ValueError(f"message {message_id} is {found[0][0]}: only a reserved one can be placed anew")
        self._note([(message_id, to_us(at), "replaced", None)])

    def leave(self, message_ids: Collection[str], at: datetime) -> None:
        """Note that a courier is given these reserved sends at `at`: caps count them there from now on."""
        if message_ids:
            self._work.run(_LEAVE, ids=message_ids, when=to_us(at))

    def due(self, before: datetime, limit: int, deliver: str | None = None) -> list[Send]:
        """Reserved, not virtual, `send_at` <= before, oldest first."""
        if deliver is None:
            rows = self._work.fetch(_DUE, before=to_us(before), n=limit)
        else:
            rows = self._work.fetch(_DUE_BY, before=to_us(before), n=limit, by=str(deliver))
        return [send_of(row) for row in rows]

    def reassign(self, from_customer: str, into_customer: str) -> None:
        """Merge: the sends count for the other customer from now on."""
        self._work.run(_REASSIGN, gone=from_customer, into=into_customer)

    def history(self, message_id: str) -> list[tuple[datetime, str, str | None]]:
        """(at, `reserved` | `sent` | `released` | `replaced`, reason), in the order it was written."""
        return [(from_us(at), what, reason) for at, what, reason in self._work.fetch(_HISTORY, id=message_id)]

    def _note(self, lines: Sequence[tuple[Any, ...]]) -> None:
        self._work.insert(tables.send_history, _LINE, lines)


def _account_send(row: Sequence[Any]) -> AccountSend:
    state = SEND_STATES[row[4]]
    counts_at = row[2] if row[11] is None or state is SendState.SENT else max(row[2], row[11])
    return AccountSend(
        message_id=row[0],
        account_id=row[1],
        send_at=from_us(counts_at),
        reserved_at=from_us(row[3]),
        state=state,
        deliver=DELIVERS[row[5]],
        campaign=row[6],
        channel=row[7],
        topic=row[8],
        purpose=row[9],
        tags=() if row[10] == "[]" else tuple(orjson.loads(row[10])),
    )


_OF = (
    select(*(_outcomes[name] for name in OUTCOME))
    .where(among(_outcomes.message_id, "ids"))
    .order_by(_outcomes.at, _outcomes.outcome_id)
)


class SqlOutcomes:
    """`ports.Outcomes`."""

    def __init__(self, work: SqlWork) -> None:
        self._work = work

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Append; a known outcome_id is ignored."""
        rows = sorted((outcome_row(it) for it in outcomes), key=lambda row: str(row[0]))
        self._work.insert(tables.outcomes, OUTCOME, rows, "ON CONFLICT DO NOTHING")

    def of(self, message_ids: Collection[str]) -> dict[str, list[Outcome]]:
        """Outcomes by message, oldest first."""
        found: dict[str, list[Outcome]] = {}
        if message_ids:
            for row in self._work.fetch(_OF, ids=message_ids):
                found.setdefault(row[1], []).append(outcome_of(row))
        return found
