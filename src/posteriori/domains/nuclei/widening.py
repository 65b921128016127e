"""How much wider than it says a law of masses is, learnt from what the next evaluation measured."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, norm
from torch import Tensor

from posteriori.core.covariance import ScaledCovariance, SumCovariance, cholesky
from posteriori.core.gaussian import Gaussian
from posteriori.domains.nuclei.chart import points
from posteriori.learn.gp import KernelCovariance
from posteriori.learn.kernels import Matern, matern52

LEVEL = 0.9
"""Of the intervals that are tested."""
FALSE_ALARM = 0.01
"""Chance that a law which is right gets widened."""
LENGTHS = (4.0, 60.0)
"""Shortest and longest reach [nucleons] of the common error."""


@dataclass(frozen=True)
class Widening:
    """Σ → Σ + common² s sᵀ ∘ M(distance / length), s the standard deviations of Σ, M the Matérn-5/2 correlation.

    An error that neighbours share, as large as the law's own spread allows: it grows with the distance from the known
    region, and leaves differences of neighbours nearly alone.

    Attributes:
        common: a pure number; 0 widens nothing.
        length: [nucleons].
    """

    common: float = 0.0
    length: float = 12.0

    def __call__(self, law: Gaussian) -> Gaussian:
        """``law`` with the wider covariance, as structured as it was; its mean stays."""
        if self.common == 0:
            return law
        s = law.covariance.diagonal().sqrt()
        kernel = Matern([self.length, self.length]).requires_grad_(False)
        shared = KernelCovariance(kernel, points(law.space))
        covariance = SumCovariance(law.covariance, ScaledCovariance(shared, self.common * s))
        wider = Gaussian(law.space, law.location, covariance, problems=law.problems)
        wider.run = law.run
        return wider

    @staticmethod
    def learnt(law: Gaussian, masses: Tensor, sigma: Tensor) -> Widening:
        """None where ``masses`` (n,) [keV] with errors ``sigma`` do not speak against ``law``; else what they ask for.

        Whitened by the law, the errors are independent standard normals if it is right; it stands unless fewer of them
        lie in the central 90 % than a binomial law allows (at 1 %), a test that a few wild values do not decide. For
        each length, ``common`` is where the mean z² is one; the length is the one under which the masses are most
        likely, jointly.
        """
        covariance, distance = law.dense().matrix, torch.cdist(points(law.space), points(law.space))
        error, own = masses - law.location, torch.diag(sigma.square())
        inside = int((_white(covariance + own, error)[0].abs() < norm.ppf(0.5 + LEVEL / 2)).sum())
        if binom.cdf(inside, len(error), LEVEL) > FALSE_ALARM:
            return Widening()
        variance = covariance.diagonal()
        if float((error.square() / (variance + sigma.square())).mean()) <= 1:
            return Widening()

        def excess(common: float) -> float:
            return float((error.square() / ((1 + common**2) * variance + sigma.square())).mean()) - 1

        common = float(brentq(excess, 0.0, 100.0))
        s = common * variance.sqrt()

        def loss(log_length: float) -> float:
            shared = s[:, None] * s * matern52(distance / exp(log_length))
            white, factor = _white(covariance + own + shared, error)
            return float(0.5 * white.square().sum() + factor.diagonal().log().sum())

        bounds = tuple(log(length) for length in LENGTHS)
        return Widening(common, exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _white(covariance: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    factor = cholesky(covariance)
    return torch.linalg.solve_triangular(factor, error[:, None], upper=False)[:, 0], factor
