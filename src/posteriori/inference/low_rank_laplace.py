"""A Gaussian at the mode for large inverse problems: the prior's covariance less what the data take from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import Covariance, frozen
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse, Target
from posteriori.inference.gauss_newton import Linearised, gaussian_prior_of, most_likely
from posteriori.inference.informed import Informed, informed_directions
from posteriori.inference.problems import growth


@dataclass(frozen=True)
class LowRankLaplace:
    """N(mode, K - V diag(λ / (1 + λ)) Vᵀ) from products of J, Jᵀ and K; no matrix of cells × cells is ever made.

    (λ, V) are the ``rank`` leading eigenpairs of the Gauss-Newton curvature against the prior's. For linear operators
    under Gaussian noise the answer is that of ``Exact`` once ``rank`` reaches the number of data; below, no variance is
    too large by more than the share λ_next / (1 + λ_next) of the prior's (``posterior.covariance.left_out``), and none
    too small but by what the last directions, which the iterations find least well, are off. The evidence is
    -misfit - ½ aᵀ K a - ½ Σ log (1 + λ).

    Args:
        rank: most directions in which the data may sharpen the prior.
        steps: most Gauss-Newton steps to the mode.
        inner: most products in each of them.
        tolerance: the mode is reached where a whole step promises less [nat].

    Reference: Bui-Thanh, Ghattas, Martin & Stadler (2013), A computational framework for infinite-dimensional Bayesian
    inverse problems, SIAM J. Sci. Comput. 35, A2494; Spantini et al. (2015), Optimal low-rank approximations of
    Bayesian linear inverse problems, SIAM J. Sci. Comput. 37, A2451.
    """

    rank: int = 64
    steps: int = 50
    inner: int = 200
    tolerance: float = 1e-10

    bias: ClassVar[str] = (
        "Exact for linear operators up to its rank; elsewhere skewness, several modes and the operator's bend over the "
        "width of the posterior are not seen, and the spread is usually too small."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Bui-Thanh, Ghattas, Martin & Stadler (2013), A computational framework for infinite-dimensional Bayesian "
        "inverse problems, SIAM J. Sci. Comput. 35, A2494.",
        "Spantini et al. (2015), Optimal low-rank approximations of Bayesian linear inverse problems, SIAM J. Sci. "
        "Comput. 37, A2451.",
    )

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise OptionError(f"rank {self.rank} leaves the prior as it is; give one direction or more.")

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The Gaussian at the mode; several problems have their own directions each.

        Raises:
            UnanswerableError: no Inverse with a Gaussian prior, or no mode is found.
        """
        inverse, prior = gaussian_prior_of(target, "LowRankLaplace")
        k = prior.covariance
        with torch.no_grad():
            mode = most_likely(inverse, prior, None, self.steps, self.inner, self.tolerance, progress=context.progress)
            found = informed_directions([Linearised(inverse, mode.x)], k, self.rank, context.rng.child("directions"))
            evidence = -mode.energy - 0.5 * found.values.log1p().sum(-1)
        covariance = SharpenedCovariance(k, found)
        location = inverse.space.unflat(mode.x)
        return Gaussian(inverse.space, location, covariance, problems=inverse.problems, log_evidence=evidence)

    @staticmethod
    def example() -> tuple[LowRankLaplace, Inverse]:
        """A nonlinear question of a few cells, all of them seen."""
        return LowRankLaplace(rank=3), growth()


class SharpenedCovariance(Covariance):
    """K - V diag(λ / (1 + λ)) Vᵀ of :class:`Informed` directions; one for each problem, where they have several.

    With problems, ``sample(n)`` gives ``n`` rows that belong to the problems in turn.
    """

    def __init__(self, prior: Covariance, informed: Informed) -> None:
        super().__init__()
        self.prior = frozen(prior)
        self.size = prior.size
        self.register_buffer("values", informed.values)
        self.register_buffer("primal", informed.primal)
        self.register_buffer("dual", informed.dual)
        self.values: Tensor
        self.primal: Tensor
        self.dual: Tensor

    @property
    def like(self) -> Tensor:
        return self.primal

    @property
    def informed(self) -> Informed:
        """The directions and their information."""
        return Informed(self.values, self.primal, self.dual)

    @property
    def left_out(self) -> Tensor:
        """λ / (1 + λ) of the last direction, (*problem,): what the next ones could take of a variance, at most."""
        return self.values[..., -1] / (1 + self.values[..., -1])

    @property
    def taken(self) -> Tensor:
        """λ / (1 + λ), (*problem, k)."""
        return (self.values / (1 + self.values)).to(self.primal.dtype)

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        v = self.primal.movedim(0, -1)
        removed = (v[..., rows, :] * self.taken[..., None, :]) @ v[..., columns, :].mT
        return self.prior.block(rows, columns).to(removed.dtype) - removed

    def diagonal(self) -> Tensor:
        removed = (self.primal.square() * self.taken.movedim(-1, 0)[..., None]).sum(0)
        return (self.prior.diagonal().to(removed.dtype) - removed).clamp_min(0.0)

    def matmul(self, v: Tensor) -> Tensor:
        c = torch.einsum("...n,k...n->...k", v, self.primal)
        return self.prior.matmul(v) - self.informed.combine(self.taken * c)

    def sample(self, n: int, rng: Rng) -> Tensor:
        problems = self.primal.shape[1:-1]
        wide = self.prior.sample(n, rng).to(self.primal).reshape(n // problems.numel(), *problems, self.size)
        shrink = (1 + self.values).rsqrt().to(self.primal.dtype) - 1
        return (wide + self.informed.combine(shrink * self.informed.coefficients(wide))).reshape(n, self.size)
