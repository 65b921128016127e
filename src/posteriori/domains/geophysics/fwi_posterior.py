"""How sure a section of full-waveform inversion is: Gauss-Newton curvature in the prior's strongest directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import LowRankCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator
from posteriori.core.run import Context
from posteriori.domains.geophysics.fwi import Question
from posteriori.domains.geophysics.fwi_prior import SeparableCovariance

AT_ONCE = 32
"""Directions whose linearised traces are computed in one call."""


@dataclass(frozen=True)
class Curvature:
    """H = Bᵀ Jᵀ diag(sigma)⁻² J B at a section, B the prior's strongest directions.

    Attributes:
        prior: Gaussian with a ``SeparableCovariance``. mode: section (nz, nx) about which J was taken.
        directions: rows and columns of the prior's coordinates, (2, k). matrix: H (k, k), float64.
        at: the mode's coordinates along the directions, (k,).
    """

    prior: Gaussian
    mode: Tensor
    directions: Tensor
    matrix: Tensor
    at: Tensor

    @property
    def strength(self) -> float:
        """How many times the prior's standard deviations the records themselves ask for; at least one.

        α² = Σ w² / Σ λ / (1 + λ) over the eigenvectors of H, w the mode's coordinates along them: directions that the
        records do not see have no say. A descent that ended early would ask for too little, hence the one.

        Reference: MacKay (1992), Bayesian interpolation, Neural Computation 4, 415, section 4.
        """
        value, vector = torch.linalg.eigh(self.matrix)
        seen = value.clamp_min(0.0)
        return max(1.0, float(((vector.mT @ self.at).square().sum() / (seen / (1 + seen)).sum()).sqrt()))

    def basis(self) -> Tensor:
        """B, (nz · nx, k): what each direction adds to the section."""
        covariance = self.prior.covariance
        assert isinstance(covariance, SeparableCovariance)
        return directions_of(covariance, self.directions).flatten(1).mT

    def posterior(self, spread: float = 1.0) -> Gaussian:
        """N(mode, spread² α² (B (I + α² H)⁻¹ Bᵀ + what the prior has outside B)), α the ``strength``.

        Outside B nothing is taken to be learnt, and the cells are taken to be independent there.

        Args:
            spread: factor on every standard deviation, above one where training sections show too narrow intervals.
        """
        if not spread > 0:
            raise OptionError(f"spread={spread:g} must be positive.")
        b = self.basis()
        memory.require(8 * b.numel(), f"a posterior of {b.shape[0]} cells in {b.shape[1]} directions")
        value, vector = torch.linalg.eigh(self.matrix)
        alpha = self.strength
        shrunk = spread * alpha * vector * (1 + alpha**2 * value.clamp_min(0.0)).rsqrt()
        rest = (spread * alpha) ** 2 * (self.prior.covariance.diagonal() - b.square().sum(1)).clamp_min(0.0)
        covariance = LowRankCovariance((b @ shrunk).float(), rest.float())
        return Gaussian(self.prior.space, self.mode.float(), covariance)

    def resolution(self, posterior: Gaussian) -> Tensor:
        """1 - posterior / prior variance of each cell, (nz, nx), at least zero; the prior's with its ``strength``."""
        before = self.strength**2 * self.prior.covariance.diagonal()
        share = 1 - posterior.covariance.diagonal().double() / before.clamp_min(1e-12)
        return torch.where(before > 0, share.clamp_min(0.0), 0.0).reshape(self.mode.shape)


def gauss_newton(question: Question, u: Tensor, rank: int, context: Context) -> Curvature:
    """The curvature of a question with ``Normal`` noise at ``u``, shot by shot; kept in ``context.store`` after each.

    Only directional derivatives are needed: ``rank`` of them a shot.

    Reference: Bui-Thanh, Ghattas, Martin & Stadler (2013), A computational framework for infinite-dimensional Bayesian
    inverse problems, SIAM J. Sci. Comput. 35, A2494 (prior-preconditioned Gauss-Newton Hessian).
    """
    if not isinstance(question.noise, Normal):
        raise OptionError("a curvature needs Normal noise; misfits that are no law of the noise have none.")
    covariance, mode = question.covariance, question.section(u)
    p, q = covariance.coordinates
    if not 0 < rank <= p * q:
        raise OptionError(f"rank {rank} must lie between 1 and {p * q}.")
    weight = torch.outer(covariance.down.square().sum(0), covariance.across_.square().sum(0))
    chosen = torch.stack(torch.unravel_index(weight.flatten().topk(rank).indices, (p, q)))
    directions = directions_of(covariance, chosen).float()
    space = question.operator.codomain
    sigma = space.unflat(question.noise.variance(space.size).sqrt()).float()
    matrix = torch.zeros(rank, rank, dtype=torch.float64)
    shots = space.labels("shot")
    for number, shot in enumerate(context.progress(shots, "curvature", len(shots))):
        operator = question.operator.select("shot", [shot])
        make = partial(_gram, operator, question.coarse(mode.float()), question.coarse(directions), sigma[number])
        held = make() if context.store is None else context.store.child("curvature").once(str(number), make)
        matrix += held["gram"]
    return Curvature(question.prior, mode, chosen, matrix, u.reshape(p, q)[chosen[0], chosen[1]])


def directions_of(covariance: SeparableCovariance, at: Tensor) -> Tensor:
    """What unit steps along the coordinates ``at`` (2, k) add to the section, (k, nz, nx)."""
    down, across = covariance.down[:, at[0]].mT, covariance.across_[:, at[1]].mT
    return covariance.sd * down[:, :, None] * across[:, None, :]


def _gram(operator: Operator, point: Tensor, directions: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """(J v_i / sigma)ᵀ (J v_j / sigma) as ``gram`` (k, k), float64."""
    pieces = [operator.jvp(point.expand_as(part).contiguous(), part) for part in directions.split(AT_ONCE)]
    seen = operator.codomain.flat(torch.cat(pieces) / sigma)
    return {"gram": (seen @ seen.mT).double()}
