"""Exact answers to linear-Gaussian questions, by one dense Cholesky factor."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Any, ClassVar

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.covariance import ConditionedCovariance, cholesky
from posteriori.core.errors import UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import Operator, Selection
from posteriori.core.prior import GaussianLaw
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.problems import regression


@dataclass(frozen=True)
class Exact:
    """The posterior of ``d = J m + b + e`` with m and e Gaussian, in closed form.

    With K the prior covariance, R the noise covariance and S = J K Jᵀ + R (m, m):
    mean μ + K Jᵀ S⁻¹ (d - J μ - b), covariance K - K Jᵀ S⁻¹ J K, evidence N(d; J μ + b, S).
    Many data sets (problem dims) share one factor of S.

    Reference: Tarantola (2005), Inverse Problem Theory, SIAM, section 3.2.
    """

    references: ClassVar[tuple[str, ...]] = ("Tarantola (2005), Inverse Problem Theory, SIAM, section 3.2.",)

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The Gaussian posterior; its covariance stays structured."""
        inverse, prior = linear_gaussian(target, "Exact")
        with torch.no_grad():
            s, residual = evidence_parts(inverse, prior)
            factor = cholesky(s)
            alpha = torch.cholesky_solve(residual.mT, factor).mT
            pull = alpha.reshape(*inverse.batch, len(factor))
            operator = inverse.operator
            shift = pushed(prior, operator, pull)
            covariance = ConditionedCovariance(prior.covariance, operator, factor)
            evidence = log_normal(factor, residual, alpha).reshape(inverse.batch)
            location = prior.location + operator.domain.unflat(shift)
        return Gaussian(inverse.space, location, covariance, problems=inverse.problems, log_evidence=evidence)

    def log_evidence(self, target: Target) -> Tensor:
        """log N(d; J μ + b, S), float64 (*problem,), differentiable in every learnt part."""
        inverse, prior = linear_gaussian(target, "Exact")
        return _LogNormal.apply(*evidence_parts(inverse, prior)).reshape(inverse.batch)  # type: ignore[no-untyped-call]

    @staticmethod
    def example() -> tuple[Exact, Inverse]:
        """A method with a small question that it answers exactly."""
        return Exact(), regression()


def linear_gaussian(target: Target, who: str) -> tuple[Inverse, GaussianLaw]:
    """A question with a linear operator and a Gaussian prior, gaps in the data left out, and that prior.

    Raises:
        UnanswerableError: it is of another kind; the message says which part and what to use.
    """
    if not isinstance(target, Inverse):
        raise UnanswerableError(f"{who} answers Inverse targets, not {type(target).__name__}; use HMC.")
    if not target.operator.linear:
        raise UnanswerableError(f"{who} needs a linear operator; {target.operator} is not: use Laplace or HMC.")
    if not isinstance(target.prior, GaussianLaw):
        raise UnanswerableError(f"{who} needs a Gaussian prior, not {type(target.prior).__name__}: use HMC.")
    if not isinstance(target.noise, (Normal, CorrelatedNoise)):
        raise UnanswerableError(f"{who} needs Gaussian noise, not {type(target.noise).__name__}: use Laplace or HMC.")
    return target.seen(), target.prior


def pushed(prior: GaussianLaw, operator: Operator, pull: Tensor) -> Tensor:
    """K Jᵀ α, (*problem, n)."""
    if isinstance(operator, Selection):
        return pull @ prior.covariance.across(operator)
    return prior.covariance.matmul(operator.domain.flat(operator.adjoint(operator.codomain.unflat(pull))))


def evidence_parts(target: Inverse, prior: GaussianLaw) -> tuple[Tensor, Tensor]:
    """S (m, m) and the residuals d - J μ - b (problems, m)."""
    operator = target.operator
    m = operator.codomain.size
    memory.require(4 * 8 * m**2, f"a covariance of {m} data", "use ConjugateGradients, or fewer data")
    s = prior.covariance.under(operator)
    residual = operator.codomain.flat(target.data - operator(prior.location)).reshape(-1, m)
    return s + noise_matrix(target.noise, m).to(s), residual.to(s)


def noise_matrix(noise: Noise, m: int) -> Tensor:
    """R (m, m) of a Gaussian noise."""
    if isinstance(noise, CorrelatedNoise):
        return noise.matrix()
    assert isinstance(noise, Normal)
    return torch.diag(noise.variance(m))


class _LogNormal(torch.autograd.Function):
    """log N(residual; 0, S), (problems,), from S (m, m) and residuals (problems, m).

    The derivative in S is ½ (α αᵀ - S⁻¹) with α = S⁻¹ residual: one inverse from the factor at hand, several times
    cheaper than going back through the factorisation.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, residual: Tensor) -> Tensor:
        factor = cholesky(s)
        alpha = torch.cholesky_solve(residual.mT, factor).mT
        ctx.save_for_backward(factor, alpha)
        return log_normal(factor, residual, alpha)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        factor, alpha = ctx.saved_tensors
        inverse = torch.cholesky_inverse(factor)
        return 0.5 * (alpha.mT @ (g[:, None] * alpha) - g.sum() * inverse), -g[:, None] * alpha


def log_normal(factor: Tensor, residual: Tensor, alpha: Tensor) -> Tensor:
    """log N(residual; 0, L Lᵀ) with α = S⁻¹ residual at hand, float64 (problems,)."""
    constant = factor.diagonal().log().sum() + 0.5 * len(factor) * log(2 * pi)
    return (-0.5 * (residual * alpha).sum(-1) - constant).double()
