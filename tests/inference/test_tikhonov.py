"""Damped least squares against the dense textbook answer; every choice of strength against brute force."""

from __future__ import annotations

from math import log, pi
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from posteriori import Gaussian, Inverse, Mixture, Rng, Space, infer
from posteriori.audit.repeats import credible
from posteriori.audit.report import Report
from posteriori.core.algebra import Dense
from posteriori.core.correlated import Multivariate
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.noise import Normal, Student
from posteriori.inference.averaged_strength import AveragedStrength
from posteriori.inference.conjugate_gradients import ConjugateGradients
from posteriori.inference.damping import Discrepancy, Fixed, GeneralisedCrossValidation, LCurve, MaximumEvidence
from posteriori.inference.exact import Exact
from posteriori.inference.laplace import Laplace
from posteriori.inference.tikhonov import Tikhonov, taken_apart
from posteriori.learn.penalty import Penalty, roughness
from posteriori.learn.smoothness import Smoothness
from posteriori.testing.reference import closed_form

CHOICES = [GeneralisedCrossValidation(), LCurve(), Discrepancy(), MaximumEvidence()]
NAMES = ["gcv", "l-curve", "discrepancy", "evidence"]


def blur(cells: int = 24, data: int = 30, sigma: float = 0.02) -> tuple[Dense, Tensor]:
    """Data that are smoothed, unequally precise pictures of a line, and their standard deviations."""
    x, s = torch.linspace(0, 1, cells).double(), torch.linspace(-0.05, 1.05, data).double()
    matrix = torch.exp(-0.5 * ((s[:, None] - x) / 0.06).square()) * 2 / cells
    space = Space("m", {"x": 100.0 * x.numpy() ** 1.3}, "m")
    offset = torch.linspace(0, 0.1, data).double()
    return Dense(space, Space("d", {"station": data}), matrix, offset), sigma * torch.linspace(0.5, 2.0, data).double()


def question(prior: Any, problems: int = 4, data: int = 30) -> Inverse:
    operator, sigma = blur(data=data)
    truth = Smoothness(operator.domain, 1.0, 12.0, mean=0.5).sample(problems, Rng(1))
    d = operator(truth) + sigma * Rng(2).normal((problems, data))
    return Inverse(operator, prior(operator.domain), d, Normal(sigma))


def dense(target: Inverse, charge: Tensor, mean: float, strength: float) -> tuple[Tensor, Tensor]:
    """Mean (problems, n) and covariance (n, n) by the normal equations, in 40 digits."""
    with mpmath.workdps(40):
        j, q = (mpmath.matrix(x.tolist()) for x in (target.operator.matrix, charge))  # type: ignore[union-attr]
        weights = mpmath.diag([1 / mpmath.mpf(s) ** 2 for s in target.noise.sigma.tolist()])  # type: ignore[union-attr]
        covariance = (j.T * weights * j + strength * q) ** -1
        expected = mpmath.matrix([mean] * j.cols)
        residuals = (target.data - target.operator.constant).T.tolist()  # type: ignore[operator]
        moved = covariance * j.T * weights * (mpmath.matrix(residuals) - j * expected * mpmath.ones(1, 4))
        means = (moved + expected * mpmath.ones(1, 4)).T
        return _tensor(means), _tensor(covariance)


def _tensor(matrix: Any) -> Tensor:
    return torch.tensor([[float(v) for v in row] for row in matrix.tolist()], dtype=torch.float64)


@pytest.mark.parametrize("data", [15, 30])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_mean_and_covariance_are_the_textbook_answer(order: int, data: int) -> None:
    """To 1e-8 posterior standard deviations, proper or not, fewer or more data than cells."""
    target = question(lambda space: roughness(space, order, mean=0.3), data=data)
    strength = {0: 1.0, 1: 30.0, 2: 1e3}[order]
    rows = target.prior.rows()  # type: ignore[union-attr]
    mean, covariance = dense(target, rows.mT @ rows, 0.3, strength)
    found = infer(target, Tikhonov(Fixed(strength)))
    std = covariance.diagonal().sqrt()
    assert float(((found.center() - mean).abs() / std).max()) < 1e-8
    block = found.covariance_between(torch.arange(24))
    assert float(((block - covariance).abs() / (std[:, None] * std)).max()) < 1e-8


@pytest.mark.parametrize("method", [Tikhonov(Fixed()), Exact(), ConjugateGradients()], ids=lambda m: type(m).__name__)
def test_a_gaussian_prior_as_it_is_gives_the_exact_posterior(method: Any) -> None:
    """Mean, covariance and evidence to 1e-8 against the closed form from the unknown's side."""
    target = question(lambda space: Smoothness(space, 1.0, 12.0, mean=0.5).requires_grad_(False))
    truth, found = closed_form(target), infer(target, method)
    std = truth.covariance.diagonal().sqrt()
    assert float(((found.center() - truth.mean).abs() / std).max()) < 1e-8
    block = found.covariance_between(torch.arange(24))
    assert float(((block - truth.covariance).abs() / (std[:, None] * std)).max()) < 1e-8
    if not isinstance(method, ConjugateGradients):
        torch.testing.assert_close(found.log_evidence, truth.log_evidence, rtol=1e-8, atol=1e-8)


def test_a_strength_of_its_own_for_each_problem_changes_its_law_alone() -> None:
    target = question(lambda space: Smoothness(space, 1.0, 12.0).requires_grad_(False))
    method = Tikhonov(MaximumEvidence())
    strength, found = method.strength(target), infer(target, method)
    assert len(strength.unique()) == 4
    for i in range(4):
        prior = Smoothness(target.space, float(strength[i]) ** -0.5, 12.0)
        alone = infer(Inverse(target.operator, prior, target.data[i], target.noise), Exact())
        torch.testing.assert_close(found.center()[i], alone.center(), rtol=0, atol=1e-9)
        torch.testing.assert_close(found.spread()[i], alone.spread(), rtol=0, atol=1e-9)
        assert found.log_evidence is not None
        assert float(found.log_evidence[i]) == pytest.approx(float(alone.log_evidence), abs=1e-7)  # type: ignore[arg-type]


def scores(target: Inverse, i: int, charge: np.ndarray, name: str) -> Any:
    """What a choice makes least, of log λ, from dense matrices alone."""
    sigma = target.noise.sigma.numpy()  # type: ignore[union-attr]
    j = target.operator.matrix.numpy() / sigma[:, None]  # type: ignore[union-attr]
    mean = np.full(j.shape[1], 0.3)
    d = (target.data[i] - target.operator.constant).numpy() / sigma - j @ mean  # type: ignore[operator]
    m = len(d)

    def solved(t: float) -> tuple[np.ndarray, np.ndarray]:
        inverse = np.linalg.inv(j.T @ j + np.exp(t) * charge)
        return inverse @ j.T @ d, j @ inverse @ j.T

    def norms(t: float) -> tuple[float, float]:
        x, _ = solved(t)
        return log(np.sum((d - j @ x) ** 2)), log(x @ charge @ x)

    def bend(t: float, h: float = 0.02) -> float:
        """Curvature by differences; the corner of an L turns to the left."""
        (a, p), (b, q), (c, r) = norms(t - h), norms(t), norms(t + h)
        x, y, xx, yy = (c - a) / (2 * h), (r - p) / (2 * h), (a - 2 * b + c) / h**2, (p - 2 * q + r) / h**2
        return -float((x * yy - xx * y) / (x**2 + y**2) ** 1.5)

    def gcv(t: float) -> float:
        x, hat = solved(t)
        return float(np.log(m * np.sum((d - j @ x) ** 2) / (m - np.trace(hat)) ** 2))

    def discrepancy(t: float) -> float:
        x, _ = solved(t)
        return float((np.sum((d - j @ x) ** 2) - m) ** 2)

    def evidence(t: float) -> float:
        s = np.eye(m) + j @ np.linalg.inv(np.exp(t) * charge) @ j.T
        return 0.5 * float(d @ np.linalg.solve(s, d) + np.linalg.slogdet(s)[1] + m * log(2 * pi))

    return {"gcv": gcv, "l-curve": bend, "discrepancy": discrepancy, "evidence": evidence}[name]


@pytest.mark.parametrize(("choice", "name"), list(zip(CHOICES, NAMES)), ids=NAMES)
def test_every_choice_is_the_best_by_brute_force(choice: Any, name: str) -> None:
    """No strength of a fine grid is better by dense matrices, and a search from the one found goes nowhere."""
    order = 0 if name == "evidence" else 1
    target = question(lambda space: roughness(space, order, mean=0.3))
    rows = target.prior.rows().numpy()  # type: ignore[union-attr]
    found = Tikhonov(choice).strength(target).log()
    for i in range(4):
        score = scores(target, i, rows.T @ rows, name)
        own = score(float(found[i]))
        tried = [score(t) for t in float(found[i]) + np.linspace(-6, 6, 49)]
        assert own <= min(tried) + 1e-6 + 1e-4 * (max(tried) - min(tried)) * (name == "l-curve")
        near = minimize_scalar(score, bounds=(float(found[i]) - 0.3, float(found[i]) + 0.3), method="bounded")
        assert near.x == pytest.approx(float(found[i]), abs=0.02)


def test_the_evidence_of_a_proper_penalty_is_that_of_the_data() -> None:
    target = question(lambda space: roughness(space, 0, mean=0.3))
    rows = target.prior.rows().numpy()  # type: ignore[union-attr]
    found = infer(target, Tikhonov(Fixed(0.7)))
    assert found.log_evidence is not None
    scale = float(target.noise.sigma.log().sum())  # type: ignore[union-attr]
    for i in range(4):
        wanted = -scores(target, i, rows.T @ rows, "evidence")(log(0.7)) - scale
        assert float(found.log_evidence[i]) == pytest.approx(wanted, abs=1e-8)
    assert infer(question(lambda space: roughness(space, 1)), Tikhonov(Fixed())).log_evidence is None


@pytest.mark.parametrize("choice", CHOICES, ids=NAMES)
def test_problems_at_once_are_answered_as_one_by_one(choice: Any) -> None:
    for prior in (lambda space: roughness(space, 1), lambda space: Smoothness(space, 1.0, 12.0)):
        target = question(prior)
        together = infer(target, Tikhonov(choice))
        alone = infer(target.given(target.data[2]), Tikhonov(choice))
        torch.testing.assert_close(together.center()[2], alone.center(), rtol=0, atol=1e-7)
        torch.testing.assert_close(together.spread()[2], alone.spread(), rtol=1e-6, atol=1e-9)


def test_correlated_noise_is_whitened() -> None:
    operator, sigma = blur()
    near = torch.exp(-(torch.arange(30)[:, None] - torch.arange(30)).abs() / 3.0).double()
    noise = Multivariate(sigma[:, None] * near * sigma)
    prior = Smoothness(operator.domain, 1.0, 12.0)
    data = Rng(3).normal((2, 30))
    target = Inverse(operator, prior, data, noise)
    exact, found = infer(target, Exact()), infer(target, Tikhonov(Fixed()))
    torch.testing.assert_close(found.center(), exact.center(), rtol=0, atol=1e-8)
    torch.testing.assert_close(found.spread(), exact.spread(), rtol=0, atol=1e-8)
    dense_prior = Penalty(
        Dense(
            prior.space,
            Space("w", {"w": 24}),
            torch.linalg.cholesky(torch.linalg.inv(prior.covariance.dense().detach())).mT,
        )
    )
    by_penalty = infer(Inverse(operator, dense_prior, data, noise), Tikhonov(Fixed()))
    torch.testing.assert_close(by_penalty.spread(), exact.spread(), rtol=0, atol=1e-8)


def test_the_penalty_is_a_prior_for_other_methods_too() -> None:
    """Laplace's approximation is exact here, and knows the penalty by its energy alone."""
    target = question(lambda space: roughness(space, 1))
    exact, found = infer(target, Tikhonov(Fixed())), infer(target, Laplace())
    torch.testing.assert_close(found.center(), exact.center(), rtol=0, atol=1e-8)
    torch.testing.assert_close(found.spread(), exact.spread().expand(4, -1), rtol=1e-8, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", [Exact(), ConjugateGradients(), Tikhonov(Fixed())], ids=lambda m: type(m).__name__)
def test_intervals_cover_over_2500_simulated_problems(method: Any) -> None:
    """50 and 90 % intervals hold their share within two points; their own error is below half a point."""
    report = covered(method)
    assert abs(report["coverage50"].value - 0.5) < 0.02
    assert abs(report["coverage90"].value - 0.9) < 0.02


@pytest.mark.slow
def test_a_chosen_strength_costs_coverage_as_its_bias_says() -> None:
    """Thirty data choose the strength: 90 % intervals hold a few points less, with the evidence the least."""
    assert 0.86 < covered(Tikhonov(MaximumEvidence()))["coverage90"].value < 0.9
    assert 0.6 < covered(Tikhonov(GeneralisedCrossValidation()))["coverage90"].value < 0.9


def covered(method: Any) -> Report:
    target = question(lambda space: Smoothness(space, 1.0, 12.0, mean=0.5).requires_grad_(False))
    one = target.given(target.data[0])
    return credible(method, one, problems=2500, levels=(0.5, 0.9), rng=Rng(0), at_once=500)


@pytest.mark.parametrize("proper", [True, False])
def test_the_averaged_strength_has_the_moments_of_the_mixture(proper: bool) -> None:
    """Mean, covariance and evidence by a sum over strengths of exact answers."""
    target = question(
        lambda space: Smoothness(space, 1.0, 12.0).requires_grad_(False) if proper else roughness(space, 1)
    )
    found = infer(target, AveragedStrength(median=2.0, spread=1.5, points=9))
    steps = np.linspace(-5, 5, 9)
    parts = [infer(target, Tikhonov(Fixed(2.0 * float(np.exp(1.5 * s))))) for s in steps]
    filters = taken_apart(target).filters
    before = torch.log_softmax(torch.from_numpy(-0.5 * steps**2), 0)
    strengths = torch.from_numpy(2.0 * np.exp(1.5 * steps))
    together = filters.log_evidence(strengths.expand(4, -1)) + before
    for i in range(4):
        alone = [Gaussian(p.space, p.center()[i], p.covariance) for p in parts]  # type: ignore[attr-defined]
        mixture = Mixture(alone, together[i].softmax(0))
        torch.testing.assert_close(found.center()[i], mixture.center(), rtol=1e-8, atol=1e-8)
        every = torch.arange(24)
        wanted = mixture.covariance_between(every)
        torch.testing.assert_close(found.covariance_between(every)[i], wanted, rtol=1e-7, atol=1e-8)
    if proper:
        evidence = torch.stack([p.log_evidence for p in parts], -1)  # type: ignore[arg-type]
        torch.testing.assert_close(found.log_evidence, (evidence + before).logsumexp(-1))
    else:
        assert found.log_evidence is None


@pytest.mark.slow
def test_intervals_cover_where_the_strength_is_uncertain() -> None:
    """2,000 problems whose log λ ~ N(0, 1): averaged, 50 and 90 % hold within 2 points; plugged in, they hold less."""
    target = question(lambda space: Smoothness(space, 1.0, 12.0, mean=0.5).requires_grad_(False))
    strength = Rng(11).normal((2000,)).exp()
    truth = 0.5 + (target.prior.sample(2000, Rng(12)) - 0.5) * strength.rsqrt()[:, None]  # type: ignore[operator, union-attr]
    noise = target.noise.sigma * Rng(13).normal((2000, 30))  # type: ignore[operator, union-attr]
    many = target.given(target.operator(truth) + noise)
    inside = {}
    for name, method in {"averaged": AveragedStrength(spread=1.0), "chosen": Tikhonov(MaximumEvidence())}.items():
        found = infer(many, method)
        z = (truth - found.center()).abs() / found.spread()
        inside[name] = [float((z < q).double().mean()) for q in (0.6744898, 1.6448536)]
    assert abs(inside["averaged"][0] - 0.5) < 0.02
    assert abs(inside["averaged"][1] - 0.9) < 0.02
    assert inside["chosen"][1] < inside["averaged"][1]


def test_what_has_no_answer_is_refused() -> None:
    operator, sigma = blur()
    flat = torch.zeros(30).double()
    blind = Dense(operator.domain, operator.codomain, operator.matrix - operator.matrix.mean(1, keepdim=True))
    target = Inverse(blind, roughness(operator.domain, 1), flat, Normal(sigma))
    with pytest.raises(UnanswerableError, match="direction of the unknown free"):
        infer(target, Tikhonov())
    target = Inverse(operator, roughness(operator.domain, 1), flat, Student(sigma))
    with pytest.raises(UnanswerableError, match="Gaussian noise"):
        infer(target, Tikhonov())
    with pytest.raises(OptionError, match="positive"):
        Fixed(-1.0)
