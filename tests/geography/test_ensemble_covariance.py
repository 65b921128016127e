"""The localised Gaussian prior is the formula, conditions exactly, and its options are chosen on what was left out."""

from __future__ import annotations

import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.inference.gappy import by_mask, filled
from posteriori.learn.climatology import Climatology
from posteriori.learn.ensemble_covariance import (
    Localisation,
    LocalisedCovariance,
    choose,
    localised,
    observation_sigma,
)
from posteriori.testing import check_prior

SPACE = Space("t2m", {"y": 6, "x": 8}, "K")


def _history(n: int = 40, length: float = 2.0) -> torch.Tensor:
    cells = torch.cartesian_prod(torch.arange(6.0), torch.arange(8.0)).double()
    root = torch.linalg.cholesky((-torch.cdist(cells, cells) / length).exp())
    return 280 + SPACE.unflat(Rng(3).normal((n, 48)) @ root.mT)


def test_the_prior_is_the_formula() -> None:
    history = _history()
    prior = localised(SPACE, history)
    a = (history - history.mean(0)).reshape(40, 48)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    d2 = (y.flatten()[:, None] - y.flatten()) ** 2 + (x.flatten()[:, None] - x.flatten()) ** 2
    wanted = a.mT @ a / 40 * torch.exp(-0.5 * d2.double() / 3.0**2)
    torch.testing.assert_close(prior.covariance.dense(), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(prior.location, history.mean(0))
    assert observation_sigma(prior) == pytest.approx((1e-3 * float(a.square().mean())) ** 0.5)
    check_prior(prior)


def test_a_mix_of_tapers_and_a_stationary_part_keep_the_variances() -> None:
    history = _history()
    mixed = Localisation(lengths=(1.5, 6.0), weights=(1.0, 3.0), stationary=0.2, stationary_length=2.0)
    covariance = localised(SPACE, history, mixed).covariance.dense()
    torch.testing.assert_close(covariance.diagonal(), history.var(0, correction=0).flatten())
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0


def test_blocks_and_products_of_a_large_grid_are_those_of_the_whole() -> None:
    history = _history()
    anomalies = (history - history.mean(0)).reshape(40, 48)
    lazy = LocalisedCovariance(SPACE, anomalies, Localisation(stationary=0.1))
    whole = lazy.dense()
    rows, columns = torch.tensor([3, 40, 7]), torch.tensor([0, 47])
    torch.testing.assert_close(lazy.block(rows, columns), whole[rows[:, None], columns])
    v = Rng(0).normal((2, 48))
    torch.testing.assert_close(lazy.matmul(v), v @ whole)
    torch.testing.assert_close(lazy.diagonal(), whole.diagonal())


def test_many_masks_are_conditioned_as_the_textbook_says() -> None:
    history = _history()
    prior, sigma = localised(SPACE, history), 0.1
    rng = Rng(1)
    values = _history(6) + 0.5
    masks = rng.uniform((2, 6, 8)) < 0.5
    observed = masks[[0, 1, 0, 0, 1, 1]]
    mean, std = filled(prior, values.masked_fill(~observed, float("nan")), observed, sigma)
    k, mu = prior.covariance.dense(), prior.location.flatten()
    for f in range(6):
        o = observed[f].flatten()
        gain = torch.linalg.solve(k[o][:, o] + sigma**2 * torch.eye(int(o.sum())), k[o]).mT
        wanted = mu + gain @ (values[f].flatten()[o] - mu[o])
        torch.testing.assert_close(mean[f].flatten(), wanted)
        variance = k.diagonal() - (gain * k[:, o]).sum(1)
        torch.testing.assert_close(std[f].flatten(), variance.sqrt())
    assert [index.tolist() for index, _ in by_mask(prior, values, observed, sigma)] == [[0, 2, 3], [1, 4, 5]]


def test_land_stays_out() -> None:
    sea = torch.ones(6, 8, dtype=torch.bool)
    sea[2:4, 3:5] = False
    space = Space("sst", {"y": 6, "x": 8}, "K", mask=sea)
    history = _history().masked_fill(~sea, float("nan"))
    prior = localised(space, history)
    mean, std = filled(prior, _history(2), torch.rand(2, 6, 8) < 0.5, 0.1)
    assert bool(torch.isfinite(mean).all() & torch.isfinite(std).all())
    assert prior.mean().isnull().sum() == 4
    assert choose(space, history, [Localisation(), Localisation((1.0,))]).best


def test_the_length_is_chosen_on_what_was_left_out() -> None:
    """Fields that know nothing of far ones want a short taper; 40 fields of 48 cells over-fit without."""
    chosen = choose(SPACE, _history(), [Localisation((float("inf"),)), Localisation((3.0,)), Localisation((0.1,))])
    assert chosen.best == Localisation((3.0,))
    assert chosen.scores[1] == max(chosen.scores)


def test_bad_input_is_refused() -> None:
    history = _history()
    with pytest.raises(OptionError, match="taper lengths"):
        Localisation((0.0,))
    with pytest.raises(OptionError, match="stationary share"):
        Localisation(stationary=1.5)
    with pytest.raises(OptionError, match="too little"):
        choose(SPACE, history, [Localisation()], gap=20)
    with pytest.raises(DataError, match="two fields"):
        localised(SPACE, history[:1])
    with pytest.raises(DataError, match="not finite"):
        localised(SPACE, history.clone().index_fill_(0, torch.tensor(3), float("nan")))
    with pytest.raises(ShapeError):
        localised(SPACE, history[:, :5])
    none = torch.zeros(3, 6, 8, dtype=torch.bool)
    with pytest.raises(DataError, match="no observed cell"):
        filled(localised(SPACE, history), history[:3], none, 0.1)


def test_a_climatology_finds_the_daily_cycle() -> None:
    hours = torch.arange(96, dtype=torch.float64)
    cycle = 280 + 3 * torch.cos(2 * torch.pi * (hours - 15) / 24)
    history = cycle[:, None, None] + torch.arange(48.0).double().reshape(6, 8)
    found = Climatology.of(SPACE, history, hours, 24, 1)
    torch.testing.assert_close(found.at(hours + 240), history)
    torch.testing.assert_close(Climatology.of(SPACE, history, hours, 24, 0).at(hours[:1])[0], history.mean(0))
    with pytest.raises(OptionError, match="cannot tell"):
        Climatology.of(SPACE, history[:2], hours[:2], 24, 3)
