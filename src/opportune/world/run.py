"""One run of the world: from its first day on, day by day, answering the messages it is given."""

import copy
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from opportune.domain.instants import DAY_US, HOUR_US
from opportune.world.answers import CAUSED_SID, Answers, Batch
from opportune.world.draws import Draws, Ints, Stream
from opportune.world.envelopes import Letter
from opportune.world.people import People
from opportune.world.rhythms import Baseline
from opportune.world.rows import Code, Rows, join, rows_of
from opportune.world.sessions import day_of_sessions, zone_offsets_s
from opportune.world.shop import Shop
from opportune.world.standing import Standing

_REFUND_SLOT = 60
_REFUND_DAYS = (2, 20)
NEWSLETTER = "newsletter"


class Run:
    """Mutable: `advance` moves `now_us` forward; `standing` is where customers are; money counts from `count_from`."""

    def __init__(self, people: People, shop: Shop, baseline: Baseline, draws: Draws, history_days: int) -> None:
        self._people, self._shop, self._baseline, self._draws = people, shop, baseline, draws
        self._first_us = baseline.first_day * DAY_US
        self._history_days = history_days
        self.standing = Standing(people, baseline)
        self.answers = Answers(people, shop, draws, baseline.first_day)
        self.letters: list[Letter] = []
        self.now_us = self._first_us
        self.count_from = self._first_us
        self._planned = 0
        self._pool: list[Rows] = []
        zeros = np.zeros(people.n, np.int64)
        self.n_messages, self.n_before = zeros.copy(), zeros.copy()
        self.n_orders, self.n_unsubscribed = zeros.copy(), zeros.copy()
        self.revenue_minor, self.extra_minor, self.skipped_minor = zeros.copy(), zeros.copy(), zeros.copy()

    def fork(self) -> "Run":
        """An independent copy from here on."""
        other = copy.copy(self)
        other.standing = self.standing.fork()
        other.letters, other._pool = list(self.letters), list(self._pool)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(other, name, value.copy())
        return other

    def advance(self, until_us: int) -> Rows:
        """All rows in [now, until), in time order; now becomes `until`."""
        while self._first_us + self._planned * DAY_US < until_us:
            self._plan(self._planned)
            self._planned += 1
        waiting = join(self._pool)
        due = waiting.us < until_us
        self._pool = [waiting.take(~due)]
        rows = self._happen(waiting.take(due).in_order())
        self.now_us = max(self.now_us, until_us)
        return rows

    def deliver(self, letters: Sequence[tuple[int, int, Letter]]) -> None:
        """Messages handed over as (who, us, letter), in any order; each customer's own are answered in time order."""
        waves: dict[tuple[int, str, str], list[tuple[int, int, int]]] = defaultdict(list)
        nth: dict[int, int] = defaultdict(int)
        for who, us, letter in sorted(letters, key=lambda m: (m[1], m[0], m[2].message_id)):
            waves[nth[who], letter.campaign, letter.channel].append((who, us, len(self.letters)))
            nth[who] += 1
            self.letters.append(letter)
        for (_, campaign, channel), members in sorted(waves.items()):
            columns = np.array(members, np.int64)
            days = columns[:, 1] // DAY_US
            for day in np.unique(days).tolist():  # one answer call knows one day
                who, us, item = columns[days == day].T
                self._answer(campaign, channel, who, us, item)

    def _answer(self, campaign: str, channel: str, who: Ints, us: Ints, item: Ints) -> None:
        batch = Batch(campaign, channel, who, us, item, CAUSED_SID + self.n_messages[who])
        self._pool.append(self.answers.answer(batch, self._people.config.effect(campaign), self.standing))
        self.n_messages[who] += 1

    def _plan(self, day: int) -> None:
        rows = day_of_sessions(day, self._baseline, self._people, self._shop, self._draws)
        signs = rows.code == Code.IDENTIFY
        self.standing.signed_up_us[rows.who[signs]] = rows.us[signs]
        self._pool.append(rows)
        every = self._people.config.newsletter_every_days
        if every and day < self._history_days and day % every == every - 1:
            self._newsletter(day)

    def _newsletter(self, day: int) -> None:
        """The old system's mailing: everyone subscribed, each at an hour drawn evenly."""
        people, config = self._people, self._people.config
        first, last = config.newsletter_hours
        local = (first + (last + 1 - first) * self._draws.uniform(Stream.NEWSLETTER, people.who, day)) * 3600
        offset = zone_offsets_s(people, self._baseline.first_day + day)[people.zone]
        us = self._first_us + day * DAY_US + ((local - offset) % 86_400 * 1000).astype(np.int64) * 1000
        wants = self.standing.consents(people.who, "email", us, default_in=False) & people.has_address["email"]
        who = np.flatnonzero(wants)
        item = len(self.letters) + np.arange(len(who))
        self.letters += [Letter(f"nl-{day}-{w}", NEWSLETTER, "email") for w in who.tolist()]
        self._answer(NEWSLETTER, "email", who, us[who], item)

    def _happen(self, rows: Rows) -> Rows:
        rows = self._without_skipped(rows)
        self.standing.observe(rows)
        at = rows.code == Code.ORDER
        orders = rows.take(at)
        if len(orders.us):
            luck = self._draws.uniform(Stream.REFUND, orders.who, orders.sid)
            back = luck < self._people.config.p_refund
            first, last = _REFUND_DAYS
            lag = (first + (last - first) * luck[back] / self._people.config.p_refund) * 24
            sent = orders.take(back)
            us = sent.us + lag.astype(np.int64) * HOUR_US
            self._pool.append(rows_of(us, sent.who, Code.REFUND, sid=sent.sid, slot=_REFUND_SLOT, basket=sent.basket))
        self._count(rows, orders)
        return rows

    def _without_skipped(self, rows: Rows) -> Rows:
        """Drop the orders that messages spoiled; the visit and its cart stay."""
        standing = self.standing
        day = (rows.us - self._first_us) // DAY_US
        organic = (rows.code == Code.ORDER) & (rows.sid < CAUSED_SID)
        hit = organic & (day >= standing.skip_from[rows.who]) & (day <= standing.skip_until[rows.who])
        if not hit.any():
            return rows
        first = np.flatnonzero(hit)
        first = first[np.unique(rows.who[first], return_index=True)[1]]
        who = rows.who[first]
        standing.skip_from[who], standing.skip_until[who] = np.iinfo(np.int64).max, -1
        self.skipped_minor[who] += self._shop.value_minor(who, rows.basket[first])
        lost = dict(zip(who.tolist(), rows.sid[first].tolist(), strict=True))
        spoiled = np.isin(rows.code, [int(Code.ORDER), int(Code.INVITE)])
        spoiled &= np.array(
            [lost.get(w) == s for w, s in zip(rows.who.tolist(), rows.sid.tolist(), strict=True)], np.bool_
        )
        return rows.take(~spoiled)

    def _count(self, rows: Rows, orders: Rows) -> None:
        orders = orders.take(orders.us >= self.count_from)
        value = self._shop.value_minor(orders.who, orders.basket)
        np.add.at(self.revenue_minor, orders.who, value)
        np.add.at(self.n_orders, orders.who, 1)
        caused = orders.sid >= CAUSED_SID
        np.add.at(self.extra_minor, orders.who[caused], value[caused])
        left = (rows.code == Code.UNSUBSCRIBED) & (rows.us >= self.count_from)
        np.add.at(self.n_unsubscribed, rows.who[left], 1)

    def start_counting(self) -> None:
        """Set every account to zero, from now on."""
        self.count_from = self.now_us
        self.n_before = self.n_messages.copy()
        for column in (self.n_orders, self.n_unsubscribed, self.revenue_minor, self.extra_minor, self.skipped_minor):
            column[:] = 0
