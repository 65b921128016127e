"""Sparse modes against closed forms, the taut string, duality and pylops; sparse posteriors against quadrature."""

from __future__ import annotations

import pickle
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor

from posteriori import Inverse, Rng, Space, infer
from posteriori.core.algebra import Dense, Identity
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.wavelet_basis import Wavelets
from posteriori.inference.fista import Fista, duality_gap, mode
from posteriori.inference.hmc import HMC
from posteriori.inference.problems import gaussian_prior
from posteriori.learn.penalty import roughness
from posteriori.learn.smoothness import Smoothness
from posteriori.learn.sparse import Bounds, SparseCoefficients, TotalVariation

pywt = pytest.importorskip("pywt")


def soft(x: Tensor, t: float | Tensor) -> Tensor:
    return x.sign() * (x.abs() - t).clamp_min(0.0)


def lasso(sigma: float = 0.5, scale: float = 0.3, problems: int = 3) -> Inverse:
    """Twenty-four data of thirty unknowns, few of them not zero."""
    space = Space("m", {"x": 30})
    operator = Dense(space, Space("d", {"station": 24}), Rng(0).normal((24, 30)), torch.ones(24).double())
    truth = torch.where(Rng(1).uniform((problems, 30)) < 0.1, 3.0, 0.0).double()
    data = operator(truth) + sigma * Rng(2).normal((problems, 24))
    return Inverse(operator, SparseCoefficients(Identity(space), scale).requires_grad_(False), data, Normal(sigma))


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_wavelets_are_orthonormal_and_those_of_pywavelets(wavelet: str) -> None:
    space = Space("m", {"z": 8, "x": 16})
    basis = Wavelets(space, wavelet)
    x = Rng(0).normal((3, 8, 16))
    c = basis(x)
    torch.testing.assert_close(basis.adjoint(c), x)
    torch.testing.assert_close(c.square().sum(), x.square().sum())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Level value")
        one = pywt.coeffs_to_array(pywt.wavedec2(x[1].numpy(), wavelet, "periodization", level=3))[0]
    np.testing.assert_allclose(c[1].numpy(), one, atol=1e-12)
    assert basis.level[0, 0] == 4
    assert basis.level[-1, -1] == 1
    assert int((basis.level == 1).sum()) == 96


def test_wavelets_refuse_what_is_not_orthonormal() -> None:
    with pytest.raises(OptionError, match="no orthogonal one"):
        Wavelets(Space("m", {"x": 8}), "bior2.2")
    with pytest.raises(ShapeError, match="multiples of 8"):
        Wavelets(Space("m", {"x": 12}), "haar", levels=3)
    with pytest.raises(DataError, match="not orthonormal"):
        SparseCoefficients(Dense.example(), 1.0)


def test_orthogonal_designs_have_the_closed_form() -> None:
    """Denoising in a wavelet basis is soft thresholding of the coefficients at sigma² / b (Donoho & Johnstone)."""
    space = Space("m", {"x": 64})
    basis = Wavelets(space, "db4")
    relative = 2.0 ** (0.5 * (basis.level - 1))
    prior = SparseCoefficients(basis, 0.4, relative, mean=1.0)
    data = Rng(3).normal((2, 64)) + 1.0
    target = Inverse(Identity(space), prior, data, 0.3)
    found = mode(target, fista=Fista(tolerance=1e-13))
    wanted = 1.0 + basis.adjoint(soft(basis(data - 1.0), 0.09 / (0.4 * relative.double())))
    torch.testing.assert_close(found.x, wanted, rtol=0, atol=1e-9)
    assert found.gap is not None
    assert float(found.gap.abs().max()) < 1e-10


@pytest.mark.parametrize("accelerated", [True, False])
def test_the_lasso_is_solved_to_its_optimality_conditions(accelerated: bool) -> None:
    """|Jᵀ r / σ²| ≤ 1/b everywhere, = 1/b with the sign of c where c is not zero; the energy never rises."""
    target = lasso()
    found = mode(target, fista=Fista(tolerance=1e-9, iterations=6000, accelerated=accelerated))
    assert bool(found.converged.all())
    j = target.operator.matrix  # type: ignore[union-attr]
    pull = (target.data - target.operator(found.x)) @ j / 0.25  # type: ignore[operator]
    assert float(pull.abs().max()) < (1 + 1e-4) / 0.3
    free = found.x.abs() > 1e-6
    assert 3 < int(free.sum()) < 80
    torch.testing.assert_close(pull[free], found.x[free].sign() / 0.3, rtol=1e-4, atol=0)
    assert float(found.history.diff(dim=0).max()) < 1e-9


def test_the_gap_bounds_what_is_left_and_momentum_pays() -> None:
    target = lasso()
    best = mode(target, fista=Fista(tolerance=1e-11, iterations=4000)).energy
    gap = duality_gap(target)
    for steps in (1, 10, 100):
        found = mode(target, fista=Fista(iterations=steps, tolerance=1e-16))
        left = found.energy - best
        assert bool((gap(found.x) >= left - 1e-9).all())
    fast, slow = (mode(target, fista=Fista(tolerance=1e-6, accelerated=a)).steps for a in (True, False))
    assert fast < slow


def test_fista_agrees_with_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    target = lasso(problems=1)
    j, d = target.operator.matrix.numpy(), (target.data[0] - 1.0).numpy()  # type: ignore[union-attr]
    theirs = pylops.optimization.sparsity.fista(pylops.MatrixMult(j), d, niter=4000, eps=2 * 0.25 / 0.3, tol=1e-12)[0]
    ours = mode(target, fista=Fista(tolerance=1e-11, iterations=4000))
    np.testing.assert_allclose(ours.x[0].numpy(), theirs, atol=1e-4)
    found = torch.from_numpy(theirs)[None]
    assert bool((ours.energy <= target.misfit(found) + target.prior.charge(found) + 1e-9).all())  # type: ignore[operator]


def test_problems_at_once_are_solved_as_one_by_one() -> None:
    target = lasso()
    together = mode(target, fista=Fista(tolerance=1e-11, iterations=4000))
    alone = mode(target.given(target.data[1]), fista=Fista(tolerance=1e-11, iterations=4000))
    torch.testing.assert_close(together.x[1], alone.x, rtol=0, atol=1e-5)


def taut_string(y: np.ndarray, strength: float) -> np.ndarray:
    """The exact least of ½ Σ (x - y)² + strength Σ |x_{i+1} - x_i|: the shortest path in a tube about the sums of y.

    Davies & Kovac (2001), Annals of Statistics 29, 1. The greatest convex minorant of the upper and the least concave
    majorant of the lower wall are followed from each knot until they cross.
    """
    n = len(y)
    sums = np.concatenate([[0.0], np.cumsum(y)])
    low, high = sums - strength, sums + strength
    low[0] = high[0] = sums[0]
    low[n] = high[n] = sums[n]
    x, at, height = np.zeros(n), 0, 0.0
    while at < n:
        least, most, i_least, i_most = -np.inf, np.inf, at, at
        end, value = n, sums[n]
        for i in range(at + 1, n + 1):
            down, up = (low[i] - height) / (i - at), (high[i] - height) / (i - at)
            if down > most:
                end, value = i_most, high[i_most]
                break
            if up < least:
                end, value = i_least, low[i_least]
                break
            if down >= least:
                least, i_least = down, i
            if up <= most:
                most, i_most = up, i
        x[at:end] = (value - height) / (end - at)
        at, height = end, value
    return x


@pytest.mark.parametrize("strength", [0.05, 0.7, 5.0])
def test_total_variation_of_a_line_is_the_taut_string(strength: float) -> None:
    space = Space("m", {"x": 40})
    data = torch.repeat_interleave(torch.tensor([0.0, 2.0, -1.0, 0.5]), 10).double() + 0.3 * Rng(5).normal((2, 40))
    prior = TotalVariation(space, strength, iterations=4000, tolerance=1e-12)
    found = prior.prox(data, torch.tensor(1.0).double())
    wanted = np.stack([taut_string(d.numpy(), strength) for d in data])
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
    by_mode = mode(Inverse(Identity(space), prior, data, 1.0), fista=Fista(tolerance=1e-8))
    np.testing.assert_allclose(by_mode.x.numpy(), wanted, atol=1e-4)


def test_total_variation_counts_jumps_and_keeps_its_edges_where_smoothness_blurs_them() -> None:
    space = Space("m", {"z": 10.0 * np.arange(12), "x": 5.0 * np.arange(16)})
    block = torch.zeros(12, 16).double()
    block[4:, 6:] = 2.0
    prior = TotalVariation(space, 1.0)
    assert float(prior.energy(block)) == pytest.approx(2.0 * (8 * 10.0 + 10 * 5.0), rel=0.02)
    data = block + 0.4 * Rng(6).normal(block.shape)

    def best(modes: list[Tensor]) -> float:
        return min(float((m - block).square().mean()) for m in modes)

    quick = Fista(tolerance=1e-5)
    sharp = [
        mode(Inverse(Identity(space), TotalVariation(space, s, 200), data, 0.4), fista=quick).x for s in (0.1, 0.2, 0.4)
    ]
    walls = Bounds(space, -10.0, 10.0)
    blurred = [
        mode(Inverse(Identity(space), Smoothness(space, s, 20.0), data, 0.4), walls, quick).x for s in (0.5, 1.0, 2.0)
    ]
    assert best(sharp) < 0.6 * best(blurred)


def test_bounds_are_kept_exactly() -> None:
    """Least squares with values above zero, against Lawson and Hanson's active sets."""
    space = Space("m", {"x": 8})
    j, d = Rng(7).normal((12, 8)), Rng(8).normal((12,))
    operator = Dense(space, Space("d", {"station": 12}), j)
    target = Inverse(operator, roughness(space, 0), d, 1e-4)
    found = mode(target, Bounds(space, 0.0, torch.inf), Fista(tolerance=1e-10, iterations=4000))
    wanted, _ = nnls(j.numpy(), d.numpy())
    np.testing.assert_allclose(found.x.numpy(), wanted, atol=1e-6)
    assert float(found.x.min()) == 0.0
    with pytest.raises(UnanswerableError, match="no proximal step"):
        mode(Inverse(Identity(gaussian_prior().space), gaussian_prior(), torch.zeros(4).double(), 1.0))


@pytest.mark.slow
def test_hmc_draws_the_posterior_of_sparse_coefficients() -> None:
    """In an orthonormal design each coefficient has its own: mean and spread by quadrature, within 5 standard errors.

    The kink of |c| costs HMC steps but no exactness: every proposal is accepted or refused by the true density.
    """
    space = Space("m", {"x": 4})
    basis = Dense(space, Space("c", {"c": 4}), Wavelets(space, "haar").rows(torch.zeros(()).double()))
    prior = SparseCoefficients(basis, 0.5, mean=0.2).requires_grad_(False)
    data = torch.tensor([2.0, 0.3, -0.4, 0.1]).double()
    found = infer(Inverse(Identity(space), prior, data, 0.6), HMC(draws=4000)).map(
        Dense(space, basis.codomain, basis.rows(data))
    )
    shift = basis(torch.full((4,), 0.2).double())
    c = torch.linspace(-12, 12, 200001).double()
    for i, seen in enumerate(basis(data)):
        log_p = -0.5 * ((c - seen) / 0.6).square() - (c - shift[i]).abs() / 0.5
        p = (log_p - log_p.max()).exp()
        mean = float((p * c).sum() / p.sum())
        std = float(((p * (c - mean).square()).sum() / p.sum()).sqrt())
        error = std / float(found.ess().flatten()[i]) ** 0.5  # type: ignore[attr-defined]
        assert abs(float(found.center()[i]) - mean) < 5 * error
        assert float(found.spread()[i]) == pytest.approx(std, rel=0.1)


@pytest.mark.slow
def test_hmc_draws_the_posterior_of_total_variation() -> None:
    """Two cells, by quadrature over a grid: means within 5 standard errors, spreads within a tenth."""
    space = Space("m", {"x": 2})
    data = torch.tensor([1.0, 0.2]).double()
    found = infer(Inverse(Identity(space), TotalVariation(space, 2.0), data, 0.5), HMC(draws=400, warmup=300))
    axis = torch.linspace(-4, 5, 1801).double()
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    log_p = -0.5 * ((points - data) / 0.5).square().sum(-1) - 2.0 * (points[..., 1] - points[..., 0]).abs()
    p = log_p.exp() / log_p.exp().sum()
    mean = (p[..., None] * points).sum((0, 1))
    std = (p[..., None] * (points - mean).square()).sum((0, 1)).sqrt()
    error = std / found.ess().flatten().sqrt()  # type: ignore[attr-defined]
    assert bool(((found.center() - mean).abs() < 5 * error).all())
    torch.testing.assert_close(found.spread(), std, rtol=0.1, atol=0)


@pytest.mark.parametrize("kind", [SparseCoefficients, TotalVariation])
def test_a_proximal_step_is_least_where_it_says(kind: Any) -> None:
    """No nearby point has a lower ½ ‖y - x‖² + step · charge(y)."""
    prior = kind.example()
    x = Rng(9).normal((2, *prior.space.shape)) * 2
    step = torch.tensor(0.7).double()
    y = prior.prox(x, step).detach()

    def value(z: Tensor) -> Tensor:
        return 0.5 * prior.space.flat(z - x).square().sum(-1) + step * prior.charge(z)

    least = value(y)
    for k in range(200):
        nearby = y + 0.01 * Rng(10).child(k).normal(y.shape)
        assert bool((value(nearby) >= least - 1e-9).all())


def test_a_prior_of_wavelets_can_be_copied_and_sent_to_a_worker() -> None:
    prior = SparseCoefficients(Wavelets(Space("v", {"z": 8, "x": 8}), "db2", 2), 1.0)
    x = prior.sample(1, Rng(0))[0]
    for other in (deepcopy(prior), pickle.loads(pickle.dumps(prior))):
        assert torch.equal(other.log_prob(x), prior.log_prob(x))
