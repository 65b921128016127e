"""A sampler in the few directions that the data see, the prior in all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import Method
from posteriori.core.operator import Compose, TorchOperator
from posteriori.core.posterior import DRAWS
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.inference.gauss_newton import Linearised, gaussian_prior_of, most_likely
from posteriori.inference.hmc import HMC
from posteriori.inference.informed import Informed, informed_directions
from posteriori.inference.low_rank_laplace import SharpenedCovariance
from posteriori.inference.problems import growth


@dataclass(frozen=True)
class ReducedBasis:
    """``method`` (HMC, Stein, Laplace …) on the coefficients of the ``rank`` best-informed directions.

    m = centre + V c + complement: c is standard normal before the data, and the complement keeps the prior's law. The
    directions are those of the Gauss-Newton curvature at the mode, averaged with ``points`` draws of the Laplace law
    there when the curvature changes over the posterior.

    Args:
        method: answers the question of c, a standard normal vector of ``rank`` numbers.
        rank: number of directions.
        points: draws beside the mode at which directions are sought.
        steps: most Gauss-Newton steps to the mode.
        tolerance: the mode is reached where a whole step promises less [nat].

    Reference: Cui, Martin, Marzouk, Solonen & Spantini (2014), Likelihood-informed dimension reduction for nonlinear
    inverse problems, Inverse Problems 30, 114015; Chen & Ghattas (2020), Projected Stein variational gradient descent,
    NeurIPS 33.
    """

    method: Method = field(default_factory=lambda: HMC(draws=250, warmup=300, dense=True))
    rank: int = 16
    points: int = 0
    steps: int = 50
    tolerance: float = 1e-6

    bias: ClassVar[str] = (
        "What the data say outside the chosen directions is not heard: too wide there; inside as right as its method."
    )
    references: ClassVar[tuple[str, ...]] = (
        "Cui, Martin, Marzouk, Solonen & Spantini (2014), Likelihood-informed dimension reduction for nonlinear "
        "inverse problems, Inverse Problems 30, 114015.",
        "Chen & Ghattas (2020), Projected Stein variational gradient descent, NeurIPS 33.",
    )

    def __post_init__(self) -> None:
        if self.rank < 1 or self.points < 0:
            raise OptionError(f"rank {self.rank} must be at least 1 and points {self.points} not negative.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """The rows of the inner answer, lifted, each with a complement of its own.

        Raises:
            UnanswerableError: no Inverse with a Gaussian prior, or no mode is found.
        """
        inverse, prior = gaussian_prior_of(target, "ReducedBasis")
        lift = self.lift(inverse, context)
        answer = self.method(_reduced(inverse, lift), context.child("inner"))
        if not isinstance(answer, Draws):
            rows = answer.sample(DRAWS, context.rng.child("rows"))
            answer = Draws(lift.domain, rows, problems=answer.problems)
        c = answer.values
        shape = c.shape[:-1]
        with torch.no_grad():
            wide = prior.covariance.sample(shape.numel(), context.rng.child("complement")).reshape(*shape, -1).to(c)
            complement = wide - lift.informed.combine(lift.informed.coefficients(wide))
            values = inverse.space.unflat(inverse.space.flat(lift(c)) + complement)
        return Draws(
            inverse.space,
            values,
            answer.log_weights,
            chains=answer.chains,
            problems=inverse.problems,
            stats=answer.stats,
        )

    def lift(self, target: Inverse, context: Context) -> Lift:
        """The map from coefficients to the unknown, for a question without gaps."""
        inverse, prior = gaussian_prior_of(target, "ReducedBasis")
        k, space = prior.covariance, inverse.space
        rng = context.rng.child("directions")
        with torch.no_grad():
            mode = most_likely(inverse, prior, steps=self.steps, tolerance=self.tolerance, progress=context.progress)
            found = informed_directions([Linearised(inverse, mode.x)], k, self.rank, rng)
            if self.points:
                shape = torch.Size((self.points, *inverse.batch))
                law = SharpenedCovariance(k, found)
                near = mode.x + law.sample(shape.numel(), rng.child("points")).reshape(*shape, -1)
                points = [Linearised(inverse, x) for x in (mode.x, *near)]
                found = informed_directions(points, k, self.rank, rng.child("again"))
            away = mode.x - space.flat(prior.location).to(mode.x)
            centre = mode.x - found.combine(found.coefficients(away))
        return Lift(space, centre, found)

    @staticmethod
    def example() -> tuple[ReducedBasis, Inverse]:
        """All three directions of a mildly nonlinear question."""
        return ReducedBasis(HMC(draws=200, warmup=150, dense=True), rank=3), growth()


class Lift(TorchOperator):
    """centre + V c: from coefficients (*problem, k) to the unknown.

    Args:
        codomain: the Space of the unknown.
        centre: flat, (*problem, n).
        informed: the directions V.
    """

    def __init__(self, codomain: Space, centre: Tensor, informed: Informed) -> None:
        super().__init__()
        self.domain = Space("coefficient", {"direction": len(informed.primal)})
        self.codomain = codomain
        self.linear = centre.ndim == 1
        for name, tensor in (
            ("centre", centre),
            ("values", informed.values),
            ("primal", informed.primal),
            ("dual", informed.dual),
        ):
            self.register_buffer(name, tensor)
        self.centre: Tensor
        self.values: Tensor
        self.primal: Tensor
        self.dual: Tensor

    @property
    def informed(self) -> Informed:
        """The directions."""
        return Informed(self.values, self.primal, self.dual)

    def forward(self, m: Tensor) -> Tensor:
        """centre + Σ c v."""
        flat = self.centre.to(m.dtype) + torch.einsum("...k,k...n->...n", m, self.primal.to(m.dtype))
        return self.codomain.unflat(flat)

    @staticmethod
    def example() -> Lift:
        """Two directions among four cells."""
        primal = torch.tensor([[1.0, 0.5, 0.0, -1.0], [0.0, 1.0, 2.0, 0.3]], dtype=torch.float64)
        centre = torch.ones(4, dtype=torch.float64)
        values = torch.tensor([2.0, 1.0], dtype=torch.float64)
        return Lift(Space("m", {"x": 4}), centre, Informed(values, primal, primal))


def _reduced(target: Inverse, lift: Lift) -> Inverse:
    """The question of the coefficients."""
    ones = torch.ones(lift.domain.size, dtype=lift.centre.dtype, device=lift.centre.device)
    prior = Gaussian(lift.domain, torch.zeros_like(ones), DiagonalCovariance(ones))
    fewer = Inverse(Compose(target.operator, lift), prior, target.data, target.noise)
    fewer.problems = target.problems
    return fewer
