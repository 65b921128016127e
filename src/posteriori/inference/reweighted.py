"""Heavy-tailed data errors in an otherwise Gaussian question, by factors on their variances."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.algebra import Identity
from posteriori.core.correlated import HasScales, Multivariate
from posteriori.core.covariance import cholesky
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.inference.exact import Exact, evidence_parts, linear_gaussian, noise_matrix
from posteriori.inference.marginal_likelihood import MarginalLikelihood
from posteriori.learn.gp import GaussianProcess
from posteriori.learn.kernels import Matern


@dataclass(frozen=True)
class Reweighted:
    """Student-t errors as Gaussian ones whose variances are scaled, datum by datum, by expectation-maximisation.

    A t error of ν degrees of freedom is Gaussian given its scale λ; the expected 1/λ under the posterior of the error
    ε gives λ = (ν + E[ε²]/s²) / (ν + 1). Wrong entries get a large λ and lose their pull. The learnt numbers of the
    target are fitted first with all λ = 1, then again after the factors are known.

    Args:
        first, again: how the numbers are fitted before and after.
        degrees: ν.
        rounds: updates of λ.

    Reference: Lange, Little & Taylor (1989), Robust statistical modeling using the t distribution, JASA 84, 881.
    """

    first: MarginalLikelihood
    again: MarginalLikelihood
    degrees: float = 4.0
    rounds: int = 2

    references: ClassVar[tuple[str, ...]] = (
        "Lange, Little & Taylor (1989), Robust statistical modeling using the t distribution, JASA 84, 881.",
    )

    def __post_init__(self) -> None:
        if not self.degrees > 0 or self.rounds < 1:
            raise OptionError(f"degrees {self.degrees} must be positive and rounds {self.rounds} at least one.")

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The exact posterior under the fitted numbers and factors."""
        return Exact()(self.fit(target, context), context)

    def fit(self, target: Target, context: Context | None = None) -> Inverse:
        """A copy of the target with fitted numbers and factors.

        Raises:
            UnanswerableError: the noise carries no factors, or the question is not linear-Gaussian given them.
        """
        context = context or Context()
        fitted = self.first.fit(target, context.child("first"))
        for _ in range(self.rounds):
            fitted = with_student_scales(fitted, self.degrees)
        again = self.again.fit(fitted, context.child("again"))
        assert isinstance(again, Inverse)
        return again

    @staticmethod
    def example() -> tuple[Reweighted, Inverse]:
        """Ten values along a line, the fourth of which is wrong."""
        points = torch.linspace(0, 1, 10, dtype=torch.float64)[:, None]
        space = Space("f", {"x": 10})
        values = (3 * points[:, 0]).sin()
        values[3] += 2.0
        noise = Multivariate(0.01 * torch.eye(10, dtype=torch.float64))
        target = Inverse(Identity(space), GaussianProcess(space, points, Matern([0.5], spread=0.1)), values, noise)
        return Reweighted(MarginalLikelihood(Exact(), steps=8), MarginalLikelihood(Exact(), steps=8)), target


@torch.no_grad()
def with_student_scales(target: Target, degrees: float) -> Inverse:
    """One update of the factors of the target's noise."""
    inverse, prior = linear_gaussian(target, "Reweighted")
    noise = inverse.noise
    if not isinstance(noise, HasScales):
        raise UnanswerableError(f"{type(noise).__name__} has no factors to learn; use a noise with scales, or HMC.")
    if inverse.batch:
        raise UnanswerableError("the factors belong to one data set; answer the problems one by one.")
    s, residual = evidence_parts(inverse, prior)
    factor = cholesky(s)
    r = noise_matrix(noise, len(s)).to(s)
    alpha = torch.cholesky_solve(residual.mT, factor)[:, 0]
    shrunk = torch.linalg.solve_triangular(factor, r, upper=False).square().sum(0)
    expected: Tensor = (r @ alpha).square() + r.diagonal() - shrunk
    scales = (degrees + expected * noise.scales / r.diagonal()) / (degrees + 1)
    other = copy(inverse)
    other._modules = {**inverse._modules, "noise": noise.with_scales(scales)}
    return other
