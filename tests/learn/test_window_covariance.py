"""Covariances of neighbouring layers: valid laws, what is drawn is found again, gaps, and absent layers."""

from __future__ import annotations

import pytest
import torch

from posteriori.core.errors import ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.place_kernel import positions
from posteriori.learn.scale_covariance import Correlations, Scales
from posteriori.learn.window_covariance import Window

SPACE = Space("t", {"y": 6, "x": 7}, "K")
AT = positions(SPACE, torch.arange(42))
ROOT = torch.linalg.cholesky(torch.exp(-torch.cdist(AT, AT) / 3) + 1e-9 * torch.eye(42))
WIND = 1
"""Columns that a field is carried along in a step."""


def drifting(n: int, seed: int = 0) -> torch.Tensor:
    """Fields carried eastwards by one column a step, with fresh weather from the west."""
    noise = Rng(seed).normal((n, 42)) @ ROOT.mT
    fields = [SPACE.unflat(noise[0])]
    for fresh in noise[1:]:
        carried = torch.roll(fields[-1], WIND, -1)
        carried[:, :WIND] = SPACE.unflat(fresh)[:, :WIND]
        fields.append(0.9 * carried + 0.44 * SPACE.unflat(fresh))
    return torch.stack(fields)


def window(history: torch.Tensor, reach: int) -> Window:
    steps = torch.arange(len(history))
    return Window.of(Correlations.of(SPACE, history, Rng(0)), history, steps, reach)


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("scales", [Scales(), Scales(common=0.0), Scales(leading=0), Scales(common=1.0, nugget=0.0)])
def test_every_make_up_is_a_covariance_with_the_field_alone_on_its_diagonal(scales: Scales, reach: int) -> None:
    found = window(drifting(80), reach)
    k = found.matrix(scales, reach)
    torch.testing.assert_close(k, k.mT, rtol=0, atol=1e-12)
    assert float(torch.linalg.eigvalsh(k)[0]) > -1e-9
    for layer in range(2 * reach + 1):
        block = slice(42 * layer, 42 * (layer + 1))
        torch.testing.assert_close(k[block, block], found.learnt.matrix(scales), rtol=0, atol=1e-12)


def test_without_tapers_the_window_has_the_sample_covariances_of_the_history() -> None:
    """All patterns leading and no taper: K_τ = Σ z(t) z(t+τ)ᵀ / n, rows now, columns later."""
    history = drifting(300)
    k = window(history, 1).matrix(Scales(common=0.0, leading=42, leading_length=1e6, nugget=0.0), 1)
    x = SPACE.flat(history)
    a = x - x.mean(0)
    torch.testing.assert_close(k[:42, 42:84], a[:-1].mT @ a[1:] / 300, rtol=0, atol=1e-9)
    torch.testing.assert_close(k[:42, 84:], a[:-2].mT @ a[2:] / 300, rtol=0, atol=1e-9)


def test_neighbours_foretell_what_the_wind_brings() -> None:
    """A hidden half, seen in no layer: errors on 200 later fields are smaller with neighbours (by 5 % and more)."""
    found = window(drifting(400), 1)
    later = SPACE.flat(drifting(400, seed=1)[200:])
    hidden = (AT[:, 1] >= 2) & (AT[:, 1] < 4)
    seen, rest = (~hidden).nonzero()[:, 0], hidden.nonzero()[:, 0]

    def error(reach: int) -> float:
        k, layers = found.matrix(Scales(), reach), 2 * reach + 1
        at = torch.cat([seen + 42 * layer for layer in range(layers)])
        gain = torch.linalg.solve(k[at][:, at], k[at][:, rest + 42 * reach])
        mean = found.learnt.mean
        stack = [later[1 + lag : len(later) - 1 + lag] - mean for lag in range(-reach, reach + 1)]
        told = torch.cat([part[:, seen] for part in stack], 1) @ gain
        return float((told - stack[reach][:, rest]).square().mean())

    assert error(1) < 0.95 * error(0)


def test_a_history_with_gaps_gives_a_covariance_too() -> None:
    history = drifting(60)
    gappy = torch.where(Rng(1).uniform(history.shape) < 0.4, torch.nan, history)
    gappy[:, 0, 0] = torch.nan
    found = window(gappy, 1)
    assert not found.whole
    k = found.matrix(Scales(common=0.02), 1)
    assert float(torch.linalg.eigvalsh(k)[0]) > 0
    prior = found.prior(Scales(), 1)
    assert prior.space.dims == ("layer", "y", "x")
    assert prior.space.mask is not None
    assert int((~prior.space.mask).sum()) == 3


@pytest.mark.parametrize("clouds", [False, True])
def test_gaps_of_the_history_leave_its_lagged_correlations_as_they_are(clouds: bool) -> None:
    """Gaps at random, and ones through which cells far apart are never seen in one layer: below twice the largest
    error of seeds 0 … 3."""
    history = drifting(400)
    gaps = Rng(1).uniform(history.shape) < 0.4
    if clouds:
        odd = torch.arange(400)[:, None, None] % 2 == 1
        gaps = torch.where(odd, torch.arange(7) > 3, torch.arange(7) < 3).expand(400, 6, 7)
    whole = window(history, 1)
    found = window(torch.where(gaps, torch.nan, history), 1)
    seen = SPACE.flat(~gaps).double()
    enough = seen[:-1].mT @ seen[1:] >= 60
    error = (found.across[0] - whole.across[0])[enough]
    assert float(error.abs().max()) < 0.4
    assert float(error.square().mean().sqrt()) < 0.1
    assert float(found.across[0].abs().max()) < 1.5


def test_clouds_in_the_history_do_not_forbid_neighbours() -> None:
    history = drifting(400)
    gappy = history.clone()
    for layer in range(400):
        gappy[layer, :, layer // 3 % 5 : layer // 3 % 5 + 3] = torch.nan
    scales = Scales(common=0.1, nugget=1e-3)
    k, whole = (window(fields, 1).matrix(scales, 1) for fields in (gappy, history))
    assert float(torch.linalg.eigvalsh(k)[0]) > 0
    assert float((k * whole)[:42, 42:84].sum()) > 0.4 * float(whole[:42, 42:84].square().sum())


def test_steps_that_are_missing_count_for_no_pair() -> None:
    history = drifting(100)
    keep = torch.tensor([at for at in range(100) if at % 2 == 0])
    even = history[keep]
    found = Window.of(Correlations.of(SPACE, even, Rng(0)), even, keep, 1)
    assert float(found.across[0].abs().max()) == 0
    assert float(found.across[1].abs().max()) > 0.1


def test_steps_must_be_one_for_each_field() -> None:
    history = drifting(10)
    learnt = Correlations.of(SPACE, history, Rng(0))
    for steps in (torch.arange(9), torch.zeros(10, dtype=torch.long)):
        with pytest.raises(ShapeError, match="steps"):
            Window.of(learnt, history, steps, 1)
