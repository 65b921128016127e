"""The exact Gaussian answer, spread in each place by how well the cells observed nearby foretell one another."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from scipy.stats import t as student
from torch import Tensor

from posteriori.core.covariance import DenseCovariance, cholesky
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.prior import GaussianLaw
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target

LARGEST = 16.0
"""A squared leave-one-out residual counts for no more than this."""


@dataclass(frozen=True, eq=False)
class Marginals:
    """What a Gaussian law says of each of the cells ``rest`` alone, given those at ``seen``.

    Attributes:
        seen, rest: flat positions, (m,) and (h,).
        mean, variance: of the rest, (*problem, h) and (h,).
        missed: by how many of its own standard deviations each seen cell differs from what all others of its layer
            foretell, (*problem, m).
    """

    seen: Tensor
    rest: Tensor
    mean: Tensor
    variance: Tensor
    missed: Tensor

    def layer(self, at: int, size: int) -> Marginals:
        """The part that lies in layer ``at`` of ``size`` cells each, positions counted from its first cell."""
        seen, rest = (positions // size == at for positions in (self.seen, self.rest))
        mean, variance, missed = self.mean[..., rest], self.variance[rest], self.missed[..., seen]
        return Marginals(self.seen[seen] % size, self.rest[rest] % size, mean, variance, missed)


@dataclass(frozen=True, eq=False)
class Conditioned(Marginals):
    """That law of the rest together.

    Attributes:
        covariance: of the rest, (h, h).
    """

    covariance: Tensor

    @property
    def alone(self) -> Marginals:
        """The cells one by one, which takes far less memory."""
        return Marginals(self.seen, self.rest, self.mean, self.variance.clone(), self.missed)

    @staticmethod
    def of(
        matrix: Tensor,
        mean: Tensor,
        noise: Tensor | float,
        seen: Tensor,
        rest: Tensor,
        data: Tensor,
        size: int | None = None,
    ) -> Conditioned:
        """Given ``data`` (*problem, m) of cells ``seen`` with errors of variance ``noise`` (a number or (m,)).

        With S = K_oo + noise: mean μ + K_ho S⁻¹ r, covariance K_hh - K_ho S⁻¹ K_oh, and the leave-one-out residual of
        cell i over its standard deviation (S⁻¹ r)_i / √(S⁻¹)_ii. In a stack of layers of ``size`` cells each, S is for
        the residuals that of the cell's own layer.
        """
        s = matrix[seen[:, None], seen]
        s = s + torch.as_tensor(noise, dtype=s.dtype).expand(len(seen)).diag()
        residual = data - mean[seen]
        root = cholesky(s)
        across = matrix[seen[:, None], rest]
        white = torch.linalg.solve_triangular(root, across, upper=False)
        covariance = matrix[rest[:, None], rest] - white.mT @ white
        pull = torch.cholesky_solve(residual[..., None], root)[..., 0]
        missed = torch.empty_like(residual)
        layer = torch.zeros_like(seen) if size is None else seen // size
        for at in torch.unique(layer):
            own = layer == at
            inverse = torch.cholesky_inverse(root if bool(own.all()) else cholesky(s[own][:, own]))
            missed[..., own] = residual[..., own] @ inverse / inverse.diagonal().sqrt()
        return Conditioned(seen, rest, mean[rest] + pull @ across, covariance.diagonal(), missed, covariance)


@dataclass(frozen=True)
class LocalAmplitude:
    """N(μ, C) of the exact answer becomes t_ν(μ, a C a) with an amplitude a for every cell of a grid (y, x).

    a² = factor² (w₀ g + Σ_i w_i z_i²) / (w₀ + Σ_i w_i) with z_i the leave-one-out residuals of the observed cells in
    their standard deviations, w_i = exp(-(d_i/reach)²/2) at distance d_i [cells], and g the mean of all z². Where the
    observed cells foretell one another badly, the gaps between them are given more room. Of a stack of grids
    (layer, y, x) a cell's own layer alone counts; where nothing of it is observed the bracket is 1.

    Args:
        reach: of a residual [cells].
        weight: w₀, how many residuals the mean of all is worth.
        factor: of all standard deviations.
        degrees: ν, of the tails; infinite for a Gaussian.
        members: draws of the answer.

    Raises:
        OptionError: numbers that are not positive, or fewer than two members.

    Reference: Sundararajan & Keerthi (2001), Predictive approaches for choosing hyperparameters in Gaussian processes,
    Neural Computation 13, 1103 (leave-one-out residuals).
    """

    reach: float = 2.0
    weight: float = 3.0
    factor: float = 1.0
    degrees: float = inf
    members: int = 99

    bias: ClassVar[str] = "The amplitude is read from few residuals, so a Gaussian field gets one a little off 1."
    references: ClassVar[tuple[str, ...]] = (
        "Sundararajan & Keerthi (2001), Predictive approaches for choosing hyperparameters in Gaussian processes, "
        "Neural Computation 13, 1103.",
    )

    def __post_init__(self) -> None:
        positive = all(0 < number < inf for number in (self.reach, self.weight, self.factor))
        if not positive or not self.degrees > 2 or self.members < 2:
            raise OptionError(f"{self}: positive numbers, degrees above 2 and two members at least are needed.")

    def __call__(self, target: Target, context: Context) -> Draws:
        """Draws of every cell; those observed vary by the noise alone.

        Raises:
            UnanswerableError: other than cells of a grid, or a stack of grids, observed with normal errors under a
                Gaussian prior.
        """
        inverse, found, *_ = conditioned_cells(target, (2, 3))
        space = inverse.space
        values = self.draw(found, space.shape, context.rng.child("members"))
        return Draws(space, space.unflat(values), problems=inverse.problems)

    def amplitude(self, found: Marginals, shape: tuple[int, ...]) -> Tensor:
        """a of the rest, (*problem, h), of grids of ``shape`` (…, y, x)."""
        z = found.missed.square().clamp_max(LARGEST)
        same, near = _nearness(found.rest, found.seen, shape[-2:], self.reach)
        count = same.sum(-1)
        common = torch.where(count > 0, z @ same.mT / count.clamp_min(1), 1.0)
        return self.factor * ((self.weight * common + z @ near.mT) / (self.weight + near.sum(-1))).sqrt()

    def draw(self, found: Conditioned, shape: tuple[int, ...], rng: Rng) -> Tensor:
        """Members of the rest, (member, *problem, h), of grids of ``shape`` (…, y, x)."""
        batch = found.mean.shape[:-1]
        law = DenseCovariance(found.covariance)
        noise = law.sample(self.members * batch.numel(), rng.child("normal"))
        deviation = self.amplitude(found, shape) * noise.reshape(self.members, *batch, len(found.rest))
        if self.degrees < inf:
            chi2 = 2 * rng.child("tails").numpy.standard_gamma(self.degrees / 2, (self.members, *batch, 1))
            deviation = deviation * torch.from_numpy(self.degrees / chi2).sqrt()
        return found.mean + deviation

    def std(self, found: Marginals, shape: tuple[int, ...]) -> Tensor:
        """Standard deviations of the rest, (*problem, h)."""
        tails = 1.0 if self.degrees == inf else self.degrees / (self.degrees - 2)
        return self.amplitude(found, shape) * (tails * found.variance.clamp_min(0)).sqrt()

    @staticmethod
    def example() -> tuple[LocalAmplitude, Inverse]:
        """A rough field on four by four cells, twelve of which are seen."""
        space = Space("m", {"y": 4, "x": 4})
        at = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
        prior = Gaussian(space, torch.zeros(4, 4, dtype=torch.float64), DenseCovariance((-torch.cdist(at, at)).exp()))
        mask = torch.ones(4, 4, dtype=torch.bool)
        mask[1:3, 1:3] = False
        target = Inverse(Selection.where(space, mask), prior, torch.zeros(12, dtype=torch.float64), Normal(0.1))
        return LocalAmplitude(members=400), target.given(target.simulate(1, Rng(0).child("example"))[1].data[0])


def tails(misses: Tensor, weights: Tensor, level: float = 0.9) -> tuple[float, float]:
    """Factor and degrees of a Student law that is right for ``misses``, errors over standard deviations, (case,).

    The law's central interval of ``level`` holds that share of the cases, and its variance, averaged with ``weights``
    (the squared standard deviations), is that of the errors. Where the errors' tails are lighter than a Gaussian's the
    interval alone decides.
    """
    reached = float(misses.abs().double().quantile(level))
    variance = float((weights * misses.square()).sum() / weights.sum())
    options = torch.cat([torch.linspace(2.5, 8, 56), torch.linspace(8.5, 40, 64)]).double()
    quantile = torch.from_numpy(student.ppf(0.5 + level / 2, options.numpy()))
    gaussian = float(student.ppf(0.5 + level / 2, inf))
    ratio = quantile.square() * (options - 2) / options
    if reached**2 / variance >= float(ratio[-1]):
        return reached / gaussian, inf
    best = int((ratio - reached**2 / variance).abs().argmin())
    return reached / float(quantile[best]), float(options[best])


def _nearness(rest: Tensor, seen: Tensor, shape: tuple[int, ...], reach: float) -> tuple[Tensor, Tensor]:
    """Whether each of the rest and each seen cell lie in one layer of ``shape`` (y, x), and there exp(-(d/reach)²/2).

    Both (h, m).
    """
    rows, columns = shape
    a, b = (torch.stack([at // columns % rows, at % columns], 1).double() for at in (rest, seen))
    same = ((rest // (rows * columns))[:, None] == seen // (rows * columns)).double()
    return same, same * (-0.5 * torch.cdist(a, b).square() / reach**2).exp()


def conditioned_cells(target: Target, axes: tuple[int, ...] = (2,)) -> tuple[Inverse, Conditioned, Tensor, Tensor]:
    """The question without its gaps, the law of every cell given those observed, and the prior's mean and std (size,).

    ``axes`` are the numbers of axes that the grid may have.

    Raises:
        UnanswerableError: other than cells of a grid observed with normal errors under a Gaussian prior.
    """
    if not isinstance(target, Inverse) or not isinstance(target.prior, GaussianLaw):
        raise UnanswerableError("the spread of a grid's cells needs an Inverse target with a Gaussian prior; use HMC.")
    seen, prior = target.seen(), target.prior
    operator, space = seen.operator, target.space
    if not isinstance(operator, Selection) or not isinstance(seen.noise, Normal) or len(space.shape) not in axes:
        raise UnanswerableError("only cells of a grid (y, x) seen with normal errors are answered here; use Exact.")
    matrix = prior.covariance.dense().double()
    mean = space.flat(prior.location).double()
    variance = seen.noise.variance(operator.codomain.size).detach()
    data = operator.codomain.flat(seen.data).double()
    layer = space.shape[-2] * space.shape[-1]
    found = Conditioned.of(matrix, mean, variance, operator.index, torch.arange(space.size), data, layer)
    return seen, found, mean, matrix.diagonal().sqrt()
