"""What every Posterior keeps to: its summaries, draws, maps and files tell one and the same law."""

from __future__ import annotations

import tempfile
from math import sqrt
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core.algebra import Scale
from posteriori.core.categorical import Categorical
from posteriori.core.draws import Draws
from posteriori.core.errors import UnanswerableError
from posteriori.core.loading import load
from posteriori.core.mixture import Mixture
from posteriori.core.posterior import Posterior
from posteriori.core.prior import Samples
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular, Classes
from posteriori.testing.points import critical, largest_z

DRAWS = 4096
SOME = 16
"""Cells between which covariances are compared."""


def check_posterior(posterior: Posterior, rng: Rng | None = None, draws: int = DRAWS) -> None:
    """All checks; each statistical one rejects a right posterior once in a thousand times.

    Raises:
        AssertionError: one is not kept; the message says what was found and what it means.
    """
    rng = rng or Rng(0)
    check_draws(posterior, rng.child("draws"))
    check_saved(posterior, rng.child("saved"))
    if isinstance(posterior.space.support, Classes):
        check_classes(posterior, rng.child("classes"), draws)
    elif not isinstance(posterior.space.support, Circular):
        check_labels(posterior)
        check_moments(posterior, rng.child("moments"), draws)
        check_interval(posterior, rng.child("interval"), draws)
        check_covariance(posterior)
        check_probability(posterior, rng.child("probability"))
        check_map(posterior, rng.child("map"))


def check_draws(posterior: Posterior, rng: Rng) -> None:
    """It can be a prior: draws (n, *problem, *space.shape) that depend on the stream alone."""
    assert isinstance(posterior, Samples), f"a {type(posterior).__name__} cannot be drawn from, so it is no prior."
    x = posterior.sample(7, Rng(rng.entropy))
    wanted = (7, *posterior.center().shape)
    assert x.shape == wanted, f"sample(7) has shape {tuple(x.shape)}, not {wanted}."
    assert not x.requires_grad, "draws carry an autograd graph; an answer no longer learns."
    assert torch.equal(x, posterior.sample(7, Rng(rng.entropy))), "the same stream gives other draws."


def check_labels(posterior: Posterior) -> None:
    """Summaries carry the labels and unit of the Space, in front the names of the problems."""
    for name, found in (("mean", posterior.mean()), ("std", posterior.std())):
        if isinstance(found, xr.Dataset):
            assert set(found.data_vars) == {p.name for p in posterior.space.parts}, f"{name} has lost a part."
            continue
        dims = (*posterior.problems, *posterior.space.dims)
        assert found.dims == dims, f"{name} has dims {found.dims}, not {dims}."
        assert found.attrs["units"] == posterior.space.unit, f"{name} has lost its unit."
        for dim in posterior.space.dims:
            assert np.array_equal(found[dim].values, posterior.space.labels(dim)), f"{name} has other labels of {dim}."


def check_moments(posterior: Posterior, rng: Rng, draws: int = DRAWS) -> None:
    """Draws have the mean and the standard deviation that the summaries state."""
    x = _columns(posterior, posterior.sample(draws, rng).double())
    mean, std = (_columns(posterior, t[None].double())[0] for t in (posterior.center(), posterior.spread()))
    white = (x - mean) / std.clamp_min(1e-300)
    assert bool((std >= 0).all()), "a standard deviation is negative or NaN."
    live = std > 1e-9 * std.max()
    values = torch.cat([white[:, live], white[:, live].square()], dim=-1)
    wanted = torch.cat([torch.zeros(int(live.sum())), torch.ones(int(live.sum()))]).double()
    z, at = largest_z(values, wanted)
    what = "mean" if at < int(live.sum()) else "variance"
    assert z < critical(len(wanted)), (
        f"the {what} of draws is {z:.1f} standard errors from the one stated (largest of {len(wanted)}): "
        f"sample() and {'mean()' if what == 'mean' else 'std()'} speak of two laws."
    )


def check_interval(posterior: Posterior, rng: Rng, draws: int = DRAWS) -> None:
    """A 90 % interval holds nine draws of ten, and lies around the median."""
    x = _columns(posterior, posterior.sample(draws, rng).double())
    p = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    low, middle, high = _columns(posterior, posterior.quantile(p).double())
    assert bool(((low <= middle) & (middle <= high)).all()), "quantiles are out of order."
    held = ((x >= low) & (x <= high)).double().mean(0)
    atom = float(posterior.weights.max()) if isinstance(posterior, (Draws, Mixture)) else 0.0
    allowed = critical(held.numel()) * sqrt(0.9 * 0.1 / draws) + 2 * atom
    worst = held[(held - 0.9).abs().argmax()]
    assert abs(float(worst) - 0.9) < allowed, (
        f"a 90 % interval holds {100 * float(worst):.1f} % of the draws (± {100 * allowed:.1f} allowed)."
    )


def check_covariance(posterior: Posterior) -> None:
    """Covariances are symmetric, positive semi-definite, and have the squared standard deviations on the diagonal."""
    cells = torch.arange(posterior.space.size)[:SOME]
    block = posterior.covariance_between(cells).double()
    assert torch.allclose(block, block.mT, rtol=1e-8, atol=1e-12 * float(block.abs().max())), "it is not symmetric."
    variance = posterior.space.flat(posterior.spread()).double()[..., cells].square()
    diagonal = block.diagonal(dim1=-2, dim2=-1).expand_as(variance)
    top = float(variance.max())
    assert torch.allclose(diagonal, variance, rtol=1e-5, atol=1e-8 * top), "cov() and std() state two variances."
    lowest = float(torch.linalg.eigvalsh(block).min())
    assert lowest > -1e-6 * top, f"a covariance has the eigenvalue {lowest:.2g}; no law has."


def check_probability(posterior: Posterior, rng: Rng) -> None:
    """P(x > median) is one half, within the standard error that is given with it."""
    median = posterior.quantile(torch.tensor([0.5], dtype=torch.float64))[0]
    found = posterior.probability(lambda x: x > median, rng=rng)
    p, error = found["probability"].values, found["standard_error"].values
    assert ((p >= 0) & (p <= 1)).all(), "a probability lies outside [0, 1]."
    assert (error > 0).all(), "a probability from draws has no standard error."
    z = float((np.abs(p - 0.5) / error).max())
    assert z < critical(p.size) + 1, f"P(x > median) is {z:.1f} of its standard errors from one half."


def check_map(posterior: Posterior, rng: Rng) -> None:
    """2 x + 1 has twice the spread, as an Operator (exactly) and as a function."""
    space = Space(posterior.space.name, posterior.space.coords, posterior.space.unit)
    top = float(posterior.spread().max())
    exact = posterior.map(Scale(space, 2.0, 1.0))
    for name, found, wanted in (
        ("mean", exact.center(), 2 * posterior.center() + 1),
        ("standard deviation", exact.spread(), 2 * posterior.spread()),
    ):
        error = float((found - wanted).abs().max()) / max(top, 1e-300)
        assert error < 1e-5, f"the {name} of map(2 x + 1) is off by {error:.1e} standard deviations."
    drawn = posterior.map(lambda x: 2 * x + 1, space=space, rng=rng)
    assert drawn.center().shape == posterior.center().shape, "a map by a function has lost the problem dims."
    error = float(((drawn.center() - exact.center()).abs() / exact.spread().clamp_min(1e-9 * top)).max())
    assert error < critical(posterior.center().numel()) / sqrt(500), f"a map by a function is {error:.2g} σ off."


def check_saved(posterior: Posterior, rng: Rng) -> None:
    """What is loaded is what was saved: the same law, and from the second time on the same bits."""
    with tempfile.TemporaryDirectory() as folder:
        first = load(posterior.save(Path(folder) / "first.nc"))
        second = load(first.save(Path(folder) / "second.nc"))
    assert first.problems.keys() == posterior.problems.keys(), "the names of the problems are lost in the file."
    assert first.run == posterior.run, "the record of the run is lost in the file."
    assert first.space.same(posterior.space), "the labels change in the file."
    assert first.space.unit == posterior.space.unit, "the unit changes in the file."
    for name, mine, loaded in (
        ("mean", posterior.center(), first.center()),
        ("log-evidence", posterior.log_evidence, first.log_evidence),
    ):
        same = mine is loaded if mine is None or loaded is None else torch.equal(mine, loaded)
        assert same, f"the {name} changes in the file."
    if not isinstance(posterior.space.support, Classes):
        spread, top = posterior.spread(), float(posterior.spread().max())
        assert torch.allclose(first.spread(), spread, rtol=1e-5, atol=1e-6 * top), "the spread changes in the file."
    draws = [p.sample(5, Rng(rng.entropy)) for p in (first, second)]
    assert torch.equal(*draws), "a second round trip changes bits."
    if isinstance(posterior, Draws):
        assert torch.equal(posterior.sample(5, Rng(rng.entropy)), draws[0]), "rows change in the file."


def check_classes(posterior: Posterior, rng: Rng, draws: int = DRAWS) -> None:
    """Classes have no mean, and are drawn as often as their probabilities say."""
    try:
        posterior.mean()
    except UnanswerableError:
        pass
    else:
        raise AssertionError("mean() of classes gives a number; UnanswerableError is due.")
    if not isinstance(posterior, Categorical):
        return
    codes = posterior.sample(draws, rng)[..., None]
    shares = (codes == torch.arange(len(posterior.names))).double().mean(0)
    p = posterior.probabilities.double()
    error = (p * (1 - p) / draws).sqrt().clamp_min(1e-12)
    z = float(((shares - p).abs() / error).max())
    assert z < critical(p.numel()) + 1, f"a class is drawn {z:.1f} standard errors more or less often than stated."


def _columns(posterior: Posterior, x: Tensor) -> Tensor:
    """Draws (n, *problem, *shape) as (n, defined columns)."""
    mask = posterior.space.mask
    flat = posterior.space.flat(x)
    flat = flat if mask is None else flat[..., posterior.space.flat(mask)]
    return flat.reshape(len(x), -1)
