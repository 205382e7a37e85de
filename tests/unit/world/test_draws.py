"""Draws are addressed, not counted, and behave like uniform numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.world import WorldConfig
from opportune.world.draws import Draws, Stream
from opportune.world.rhythms import chain_of


@given(st.integers(0, 2**32), st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.integers(0, 10_000))
def test_a_draw_depends_on_its_address_only(seed: int, who: list[int], day: int) -> None:
    """Alone or among others, in any order, the same address gives the same number in [0, 1)."""
    draws = Draws(seed)
    together = draws.uniform(Stream.OPEN, np.array(who), day, 3)
    alone = [draws.uniform(Stream.OPEN, np.array([w]), np.array([day]), np.array([3]))[0] for w in who]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < 1)).all()


@pytest.mark.parametrize("other", ["next customer", "next day", "next j", "next stream", "next seed"])
def test_neighbouring_draws_are_independent(other: str) -> None:
    """Pairs of draws whose addresses differ by one fill the unit square evenly (chi-square over 10 x 10 cells)."""
    who, draws = np.arange(100_000), Draws(1)
    first = draws.uniform(Stream.ORDER, who, 5, 2)
    second = {
        "next customer": lambda: draws.uniform(Stream.ORDER, who + 100_001, 5, 2),
        "next day": lambda: draws.uniform(Stream.ORDER, who, 6, 2),
        "next j": lambda: draws.uniform(Stream.ORDER, who, 5, 3),
        "next stream": lambda: draws.uniform(Stream.DELAY, who, 5, 2),
        "next seed": lambda: Draws(2).uniform(Stream.ORDER, who, 5, 2),
    }[other]()
    cells = np.histogram2d(first, second, bins=10, range=[[0, 1], [0, 1]])[0]
    chi2 = ((cells - 1_000) ** 2 / 1_000).sum()
    assert 45 < chi2 < 180  # 99 degrees of freedom: mean 99, standard deviation 14


def test_choices_follow_their_shares() -> None:
    """An index is chosen as often as its share says, scaled to sum 1."""
    found = (
        np.bincount(Draws(3).choice(np.array([1.0, 0.0, 3.0]), Stream.ZONE, np.arange(40_000)), minlength=3) / 40_000
    )
    assert found == pytest.approx([0.25, 0.0, 0.75], abs=0.01)


def test_the_default_chains_are_distributions() -> None:
    """Every row of every matrix of the default world sums to 1, without negative entries."""
    chain = chain_of(WorldConfig())
    for matrix in chain:
        assert (matrix >= 0).all()
        assert matrix.sum(axis=-1) == pytest.approx(np.ones(matrix.shape[:-1]))
