"""Gaps filled from coarser means: what is seen stays, constants come back, a slope nearly so."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from posteriori.core.random import Rng
from posteriori.learn.pull_push import pull_push


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_seen_cells_stay_and_gaps_lie_between(rows: int, columns: int, share: float, seed: int) -> None:
    rng = Rng(seed)
    values = rng.normal((2, 1, rows, columns))
    seen = (rng.uniform((2, 1, rows, columns)) < share).double()
    filled = pull_push(values, seen)
    assert torch.equal(filled[seen > 0], values[seen > 0])
    for field, mask, found in zip(values, seen, filled, strict=True):
        known = field[mask > 0]
        low, high = (known.min(), known.max()) if len(known) else (torch.zeros(()), torch.zeros(()))
        assert low - 1e-9 <= found.min()
        assert found.max() <= high + 1e-9


def test_a_slope_is_nearly_kept() -> None:
    slope = torch.linspace(0, 1, 64).expand(64, 64)[None, None].double()
    seen = (Rng(1).uniform((1, 1, 64, 64)) < 0.3).double()
    assert (pull_push(slope, seen) - slope).abs().max() < 0.05
