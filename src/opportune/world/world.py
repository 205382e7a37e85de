"""The sample world: one seeded, documented source of customers and events whose truth is known (docs/world.md)."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from opportune.domain.customers import PROFILING, Consent, ConsentState
from opportune.domain.events import Event, Origin
from opportune.domain.instants import DAY_US, format_instant, from_us, to_us
from opportune.world.answers import Batch
from opportune.world.config import WorldConfig
from opportune.world.draws import Bools, Draws, Floats, Ints
from opportune.world.envelopes import Envelope, Letter, Writer, events_of
from opportune.world.people import People
from opportune.world.referee import Delivery, Referee, Rules, Violation
from opportune.world.rhythms import Baseline
from opportune.world.rows import Code, Rows
from opportune.world.run import Run
from opportune.world.shop import Shop
from opportune.world.standing import ALWAYS
from opportune.world.truth import Truth

if TYPE_CHECKING:
    import pandas as pd


class World:
    """Customers, their events over `config.n_days` whole UTC days and the part of a day up to `end`, and the truth.

    Same (config, seed, end), same world. Open loop: `events`, `domain_events`, `jsonl`, `consents`, `truth`.
    Closed loop: `step` goes on from `end`, answering messages; `accounts` and `violations` tell what came of it;
    `fork` starts another policy from the same moment. Raises ValueError when `end` is naive.
    """

    def __init__(
        self, config: WorldConfig | None = None, seed: int = 0, end: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    ) -> None:
        self.config = config or WorldConfig()
        self.seed, self.end = seed, end.astimezone(UTC)
        self._end_us = to_us(end) // 1000 * 1000
        self._first_day = self._end_us // DAY_US - self.config.n_days
        draws = Draws(seed)
        self._draws = draws
        self._people = People(self.config, draws)
        self._shop = Shop(self._people, draws)
        self._baseline = Baseline(self._people, self.config, draws, self._first_day)
        self._truth = Truth(self._people, self._baseline)
        self._run: Run | None = None
        self._referee = Referee(Rules())

    @property
    def start(self) -> datetime:
        """Midnight UTC of the first day."""
        return from_us(self._first_day * DAY_US)

    @property
    def now(self) -> datetime:
        """Where the closed loop is; `end` before its first step."""
        return self.end if self._run is None else from_us(self._run.now_us)

    # -- open loop -------------------------------------------------------------------------------------------------

    def events(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Envelope]:
        """The history in [since, until) (default: start to `end`) as Segment batch items in time order."""
        for rows, writer in self._history(since, until):
            yield from writer.envelopes(rows)

    def domain_events(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        origin: Origin = Origin.IMPORT,
        ingested_at: datetime | None = None,
    ) -> Iterator[Event]:
        """The same history as domain events, known when they happened; no parsing needed."""
        for rows, writer in self._history(since, until):
            yield from events_of(rows, writer.envelopes(rows), origin, ingested_at)

    def jsonl(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[bytes]:
        """The same history as JSON lines, one day a chunk."""
        import orjson

        for rows, writer in self._history(since, until):
            yield b"".join(orjson.dumps(e, option=orjson.OPT_APPEND_NEWLINE) for e in writer.envelopes(rows))

    def write_jsonl(self, path: Path) -> int:
        """Write the history to a file; returns the number of events. Raises OSError when it cannot."""
        n = 0
        with Path(path).open("wb") as file:
            for chunk in self.jsonl():
                file.write(chunk)
                n += chunk.count(b"\n")
        return n

    def consents(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Consent]:
        """What customers said at sign-up in [since, until), per channel and for profiling, as ledger lines.

        Unsubscribes come as `Unsubscribed` events instead.
        """
        for rows, writer in self._history(since, until):
            for envelope in writer.envelopes(rows.take(rows.code == Code.IDENTIFY)):
                yield from consents_of(envelope)

    def _history(self, since: datetime | None, until: datetime | None) -> Iterator[tuple[Rows, Writer]]:
        last = self._end_us if until is None else to_us(until)
        if last > self._end_us:
            raise ValueError(f"history ends at {format_instant(self.end)}: the loop (`step`) goes on from there")
        run = self._new_run()
        writer = self._writer(run)
        from_us_ = run.now_us if since is None else to_us(since)
        while run.now_us < last:
            rows = run.advance(min(run.now_us + DAY_US, last))
            rows = rows.take(rows.us >= from_us_)
            if len(rows.us):
                yield rows, writer

    def _new_run(self) -> Run:
        return Run(self._people, self._shop, self._baseline, self._draws, self.config.n_days)

    def _writer(self, run: Run) -> Writer:
        return Writer(self._people, self._shop, f"w{self.seed}", run.letters, run.standing.signed_up_us)

    # -- truth -----------------------------------------------------------------------------------------------------

    def truth(
        self, customers: Sequence[str] | None = None, at: datetime | None = None, horizon_days: int = 30
    ) -> "pd.DataFrame":
        """What is true at `at`, one row per customer seen before it (or per given id, in that order).

        `p_purchase`: P(at least one order in [at, at + horizon) without messages | everything observable before `at`),
        `p_churn`: P(no visit, that is no `Page Viewed`, in it | same); both exact, not estimates. `p_lapsed`: posterior
        of having lapsed. `*_hidden`: the same given the hidden class and mode, which no model can see.
        `best_hour_local` 0-23, `zone` the true IANA zone, `is_zone_told` whether the trait exists, `rhythm`,
        `is_lapsed`, `churn_hazard` (daily), `hour_type`, `category` (main taste), `is_profiled`.
        `customer_id` is canonical as of `at`: `anon:...` before sign-up.
        `at` must be a midnight UTC (default: the last one at or before `end`); ValueError otherwise, or when a given
        customer was not seen yet; KeyError for a stranger.
        """
        day = self._day_of(at)
        who = self._who(customers, day)
        return self._truth.frame(who, self._names(who, day), day, horizon_days)

    def realised(
        self, customers: Sequence[str] | None = None, at: datetime | None = None, horizon_days: int = 30
    ) -> "pd.DataFrame":
        """What comes true without messages in [at, at + horizon): `has_purchase`, `has_churned`, as `truth` rows."""
        import pandas as pd

        day = self._day_of(at)
        who = self._who(customers, day)
        orders, visits = self._truth.outcomes(who, day, horizon_days)
        names = self._names(who, day)
        return pd.DataFrame({"customer_id": names, "has_purchase": orders > 0, "has_churned": visits == 0})

    def _day_of(self, at: datetime | None) -> int:
        us = self._end_us // DAY_US * DAY_US if at is None else to_us(at)
        if us % DAY_US or us < self._first_day * DAY_US:
            raise ValueError(f"at {at} is not a midnight UTC from {format_instant(self.start)} on")
        return us // DAY_US - self._first_day

    def _who(self, customers: Sequence[str] | None, day: int) -> Ints:
        if customers is None:
            return np.flatnonzero(self._people.arrival_day < day)
        who = np.array([self._people.who_is(c) for c in customers], np.int64)
        unseen = [c for c, w in zip(customers, who, strict=True) if self._people.arrival_day[w] >= day]
        if unseen:
            raise ValueError(f"not seen before that instant: {', '.join(unseen[:5])}")
        return who

    def _names(self, who: Ints, day: int) -> list[str]:
        self._baseline.symbols(max(day - 1, 0))
        known = (self._baseline.sign_up_day[who] < day).tolist()
        people = self._people
        return [
            people.user_id(w) if k else f"anon:{people.anonymous_id(w)}"
            for w, k in zip(who.tolist(), known, strict=True)
        ]

    # -- closed loop -----------------------------------------------------------------------------------------------

    def hold_to(self, rules: Rules) -> None:
        """Count violations of these rules from now on; earlier counts are dropped."""
        self._referee = Referee(rules)

    def step(self, until: datetime, messages: Iterable[Delivery] = ()) -> list[Envelope]:
        """Go on to `until`: messages delivered in [now, until) are answered; returns the events of [now, until).

        Answers may come later than `until` and are returned then. Organic behaviour is the same whatever is sent.
        Raises ValueError when `until` is not after now or a message lies outside of [now, until), KeyError for a
        stranger.
        """
        run = self._loop()
        until_us = to_us(until) // 1000 * 1000
        if until_us <= run.now_us:
            raise ValueError(f"until {format_instant(until)} is not after now, {format_instant(self.now)}")
        handed = []
        for m in sorted(messages, key=lambda m: (m.at, m.message_id)):
            us = to_us(m.at) // 1000 * 1000
            if not run.now_us <= us < until_us:
                raise ValueError(f"message {m.message_id} at {format_instant(m.at)} is not within this step")
            handed.append((self._people.who_is(m.customer_id), us, m))
        self._judge(handed, run)
        run.deliver([(who, us, Letter(m.message_id, m.campaign, m.channel)) for who, us, m in handed])
        return list(self._writer(run).envelopes(run.advance(until_us)))

    def fork(self) -> "World":
        """The same world at the same moment, to be taken on by another policy: same customers, same luck."""
        other = copy.copy(self)
        other._run = self._loop().fork()
        other._referee = self._referee.fork()
        return other

    @property
    def violations(self) -> list[Violation]:
        """Broken rules so far, as the world saw them."""
        return list(self._referee.violations)

    def accounts(self) -> "pd.DataFrame":
        """What the loop brought so far, one row per customer of the world (arrived or not).

        `n_messages` handed over, `n_orders`, `revenue_minor` (gross), `extra_minor` of orders that messages caused,
        `skipped_minor` of organic orders they spoiled, `incremental_minor` = extra - skipped, `n_unsubscribes`.
        """
        import pandas as pd

        run = self._loop()
        return pd.DataFrame(
            {
                "customer_id": [self._people.user_id(w) for w in range(self._people.n)],
                "n_messages": run.n_messages - run.n_before,
                "n_orders": run.n_orders,
                "revenue_minor": run.revenue_minor,
                "extra_minor": run.extra_minor,
                "skipped_minor": run.skipped_minor,
                "incremental_minor": run.extra_minor - run.skipped_minor,
                "n_unsubscribes": run.n_unsubscribed,
            }
        )

    def incremental(
        self, customers: Sequence[str], campaign: str, channel: str, at: Sequence[datetime]
    ) -> dict[str, Floats]:
        """For an oracle: what one message would truly do, arrays (customers, instants), each `at` not before now.

        `p_order`: signed change of the expected number of orders; `value_minor`: of gross revenue; `p_unsubscribe`;
        `p_open`. Given the hidden class and mode at the start of today (UTC) and everything that has happened;
        instants after today assume that nothing else happens until then. Raises ValueError, KeyError.
        """
        run, effect = self._loop(), self.config.effect(campaign)
        today = run.now_us // DAY_US - self._first_day
        one = np.array([self._people.who_is(c) for c in customers], np.int64)
        instants = np.array([to_us(instant) for instant in at], np.int64)
        if (instants < run.now_us).any():
            raise ValueError(f"{format_instant(min(at))} is before now, {format_instant(self.now)}")
        who, us = np.repeat(one, len(at)), np.tile(instants, len(one))
        risk = run.answers.risk(Batch(campaign, channel, who, us, us, us), effect, run.standing, today)
        mean = self._shop.mean_value_minor()[who]
        lost = np.repeat(self._truth.p_order_after(one, today, effect.skip_days), len(at))
        baskets = np.maximum(run.standing.cart_basket[one], 0)
        held = np.repeat(self._shop.value_minor(one, baskets), len(at))
        worth = np.where(run.standing.open_cart(who, us), held, mean)
        found = {
            "p_order": risk.p_extra - risk.p_skip * lost,
            "value_minor": risk.p_extra * worth - risk.p_skip * lost * mean,
            "p_unsubscribe": risk.p_unsubscribe * (1 - risk.p_extra),
            "p_open": risk.p_open,
        }
        return {name: values.reshape(len(one), len(at)) for name, values in found.items()}

    def quiet(self, customers: Sequence[str], channel: str, at: Sequence[datetime]) -> Bools:
        """(customers, instants): whether marketing on the channel would fall into quiet hours in the true zone."""
        names = [self._zone(self._people.who_is(c)) for c in customers]
        known = {zone: [self._referee.is_quiet(channel, instant, zone) for instant in at] for zone in set(names)}
        return np.array([known[zone] for zone in names], np.bool_).reshape(len(names), len(at))

    def reachable(self, channel: str) -> list[str]:
        """Ids of customers signed up by now who have a working address on the channel and true consent to marketing."""
        run = self._loop()
        who, us = self._people.who, np.full(self._people.n, run.now_us)
        default = self._referee.rules.is_in_by_default(channel)
        fine = run.standing.reachable(who, channel, us) & run.standing.consents(who, channel, us, default)
        return [self._people.user_id(w) for w in np.flatnonzero(fine).tolist()]

    def _loop(self) -> Run:
        if self._run is None:
            run = self._new_run()
            while run.now_us < self._end_us:
                run.advance(min(run.now_us + DAY_US, self._end_us))
            run.start_counting()
            self._run = run
        return self._run

    def _judge(self, handed: Sequence[tuple[int, int, Delivery]], run: Run) -> None:
        for who, us, m in handed:
            self._referee.judge(who, m, self._zone(who), self._consents(who, us, m.channel, run))

    def _zone(self, who: int) -> str:
        return str(self._people.zone_names[self._people.zone[who]])

    def _consents(self, who: int, us: int, channel: str, run: Run) -> bool:
        one, when = np.array([who], np.int64), np.array([us], np.int64)
        return bool(run.standing.consents(one, channel, when, self._referee.rules.is_in_by_default(channel))[0])

    def would_break(self, message: Delivery) -> list[str]:
        """The rules that this message would break after all delivered so far; for an oracle. Raises KeyError."""
        who, run = self._people.who_is(message.customer_id), self._loop()
        has_consent = self._consents(who, to_us(message.at), message.channel, run)
        return [rule for rule, _ in self._referee.verdict(who, message, self._zone(who), has_consent)]

    @property
    def n_signed_up(self) -> int:
        """Customers with a userId by now."""
        return int((self._loop().standing.signed_up_us < ALWAYS).sum())


def consents_of(envelope: Envelope) -> Iterator[Consent]:
    """The consent lines that a sign-up envelope of this world carries in `context.consent`; none for others."""
    said = envelope.get("context", {}).get("consent", {}).get("categoryPreferences", {})
    at = datetime.fromisoformat(envelope["timestamp"])
    for channel, is_in in said.items():
        yield Consent(
            consent_id=f"{envelope['messageId']}:{channel}",
            customer_id=envelope["userId"],
            channel=PROFILING if channel == "profiling" else channel,
            topic="*",
            state=ConsentState.IN if is_in else ConsentState.OUT,
            at=at,
            source="sign_up",
            recorded_at=at,
        )
