"""Gaussian processes over cells, and kernels on a lattice."""

from __future__ import annotations

import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as peer

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.inference.exact import Exact
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern, PositiveNumbers, matern32
from posteriori.learn.lattice import Lattice, LatticePart, lattice_sum


@pytest.mark.parametrize("nu", [0.5, 1.5, 2.5])
def test_conditioning_is_scikit_learns(nu: float) -> None:
    rng = Rng(0)
    points = rng.uniform((12, 2))
    space = Space("f", {"x": 12})
    kernel = Matern([0.3, 0.8], amplitude=1.7, nu=nu)
    values = rng.normal((7,))
    target = Inverse(Selection.along(space, "x", range(7)), GaussianProcess(space, points, kernel), values, Normal(0.2))
    posterior = Exact()(target, Context())
    other = GaussianProcessRegressor(
        peer.ConstantKernel(1.7**2) * peer.Matern([0.3, 0.8], nu=nu), alpha=0.04, optimizer=None
    ).fit(points[:7].numpy(), values.numpy())
    mean, covariance = other.predict(points.numpy(), return_cov=True)
    torch.testing.assert_close(posterior.location, torch.from_numpy(mean), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(posterior.covariance.dense(), torch.from_numpy(covariance), rtol=1e-7, atol=1e-8)
    assert posterior.log_evidence is not None
    assert float(posterior.log_evidence) == pytest.approx(other.log_marginal_likelihood_value_, rel=1e-9)


def test_columns_are_coefficients_with_a_prior() -> None:
    """A basis adds Φ Φᵀ: the law of coefficients N(0, 1)."""
    space, points = Space("f", {"x": 5}), torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    basis = torch.cat([torch.ones(5, 1), points.float()], 1).double()
    plain = GaussianProcess(space, points, Matern([0.5])).covariance.dense()
    both = GaussianProcess(space, points, Matern([0.5]), basis=basis).covariance
    torch.testing.assert_close(both.dense(), plain + basis @ basis.mT)
    torch.testing.assert_close(both.diagonal(), both.dense().diagonal())
    v = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(both.matmul(v), v @ both.dense())


def test_lattice_sum_is_the_plain_sum() -> None:
    lattice = Lattice(9, 9)
    dx, dy = lattice.grid
    table = matern32((dx.square() + dy.square() / 4).sqrt()).requires_grad_()
    x = torch.tensor([[0.0, 0.0], [3.0, 1.0], [8.0, 9.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1.0], [0.0, 5.0]], dtype=torch.float64)
    a, b = (
        torch.rand(3, dtype=torch.float64, requires_grad=True),
        torch.rand(2, dtype=torch.float64, requires_grad=True),
    )
    found = lattice_sum(lattice, [(x, y)], [LatticePart(table, a, b)])
    gap = x[:, None] - y
    want = matern32((gap[..., 0].square() + gap[..., 1].square() / 4).sqrt()) * a[:, None] * b
    torch.testing.assert_close(found, want)
    weight = torch.randn(3, 2, dtype=torch.float64)
    ours = torch.autograd.grad((found * weight).sum(), (a, b))
    plain = torch.autograd.grad((want * weight).sum(), (a, b))
    torch.testing.assert_close(ours, plain)


def test_lattice_gradient_of_the_table_counts_displacements() -> None:
    lattice = Lattice(2, 2)
    table = torch.rand(5, 5, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    one = torch.ones(3, dtype=torch.float64)
    lattice_sum(lattice, [(x, x)], [LatticePart(table, one, one)]).sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    torch.testing.assert_close(table.grad.sum(), torch.tensor(9.0, dtype=torch.float64))
    assert float(table.grad[2, 2]) == 3.0


def test_positive_numbers_keep_their_prior() -> None:
    numbers = PositiveNumbers({"length": (2.0, 0.5), "amplitude": (3.0, 1.0)})
    assert float(numbers.log_prior().detach()) == 0.0
    numbers.set({"length": 2.0 * torch.e**0.5})
    assert float(numbers.log_prior().detach()) == pytest.approx(-0.5)
    with pytest.raises(DataError, match="positive"):
        PositiveNumbers({"length": (0.0, 1.0)})


def test_points_must_fit_the_space() -> None:
    with pytest.raises(ShapeError, match="points"):
        GaussianProcess(Space("f", {"x": 4}), torch.zeros(3, 1), Matern([1.0]))
