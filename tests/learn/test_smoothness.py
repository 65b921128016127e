"""Smooth priors on grids against cosines, finite-volume matrices, Matérn's closed forms and dense Gaussian laws."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import kv

from posteriori import Inverse, Rng, Space, infer
from posteriori.core.algebra import Dense
from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.prior import GaussianLaw
from posteriori.inference.conjugate_gradients import ConjugateGradients
from posteriori.inference.exact import Exact
from posteriori.inference.hmc import HMC
from posteriori.inference.laplace import Laplace
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.learn.depth import depth_scale
from posteriori.learn.modes import Modes
from posteriori.learn.penalty import roughness
from posteriori.learn.smoothness import Roughness, Smoothness
from posteriori.physics.prism_mesh import mesh

UNEQUAL = Space("density", {"z": [10.0, 30.0, 80.0], "y": [0.0, 5.0], "x": [-3.0, 0.0, 1.0, 7.0]}, "kg/m^3")


def stiffness(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finite volumes along one axis, free of flux at the ends: the matrix of ∫ |∂m|² and the widths."""
    gaps = np.diff(x)
    edges = np.concatenate([[x[0] - gaps[0] / 2], (x[1:] + x[:-1]) / 2, [x[-1] + gaps[-1] / 2]])
    difference = sp.diags([-np.ones(len(x)), np.ones(len(x))], [0, 1], shape=(len(x) - 1, len(x)))
    return (difference.T @ sp.diags(1 / gaps) @ difference).toarray(), np.diff(edges)


def penalties(space: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices of ∫ m², ∫ |∇m|² and ∫ (∇²m)² over a grid."""
    axes = [stiffness(space.labels(dim).astype(float)) for dim in space.dims]
    mass, gradient = np.ones((1, 1)), np.zeros((1, 1))
    for stiff, widths in axes:
        gradient = np.kron(gradient, np.diag(widths)) + np.kron(mass, stiff)
        mass = np.kron(mass, np.diag(widths))
    return mass, gradient, gradient @ np.linalg.inv(mass) @ gradient


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_penalties_are_1_k2_and_k4(order: int) -> None:
    """A cosine over a line of equal cells is charged the power of its wave number, to the accuracy of differences."""
    n, length = 200, 1000.0
    space = Space("m", {"x": (np.arange(n) + 0.5) * length / n})
    alone = Roughness(space, {0: 1.0, order: 1.0} if order else {0: 1.0})
    bare = Roughness(space, {0: 1.0})
    for j in (1, 3, 10):
        k = pi * j / length
        m = torch.cos(k * torch.from_numpy(space.labels("x")))
        norm = length / 2
        with torch.no_grad():
            charged = float(alone.encode(m).square().sum() - (bare.encode(m).square().sum() if order else 0.0))
        discrete = (2 * n / length * np.sin(k * length / n / 2)) ** (2 * order)
        assert charged == pytest.approx(discrete * norm, rel=1e-8)
        assert charged == pytest.approx(k ** (2 * order) * norm, rel=order * (k * length / n) ** 2 / 12 + 1e-9)


def test_the_precision_is_that_of_finite_volumes_on_unequal_cells() -> None:
    prior = Roughness(UNEQUAL, {0: 0.3, 1: 2.0, 2: 50.0})
    mass, gradient, laplacian = penalties(UNEQUAL)
    precision = torch.from_numpy(0.3 * mass + 2.0 * gradient + 50.0 * laplacian)
    product = prior.covariance.dense().detach() @ precision
    torch.testing.assert_close(product, torch.eye(UNEQUAL.size).double(), rtol=0, atol=1e-9)
    x = prior.sample(3, Rng(0))
    charge = torch.einsum("bi,ij,bj->b", UNEQUAL.flat(x), precision, UNEQUAL.flat(x))
    torch.testing.assert_close(prior.encode(x).square().flatten(1).sum(1).detach(), charge)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_penalties_by_differences_are_those_of_the_modes(order: int) -> None:
    rows = roughness(UNEQUAL, order).rows()
    torch.testing.assert_close(rows.mT @ rows, torch.from_numpy(penalties(UNEQUAL)[order]))
    x = Rng(2).normal((3, *UNEQUAL.shape))
    modes = Modes(UNEQUAL)
    squared = sum(modes.squared(a).reshape([-1 if a == b else 1 for b in range(3)]) for a in range(3))
    weights = modes.products(modes.volumes() * x).square() * squared**order
    torch.testing.assert_close(roughness(UNEQUAL, order).energy(x), 0.5 * weights.flatten(1).sum(1))


def test_modes_are_cosines_on_equal_cells() -> None:
    space = Space("m", {"x": 3.0 * np.arange(7)})
    modes = Modes(space)
    j, i = np.meshgrid(np.arange(7), np.arange(7))
    cosines = np.cos(pi * j * (i + 0.5) / 7) * np.where(j == 0, 1.0, sqrt(2)) / sqrt(21)
    found = modes.values(torch.eye(7).double()).mT
    torch.testing.assert_close(found, torch.from_numpy(cosines))
    torch.testing.assert_close(modes.squared(0), torch.from_numpy((2 / 3 * np.sin(pi * np.arange(7) / 14)) ** 2))


@pytest.mark.parametrize(
    ("dims", "order", "correlation"),
    [
        (1, 1, lambda r: np.exp(-r)),
        (1, 2, lambda r: (1 + r) * np.exp(-r)),
        (2, 2, lambda r: r * kv(1, r)),
    ],
)
def test_far_from_the_ends_the_field_is_matern(dims: int, order: int, correlation: object) -> None:
    """Lindgren, Rue & Lindström (2011): ν = order - dims/2, range ℓ; cells of ℓ/10, within the error of differences."""
    n, h, length = (401, 10.0, 100.0) if dims == 1 else (121, 10.0, 100.0)
    space = Space("m", {dim: h * np.arange(n) for dim in ("z", "x")[-dims:]})
    prior = Smoothness(space, 2.0, length, order=order)
    middle = n // 2 if dims == 1 else n // 2 * n + n // 2
    lags = torch.arange(1, 25, 3)
    with torch.no_grad():
        row = prior.covariance.block(torch.tensor([middle]), middle + torch.cat([torch.zeros(1).long(), lags]))[0]
    wanted = correlation(lags.numpy() * h / length)  # type: ignore[operator]
    np.testing.assert_allclose((row[1:] / row[0]).numpy(), wanted, atol=0.012)
    assert float(prior.covariance.diagonal().detach().mean()) == pytest.approx(4.0)


@pytest.mark.parametrize("prior", [Smoothness.example(), Roughness.example()], ids=lambda p: type(p).__name__)
def test_density_covariance_and_codes_tell_one_law(prior: Smoothness | Roughness) -> None:
    assert isinstance(prior, GaussianLaw)
    dense = prior.covariance.dense().detach()
    x = prior.sample(5, Rng(1))
    law = torch.distributions.MultivariateNormal(prior.location.flatten(), dense)
    torch.testing.assert_close(prior.log_prob(x).detach(), law.log_prob(prior.space.flat(x)))
    torch.testing.assert_close(prior.covariance.diagonal().detach(), dense.diagonal())
    torch.testing.assert_close(prior.decode(prior.encode(x)).detach(), x)
    z = torch.eye(prior.space.size).double().reshape(-1, *prior.space.shape)
    root = prior.space.flat(prior.decode(z) - prior.location).detach()
    torch.testing.assert_close(root.mT @ root, dense)


def test_the_evidence_finds_length_and_strength() -> None:
    """Twenty fields of 60 cells, seen directly with small noise: length within 25 %, sigma within 20 %."""
    space = Space("m", {"x": 10.0 * np.arange(60)})
    truth = Smoothness(space, 3.0, 40.0)
    operator = Dense(space, Space("d", {"station": 60}), torch.eye(60).double())
    x = truth.sample(20, Rng(3))
    data = x + 0.1 * Rng(4).normal(x.shape)
    target = Inverse(operator, Smoothness(space, 1.0, 200.0), data, 0.1)
    fitted = MarginalLikelihood(Exact()).fit(target)
    number = dict(fitted.prior.field.spectrum.numbers.values())  # type: ignore[union-attr]
    assert number["length_x"].item() == pytest.approx(40.0, rel=0.25)
    assert number["sigma"].item() == pytest.approx(3.0, rel=0.2)


def test_conjugate_gradients_agree_with_the_dense_factor() -> None:
    space = Space("m", {"z": 20.0 * np.arange(12), "x": 50.0 * np.arange(15)})
    operator = Dense(space, Space("d", {"station": 20}), Rng(5).normal((20, 180)))
    target = Inverse(operator, Smoothness(space, 1.0, 80.0, mean=2.0), Rng(6).normal((20,)), 0.5)
    exact, iterated = infer(target, Exact()), infer(target, ConjugateGradients())
    torch.testing.assert_close(exact.center(), iterated.center(), rtol=0, atol=1e-9)
    torch.testing.assert_close(exact.spread(), iterated.spread(), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "method",
    [Laplace(), pytest.param(HMC(draws=300, warmup=200, dense=True), marks=pytest.mark.slow)],
    ids=lambda m: type(m).__name__,
)
def test_methods_for_nonlinear_questions_take_it_too(method: Any) -> None:
    """Laplace is exact on a linear question; HMC within 5 standard errors of the mean (effective size above 200)."""
    space = Space("m", {"x": 10.0 * np.arange(5)})
    operator = Dense(space, Space("d", {"station": 4}), Rng(8).normal((4, 5)))
    target = Inverse(operator, Smoothness(space, 1.0, 20.0, mean=1.0), Rng(9).normal((4,)), 0.5)
    exact, found = infer(target, Exact()), infer(target, method)
    away = ((found.center() - exact.center()) / exact.spread()).abs().max()
    assert float(away) < (1e-6 if isinstance(method, Laplace) else 5 / 200**0.5)


def test_depth_scale_undoes_the_decay_of_the_kernel() -> None:
    """Li & Oldenburg (1998): sd ∝ (z + z0)^(power/2); its root mean square is one."""
    space = Space("density", {"z": [50.0, 150.0, 350.0], "x": [0.0, 1.0]})
    scale = depth_scale(space, z0=25.0, power=2.0)
    torch.testing.assert_close(scale[:, 0] / scale[0, 0], torch.tensor([1.0, 175 / 75, 375 / 75]).double())
    assert float(scale.square().mean()) == pytest.approx(1.0)
    prior = Smoothness(space, 3.0, 100.0, scale=scale)
    flat = Smoothness(space, 3.0, 100.0)
    ratio = (prior.covariance.diagonal() / flat.covariance.diagonal()).detach().sqrt()
    torch.testing.assert_close(ratio, scale.flatten())
    with pytest.raises(OptionError, match="above the surface"):
        depth_scale(space, z0=-60.0)


def test_what_is_no_grid_is_refused() -> None:
    with pytest.raises(ShapeError, match="not in order"):
        Smoothness(Space("m", {"x": [0.0, 2.0, 1.0]}), 1.0, 1.0)
    with pytest.raises(ShapeError, match="need"):
        Smoothness(Space("m", {"x": ["a", "b"]}), 1.0, 1.0)
    with pytest.raises(ShapeError, match="do not fit the dims"):
        Smoothness(Space("m", {"z": 3, "x": 3}), 1.0, {"x": 1.0})
    with pytest.raises(OptionError, match="constant costs nothing"):
        Roughness(Space("m", {"x": 3}), {1: 1.0})


def test_cells_of_a_mesh_weigh_by_their_own_volume() -> None:
    """Layers of 30, 50 and 200 m: halfway between their centres lie other borders."""
    space = mesh("density", "kg/m^3", z=[0.0, 30.0, 80.0, 280.0], x=[0.0, 10.0, 30.0])
    volumes = torch.outer(torch.tensor([30.0, 50.0, 200.0]), torch.tensor([10.0, 20.0])).double()
    prior = Smoothness(space, 3.0, {"z": 60.0, "x": 20.0}).requires_grad_(False)
    variance = prior.covariance.diagonal().reshape(space.shape)
    assert float((volumes * variance).sum() / volumes.sum()) == pytest.approx(9.0, rel=1e-12)
    ones = torch.ones(space.shape, dtype=torch.float64)
    assert float(roughness(space, 0).energy(ones)) == pytest.approx(0.5 * 280 * 30, rel=1e-12)
