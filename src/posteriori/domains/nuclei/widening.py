"""How much wider than it says a law of masses is, learnt from what the next evaluation measured."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from posteriori.core.covariance import ScaledCovariance, SumCovariance, cholesky
from posteriori.core.gaussian import Gaussian
from posteriori.domains.nuclei.chart import points
from posteriori.learn.gp import KernelCovariance
from posteriori.learn.kernels import Matern, matern52

FIRST = {"scale": 1.0, "common": 0.5, "length": 12.0}
SPREAD = {"scale": 0.5, "common": 1.0, "length": 0.7}


@dataclass(frozen=True)
class Widening:
    """Σ → scale² Σ + common² s sᵀ ∘ M(distance / length), s the standard deviations of Σ, M the Matérn-5/2 law.

    The first part stretches every error alike. The second is an error that neighbours share, as large as the law's own
    spread allows: it grows with the distance from the known region and leaves differences of neighbours nearly alone.

    Attributes:
        scale, common: pure numbers.
        length: [nucleons].
    """

    scale: float = 1.0
    common: float = 0.0
    length: float = FIRST["length"]

    def __call__(self, law: Gaussian) -> Gaussian:
        """``law`` with the wider covariance, as structured as it was; its mean stays."""
        s = law.covariance.diagonal().sqrt()
        shared = KernelCovariance(Matern([self.length, self.length]), points(law.space))
        covariance = SumCovariance(
            ScaledCovariance(law.covariance, torch.tensor(self.scale, dtype=torch.float64)),
            ScaledCovariance(shared, self.common * s),
        )
        wider = Gaussian(law.space, law.location, covariance, problems=law.problems)
        wider.run = law.run
        return wider

    @staticmethod
    def learnt(law: Gaussian, masses: Tensor, sigma: Tensor) -> Widening:
        """The widening under which the later ``masses`` (n,) [keV] with errors ``sigma`` are most likely, jointly.

        Each number has a log-normal prior (median and spread in FIRST and SPREAD), so that few masses cannot run away.
        """
        covariance, where = law.dense().matrix, points(law.space)
        error, own = masses - law.location, torch.diag(sigma.square())
        start, spread = (np.array(list(d.values())) for d in ({k: log(v) for k, v in FIRST.items()}, SPREAD))

        def loss(x: np.ndarray) -> float:
            factor = cholesky(_widened(covariance, where, *np.exp(x)) + own)
            white = torch.linalg.solve_triangular(factor, error[:, None], upper=False)
            fit = 0.5 * white.square().sum() + factor.diagonal().log().sum()
            return float(fit) + 0.5 * float((((x - start) / spread) ** 2).sum())

        found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 0.01, "fatol": 0.01, "maxiter": 300})
        scale, common, length = (exp(v) for v in found.x)
        return Widening(scale, common, length)


def _widened(covariance: Tensor, where: Tensor, scale: float, common: float, length: float) -> Tensor:
    s = covariance.diagonal().sqrt()
    return scale**2 * covariance + (common * s)[:, None] * (common * s) * matern52(torch.cdist(where, where) / length)
