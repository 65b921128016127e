"""What a linear answer resolves: point spread, averaging kernels, degrees of freedom, the wavelengths it sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.errors import UnanswerableError
from posteriori.core.space import Space
from posteriori.core.target import Target
from posteriori.inference.damping import Choice, Fixed
from posteriori.inference.tikhonov import ByLaw, ByPenalty, taken_apart
from posteriori.learn.modes import Modes


@dataclass(frozen=True)
class Resolution:
    """E[m̂] - expected = R (m - expected): the resolution matrix R = 1 - C_post C_prior⁻¹, kept as leftᵀ w right.

    Attributes:
        space: of the unknown.
        left, right: (k, n).
        weights: w, (k,).
        degrees: trace R: how many numbers the data determine.

    Reference: Backus & Gilbert (1968), Geophys. J. R. astr. Soc. 16, 169; Tarantola (2005), Inverse Problem Theory,
    SIAM, section 3.4.
    """

    space: Space
    left: Tensor
    right: Tensor
    weights: Tensor
    degrees: float

    def point_spread(self, cells: Tensor) -> Tensor:
        """Columns of R: the mean that a unit body in each of ``cells`` (flat positions) gives, (c, *space.shape)."""
        return self.space.unflat((self.right[:, cells].mT * self.weights) @ self.left)

    def averaging(self, cells: Tensor) -> Tensor:
        """Rows of R: the weights with which the mean in each of ``cells`` averages the truth, (c, *space.shape)."""
        return self.space.unflat((self.left[:, cells].mT * self.weights) @ self.right)

    def diagonal(self) -> Tensor:
        """How much of a body in each cell stays in its place, space.shape: 1 is resolved, 0 is not seen."""
        return self.space.unflat((self.left * self.weights[:, None] * self.right).sum(0))

    def dense(self) -> Tensor:
        """R, (n, n)."""
        memory.require(2 * 8 * self.space.size**2, f"a resolution matrix of {self.space.size} cells")
        return (self.left.mT * self.weights) @ self.right


@dataclass(frozen=True)
class Wavelengths:
    """Share of the prior's variance that the data take off each harmonic at each depth.

    Attributes:
        share: (depth, *harmonics), from 0 (not seen) to 1 (known); the first harmonic is the mean across.
        wavelength: 2π/k of each harmonic, (*harmonics,), in the unit of the labels; infinite for the mean.
        depth: labels, (depth,).
    """

    share: Tensor
    wavelength: Tensor
    depth: Tensor

    def shortest(self, share: float = 0.5) -> Tensor:
        """The shortest wavelength of which the data tell at least ``share``, for each depth; infinite for none."""
        seen = self.share.flatten(1) >= share
        return torch.where(seen, self.wavelength.flatten(), torch.inf).amin(1)


def resolution(target: Target, choice: Choice | None = None) -> Resolution:
    """The resolution of a linear question with a Gaussian prior or a penalty, at a strength (one without).

    Of several problems the first decides on the strength; R itself does not depend on the data.

    Raises:
        UnanswerableError: the question is not linear with Gaussian noise.
    """
    with torch.no_grad():
        problem = taken_apart(target)
        filters = problem.filters
        strength = (choice or Fixed())(filters)[0]
        degrees = float(filters.degrees(strength[None, None])[0, 0])
        if isinstance(problem, ByPenalty):
            kept = 1 - filters.left(strength[None, None])[0, 0]
            inverse = torch.linalg.inv(problem.directions)
            return Resolution(problem.target.space, problem.directions.mT, inverse, kept, degrees)
        operator = problem.target.operator
        rows = problem.pull @ operator.rows(problem.pull)
        across = problem.prior.covariance.matmul(rows)
        return Resolution(problem.target.space, across, rows, 1 / (filters.signal + strength), degrees)


def wavelengths(target: Target, dim: str = "z", choice: Choice | None = None) -> Wavelengths:
    """Which wavelengths across ``dim`` the data see at each of its labels.

    For each harmonic u of the other dims (cosines) and each depth: 1 - Var_post / Var_prior of ∫ u m dx. Unlike the
    resolution matrix it hardly depends on how fine the grid is.

    Raises:
        UnanswerableError: the prior is not Gaussian, or there is no other dim.
    """
    with torch.no_grad():
        problem = taken_apart(target)
        space = problem.target.space
        others = tuple(d for d in space.dims if d != dim)
        if not isinstance(problem, ByLaw) or dim not in space.dims or not others:
            raise UnanswerableError(
                f"wavelengths at each {dim!r} need a Gaussian prior (Smoothness) on a grid with {dim!r} and another "
                f"dim; the unknown is {space}, its prior {type(problem.target.prior).__name__}."
            )
        strength = (choice or Fixed())(problem.filters)[0]
        modes = Modes(replace(space, coords={d: space.labels(d) for d in others}, mask=None, extra={}))
        harmonics = modes.values(torch.eye(modes.size, dtype=torch.float64).reshape(-1, *modes.shape))
        harmonics = (harmonics * modes.volumes()).reshape(modes.size, -1)
        order = (dim, *others)
        removed = _harmonic_variance(problem, strength, space, order, harmonics)
        depths = len(space.labels(dim))
        before = torch.stack([_prior_variance(problem, space, order, harmonics, at) for at in range(depths)])
        squared = torch.zeros(modes.shape, dtype=torch.float64)
        for axis in range(len(others)):
            squared = squared + modes.squared(axis).reshape([-1 if a == axis else 1 for a in range(len(others))])
        share = (removed * strength / before).reshape(depths, *modes.shape).clamp(0.0, 1.0)
        return Wavelengths(share, 2 * pi / squared.sqrt(), torch.as_tensor(space.labels(dim)).double())


def _harmonic_variance(
    problem: ByLaw, strength: Tensor, space: Space, order: tuple[str, ...], harmonics: Tensor
) -> Tensor:
    """Variance that the data remove from each harmonic at each depth, times λ: (depth, harmonics)."""
    operator, filters = problem.target.operator, problem.filters
    across = space.unflat(problem.prior.covariance.matmul(problem.pull @ operator.rows(problem.pull)))
    moved = across.permute(0, *(1 + space.dims.index(d) for d in order)).flatten(2) @ harmonics.mT
    return (moved.square() / (filters.signal + strength)[:, None, None]).sum(0) / strength


def _prior_variance(problem: ByLaw, space: Space, order: tuple[str, ...], harmonics: Tensor, depth: int) -> Tensor:
    """Variance of each harmonic at one depth under the prior at strength one, (harmonics,)."""
    shape = [space.shape[space.dims.index(d)] for d in order]
    patterns = torch.zeros(len(harmonics), *shape, dtype=torch.float64)
    patterns[:, depth] = harmonics.reshape(-1, *shape[1:])
    back = patterns.permute(0, *(1 + order.index(d) for d in space.dims)).reshape(len(harmonics), -1)
    return (problem.prior.covariance.matmul(back) * back).sum(-1)
