"""Covariances by scales and the kernel of places: valid laws, found again, robust to gaps."""

from __future__ import annotations

import math

import pytest
import torch

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.place_kernel import PlaceKernel, character, positions
from posteriori.learn.scale_covariance import Correlations, Scales

SPACE = Space("t", {"y": 6, "x": 7}, "K")
AT = positions(SPACE, torch.arange(42))
TRUE = torch.exp(-torch.cdist(AT, AT) / 3)


def fields(n: int, seed: int = 0) -> torch.Tensor:
    """Fields with the covariance TRUE."""
    return SPACE.unflat(5 + Rng(seed).normal((n, 42)) @ torch.linalg.cholesky(TRUE).mT)


@pytest.mark.parametrize("scales", [Scales(), Scales(common=0.0), Scales(common=1.0), Scales(leading=0), Scales(0.05)])
def test_every_make_up_is_a_covariance_with_the_variances_of_the_history(scales: Scales) -> None:
    found = Correlations.of(SPACE, fields(50), Rng(0))
    k = found.matrix(scales)
    torch.testing.assert_close(k, k.mT, rtol=0, atol=1e-9)
    assert float(torch.linalg.eigvalsh(k)[0]) > -1e-9
    torch.testing.assert_close(k.diagonal(), (1 + scales.nugget) * found.std.square(), rtol=1e-6, atol=0)


def test_few_fields_teach_more_than_their_sample_covariance() -> None:
    found = Correlations.of(SPACE, fields(25), Rng(0))
    sample = (found.vectors * found.values) @ found.vectors.mT
    ours = found.matrix(Scales()) / (found.std[:, None] * found.std)
    assert float((ours - TRUE).norm()) < 0.6 * float((sample - TRUE).norm())


def test_gaps_of_the_history_change_little_and_cells_never_seen_are_left_out() -> None:
    history = fields(300)
    gappy = torch.where(Rng(1).uniform(history.shape) < 0.2, torch.nan, history)
    gappy[:, 0, 0] = torch.nan
    found = Correlations.of(SPACE, gappy, Rng(0))
    assert 0 not in found.cells.tolist()
    assert len(found.cells) == 41
    prior = found.prior(Scales())
    assert prior.space.mask is not None
    assert not bool(prior.space.mask[0, 0])
    whole = Correlations.of(SPACE, history, Rng(0)).matrix(Scales())[1:, 1:]
    assert float((found.matrix(Scales()) - whole).abs().max()) < 0.35


def test_a_cell_that_changes_by_rounding_alone_is_not_known() -> None:
    history = fields(60)
    history[:, 2, 3] = 0.1
    assert float(SPACE.flat(history).mean(0)[17]) != 0.1
    found = Correlations.of(SPACE, history, Rng(0))
    assert not bool(found.known[2, 3])
    assert int(found.known.sum()) == 41
    assert torch.equal(found.defined.mask, found.known)


def test_few_cells_under_many_gaps_have_a_covariance_too() -> None:
    """Pairs seen in few layers leave R negative eigenvalues, some of them among the leading patterns."""
    space = Space("t", {"y": 3, "x": 4}, "K")
    history = fields(12)[:, :3, :4]
    gappy = torch.where(Rng(2).uniform(history.shape) < 0.5, torch.nan, history)
    found = Correlations.of(space, gappy, Rng(0))
    assert float(found.values[-1]) < -0.1
    assert float(torch.linalg.eigvalsh(found.matrix(Scales(common=0.0, leading=20)))[0]) > 0


def test_likelihood_rises_and_learnt_places_are_a_correlation() -> None:
    history = fields(200)
    kernel, features = PlaceKernel(), character(SPACE, history, torch.arange(42))
    flat = SPACE.flat(history)
    z = (flat - flat.mean(0)) / flat.std(0)
    kernel.learn(AT, features, z.mT @ z / 200, 60, Rng(0))
    learnt = kernel.correlation(AT, features)
    torch.testing.assert_close(learnt.diagonal(), torch.ones(42, dtype=torch.float64))
    start = PlaceKernel().correlation(AT, features)
    assert float((learnt - TRUE).norm()) < 0.5 * float((start - TRUE).norm())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError):
        Correlations.of(SPACE, torch.zeros(5, 3, 3), Rng(0))
    with pytest.raises(DataError, match="nothing can be learnt"):
        Correlations.of(SPACE, torch.full((5, 6, 7), torch.nan), Rng(0))
    for options in (
        {"common": 1.5},
        {"length": 0.0},
        {"leading_length": math.nan},
        {"nugget": math.nan},
        {"nugget": math.inf},
    ):
        with pytest.raises(OptionError):
            Scales(**options)
