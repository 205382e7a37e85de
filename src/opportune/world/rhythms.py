"""The hidden chains: what customers do day by day, and the exact filter that says what can be known from it.

A day's symbol is 0 nothing, 1 a visit, 2 a visit that leaves a cart, 3 an order. Mode and symbol follow
`P(y | class, mode, weekday)` and `P(next mode | class, mode, y)`; everything else in the world is drawn given the
symbols alone. Therefore the posterior over (class, mode) given all observable events is the forward recursion over
symbols (Rabiner 1989, eq. 19-20, with transitions that may depend on the symbol). docs/world.md has the derivation.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from opportune.world.config import WorldConfig
from opportune.world.draws import Draws, Floats, Ints, Stream
from opportune.world.people import People

NOTHING, BROWSE, CART, ORDER = 0, 1, 2, 3
IDLE, WARM, LAPSED = 0, 1, 2
N_SYMBOLS, N_MODES = 4, 3
_MAX_VISIT = 0.95

Bytes = npt.NDArray[np.uint8]


class Chain(NamedTuple):
    """Numbers of the chains. `start` (K, 3); `emit` (7, K, 3, 4), Monday first; `move` (K, 4, 3, 3) from -> to."""

    share: Floats
    start: Floats
    emit: Floats
    move: Floats


def chain_of(config: WorldConfig) -> Chain:
    """The matrices of the configured rhythms; rows sum to 1.

    Raises ValueError where customers may start in a mode that never visits: they enter the world by a visit.
    """
    k = len(config.rhythms)
    share = np.array([r.share for r in config.rhythms])
    start, emit, move = np.zeros((k, 3)), np.zeros((7, k, 3, 4)), np.zeros((k, 4, 3, 3))
    for i, r in enumerate(config.rhythms):
        start[i] = (1 - r.start_warm, r.start_warm, 0.0)
        if (r.start_warm < 1 and not r.idle.p_visit) or (r.start_warm > 0 and not r.warm.p_visit):
            raise ValueError(f"rhythm {r.name}: customers start in a mode with p_visit 0, so they could never arrive")
        for m, mood in enumerate((r.idle, r.warm, r.lapsed)):
            for day, factor in enumerate(config.weekday_factors):
                visit = min(_MAX_VISIT, mood.p_visit * factor)
                split = (1 - mood.p_cart - mood.p_order, mood.p_cart, mood.p_order)
                emit[day, i, m] = (1 - visit, *(visit * s for s in split))
        quiet = np.array(
            [
                [(1 - r.hazard) * (1 - r.warm_up), (1 - r.hazard) * r.warm_up, r.hazard],
                [(1 - r.hazard) * r.cool_down, (1 - r.hazard) * (1 - r.cool_down), r.hazard],
                [r.comeback, 0.0, 1 - r.comeback],
            ]
        )
        stay = 1 - r.hazard_after_order
        bought = np.array([stay * (1 - r.warm_after_order), stay * r.warm_after_order, r.hazard_after_order])
        move[i, :ORDER] = quiet
        move[i, ORDER] = np.stack([bought, bought, quiet[LAPSED]])
    return Chain(share / share.sum(), start, emit, move)


def weekday(day: int) -> int:
    """Weekday of a day counted from 1970-01-01 (a Thursday); Monday is 0."""
    return (day + 3) % 7


class Filter:
    """Exact probabilities over the joint states (class, mode), flattened to K x 3."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.n_states = len(chain.share) * N_MODES
        self.prior = (chain.share[:, None] * chain.start).reshape(-1)
        self._step = np.zeros((7, N_SYMBOLS, self.n_states, self.n_states))
        self._first = np.zeros_like(self._step)
        for day in range(7):
            for y in range(N_SYMBOLS):
                for i in range(len(chain.share)):
                    at = slice(i * N_MODES, (i + 1) * N_MODES)
                    seen = chain.emit[day, i, :, y]
                    self._step[day, y, at, at] = seen[:, None] * chain.move[i, y]
                    visits = 1 - chain.emit[day, i, :, NOTHING]
                    if y:  # people enter the world by a visit, so the first symbol is drawn given one
                        given = np.divide(seen, visits, out=np.zeros(N_MODES), where=visits > 0)
                        self._first[day, y, at, at] = given[:, None] * chain.move[i, y]

    def forward(self, belief: Floats, symbols: Bytes, day: int, first: npt.NDArray[np.bool_]) -> Floats:
        """Belief (n, K x 3) at the start of the next day, given that `day` (from 1970) showed `symbols` (n,).

        `first`: customers whose first day this is; their belief must be the prior.
        """
        out = np.empty_like(belief)
        for matrices, chosen in ((self._step, ~first), (self._first, first)):
            for y in range(N_SYMBOLS):
                rows = np.flatnonzero(chosen & (symbols == y))
                out[rows] = belief[rows] @ matrices[weekday(day), y]
        total: Floats = out.sum(axis=1, keepdims=True)
        return out / total

    def none_within(self, symbols: tuple[int, ...], day: int, horizon_days: int) -> Floats:
        """P(none of `symbols` on the days day ... day + horizon_days - 1 | state at the start of `day`), (K x 3,)."""
        keep = [y for y in range(N_SYMBOLS) if y not in symbols]
        v = np.ones(self.n_states)
        for h in reversed(range(horizon_days)):
            v = self._step[weekday(day + h), keep].sum(axis=0) @ v
        return v

    def step_any(self, day: int) -> Floats:
        """(K x 3, K x 3) transition of one day whatever its symbol."""
        step: Floats = self._step[weekday(day)].sum(axis=0)
        return step


class Baseline:
    """What customers do of their own accord: lazily extended day by day, the same whatever messages they get."""

    def __init__(self, people: People, config: WorldConfig, draws: Draws, first_day: int) -> None:
        self.people, self._config, self._draws, self.first_day = people, config, draws, first_day
        self.chain = chain_of(config)
        n = people.n
        warm = draws.uniform(Stream.START_MODE, people.who) < self.chain.start[people.rhythm, WARM]
        self._mode = np.where(warm, WARM, IDLE).astype(np.int64)
        self._cart_day = np.full(n, -1, np.int64)
        self.sign_up_day = np.full(n, np.iinfo(np.int64).max, np.int64)
        self._symbols: list[Bytes] = []
        self._modes: list[Bytes] = [self._mode.astype(np.uint8)]
        self._baskets: list[Ints] = []

    def symbols(self, day: int) -> Bytes:
        """(n,) symbols of a day of the world (0 is its first). Before they arrive customers show 0."""
        self._extend(day)
        return self._symbols[day]

    def modes(self, day: int) -> Bytes:
        """(n,) hidden modes at the start of a day of the world."""
        self._extend(day - 1)
        return self._modes[day]

    def basket(self, day: int) -> Ints:
        """(n,) the day on which what is ordered on `day` was put into the cart; meaningful where the symbol is 3."""
        self._extend(day)
        return self._baskets[day]

    def _extend(self, day: int) -> None:
        while len(self._symbols) <= day:
            self._one_day(len(self._symbols))

    def _one_day(self, day: int) -> None:
        p = self.people
        here = p.arrival_day <= day
        emit = self.chain.emit[weekday(self.first_day + day)][p.rhythm, self._mode]
        u = self._draws.uniform(Stream.SYMBOL, p.who, day)
        u = np.where(p.arrival_day == day, emit[:, 0] + u * (1 - emit[:, 0]), u)
        y = (u[:, None] >= np.cumsum(emit, axis=1)[:, :3]).sum(axis=1)
        y = np.where(here, y, NOTHING)
        move = self.chain.move[p.rhythm, y, self._mode]
        v = self._draws.uniform(Stream.MODE, p.who, day)
        after = (v[:, None] >= np.cumsum(move, axis=1)[:, :2]).sum(axis=1)
        self._mode = np.where(here, after, self._mode).astype(np.int64)
        self._modes.append(self._mode.astype(np.uint8))
        self._symbols.append(y.astype(np.uint8))
        is_open = (self._cart_day >= 0) & (day - self._cart_day <= self._config.cart_days)
        self._baskets.append(np.where(is_open, self._cart_day, day))
        self._cart_day = np.where(y == CART, day, np.where(y == ORDER, -1, self._cart_day))
        joins = (self._draws.uniform(Stream.SIGN_UP, p.who, day) < self._config.p_sign_up) | (y == ORDER)
        self.sign_up_day = np.where((y > 0) & joins, np.minimum(self.sign_up_day, day), self.sign_up_day)
