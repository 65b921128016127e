"""Singular values, existence, resolution and visible wavelengths against dense matrices, closed forms and laws."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from posteriori import Gaussian, Inverse, Rng, Space, infer
from posteriori.core.algebra import Dense, Identity
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Normal
from posteriori.inference.damping import Fixed
from posteriori.inference.exact import Exact
from posteriori.inference.existence import existence
from posteriori.inference.resolution import resolution, wavelengths
from posteriori.inference.spectrum import Whitened, picard, randomised_system, singular_system
from posteriori.inference.tikhonov import Tikhonov
from posteriori.learn.penalty import Penalty, roughness
from posteriori.learn.smoothness import Smoothness
from posteriori.testing.operators import check_dot

SECTION = Space("m", {"z": 10.0 + 20.0 * np.arange(6), "x": 20.0 * np.arange(10)})


def decaying(m: int = 60, n: int = 80, rate: float = 0.7, seed: int = 0) -> Dense:
    """A matrix with singular values rate^i."""
    u = torch.linalg.qr(Rng(seed).child("u").normal((m, m))).Q
    v = torch.linalg.qr(Rng(seed).child("v").normal((n, n))).Q
    values = rate ** torch.arange(m).double()
    return Dense(Space("m", {"x": n}), Space("d", {"station": m}), (u * values) @ v[:, :m].mT)


def question(data: int = 25, sigma: float = 0.2) -> Inverse:
    """Blurred sums over a section."""
    x = torch.linspace(0, 180, data).double()
    cells = torch.cartesian_prod(torch.from_numpy(SECTION.labels("z")), torch.from_numpy(SECTION.labels("x")))
    matrix = cells[:, 0] / (cells[:, 0].square() + (x[:, None] - cells[:, 1]).square())
    operator = Dense(SECTION, Space("d", {"station": data}), 5 * matrix)
    prior = Smoothness(SECTION, 1.0, {"z": 30.0, "x": 40.0}, mean=2.0).requires_grad_(False)
    return Inverse(operator, prior, torch.zeros(data).double(), Normal(sigma))


def general(target: Inverse) -> Gaussian:
    """The same prior as a dense law."""
    prior = target.prior
    return Gaussian(prior.space, prior.location, DenseCovariance(prior.covariance.dense()))  # type: ignore[union-attr]


def test_singular_values_dense_and_random_are_those_of_the_matrix() -> None:
    operator = decaying()
    dense, random = singular_system(operator), randomised_system(operator, 12, Rng(1))
    wanted = 0.7 ** torch.arange(60).double()
    torch.testing.assert_close(dense.values, wanted, rtol=0, atol=1e-14)
    torch.testing.assert_close(random.values, wanted[:12], rtol=1e-6, atol=0)
    rest = operator.matrix - (random.data * random.values) @ random.model.mT
    found = float(torch.linalg.matrix_norm(rest, 2))
    assert wanted[12] * 0.999 <= found <= random.error < 5 * wanted[12]
    torch.testing.assert_close(random.model.mT @ random.model, torch.eye(12).double())


def test_the_error_of_random_singular_values_is_bounded_where_they_hardly_fall() -> None:
    """Without power rounds on a flat spectrum the values are off; the bound says so, in each of 20 trials."""
    operator = decaying(rate=0.98)
    for seed in range(20):
        system = randomised_system(operator, 5, Rng(seed), extra=2, powers=0)
        off = (system.values - 0.98 ** torch.arange(5).double()).abs().max()
        rest = operator.matrix - (system.data * system.values) @ system.model.mT
        assert 1e-3 < off < float(torch.linalg.matrix_norm(rest, 2)) < system.error < 5
    with pytest.raises(OptionError, match="1 to 60"):
        randomised_system(operator, 61, Rng(0))


def test_white_singular_values_are_signal_over_noise() -> None:
    """Their squares are the eigenvalues of R^-½ J Σ Jᵀ R^-½, and simulated data have Σ(uᵀd)² = 1 + c² each."""
    target = question()
    check_dot(Whitened(target), Rng(0))
    dense = Whitened(Inverse(target.operator, general(target), target.data, target.noise))
    check_dot(dense, Rng(0))
    assert "root" in dict(dense.named_buffers()), "it would stay behind when the module moves to another device"
    system = singular_system(Whitened(target))
    s = target.prior.covariance.under(target.operator) / 0.2**2  # type: ignore[union-attr]
    torch.testing.assert_close(system.values.square().flip(0), torch.linalg.eigvalsh(s), rtol=1e-9, atol=1e-9)
    _, many = target.simulate(4000, Rng(2))
    found = picard(many, system)
    ratio = found.seen.square().mean(0) / (1 + system.values.square())
    assert float((ratio - 1).abs().max()) < 5 * sqrt(2 / 4000)
    assert found.visible == int((system.values > 1).sum())


@pytest.mark.parametrize("proper", [True, False])
def test_p_values_of_existence_are_uniform_where_an_unknown_explains_the_data(proper: bool) -> None:
    """Kolmogorov and Smirnov over 2000 problems, false alarm 1e-3; data from elsewhere are found out."""
    target = question()
    _, many = target.simulate(2000, Rng(3))
    if not proper:
        few = Dense(Space("m", {"x": 4}), many.operator.codomain, Rng(4).normal((25, 4)))
        noise = 0.2 * Rng(5).normal((2000, 25))
        many = Inverse(few, roughness(few.domain, 2), few(Rng(6).normal((2000, 4)) * 100) + noise, Normal(0.2))
    found = existence(many)
    assert kstest(found.p_value.numpy(), "uniform").pvalue > 1e-3
    assert found.degrees == (21 if not proper else int((singular_system(Whitened(target)).values < 0.5).sum()))
    spike = torch.zeros(25).double()
    spike[7] = 2.0
    wrong = existence(many.given(many.data + spike))
    assert float(wrong.doubtful().double().mean()) > 0.9
    assert float(found.doubtful(0.01).double().mean()) < 0.02


def test_existence_is_not_asked_where_everything_can_be_reached() -> None:
    space = Space("m", {"x": 5})
    target = Inverse(Identity(space), roughness(space, 0), torch.zeros(5).double(), 1.0)
    with pytest.raises(UnanswerableError, match="every combination"):
        existence(target)


def test_resolution_is_what_the_method_does_to_a_unit_body() -> None:
    target = question()
    cells = torch.tensor([3, 27, 58])
    bodies = 2.0 + torch.eye(60).double()[cells].reshape(3, 6, 10)
    for strength in (1.0, 7.0):
        found = resolution(target, Fixed(strength))
        moved = infer(target.given(target.operator(bodies)), Tikhonov(Fixed(strength))).center() - 2.0
        torch.testing.assert_close(found.point_spread(cells), moved, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.dense()[:, cells].mT.reshape(3, 6, 10), moved, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.averaging(cells).flatten(1), found.dense()[cells])
        torch.testing.assert_close(found.diagonal().flatten(), found.dense().diagonal())
        assert found.degrees == pytest.approx(float(found.diagonal().sum()))
    exact = infer(target, Exact())
    lost = exact.covariance_between(torch.arange(60)) @ torch.linalg.inv(target.prior.covariance.dense())  # type: ignore[union-attr]
    torch.testing.assert_close(resolution(target).dense(), torch.eye(60).double() - lost, rtol=0, atol=1e-8)


def test_resolution_under_a_penalty_is_the_same_as_under_its_law() -> None:
    target = question()
    law = target.prior
    root = torch.linalg.cholesky(torch.linalg.inv(law.covariance.dense())).mT  # type: ignore[union-attr]
    penalty = Penalty(Dense(SECTION, Space("w", {"w": 60}), root), mean=2.0)
    other = Inverse(target.operator, penalty, target.data, target.noise)
    torch.testing.assert_close(resolution(other).dense(), resolution(target).dense(), rtol=0, atol=1e-8)
    assert resolution(other).degrees == pytest.approx(resolution(target).degrees)


def test_wavelengths_are_the_share_of_variance_that_data_remove() -> None:
    """By dense covariances; where every cell is measured well everything is seen, and the wave numbers are cosines'."""
    target = question()
    found = wavelengths(target)
    i = np.arange(10)
    harmonics = torch.from_numpy(np.cos(pi * np.outer(i, i + 0.5) / 10))
    before = target.prior.covariance.dense()  # type: ignore[union-attr]
    after = infer(target, Exact()).covariance_between(torch.arange(60))
    for depth in (0, 4):
        cells = torch.arange(10) + 10 * depth
        a, b = (torch.einsum("ki,ij,kj->k", harmonics, c[cells][:, cells], harmonics) for c in (after, before))
        torch.testing.assert_close(found.share[depth], 1 - a / b, rtol=0, atol=1e-8)
    wave = 2 * pi / (2 / 20.0 * np.sin(pi * np.arange(1, 10) / 20))
    np.testing.assert_allclose(found.wavelength[1:].numpy(), wave)
    assert float(found.share[0, 3]) > float(found.share[5, 3])
    shortest = found.shortest().tolist()
    assert shortest == sorted(shortest)
    seen = Inverse(Identity(SECTION), target.prior, torch.zeros(SECTION.shape).double(), 1e-3)
    assert float(wavelengths(seen).share.min()) > 0.99
    with pytest.raises(UnanswerableError, match="need a Gaussian prior"):
        wavelengths(target, dim="y")
