"""A posterior that is Gaussian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log, pi
from typing import Any

import torch
from torch import Tensor

from posteriori.core.covariance import Covariance, DenseCovariance, restored, stored
from posteriori.core.draws import Draws
from posteriori.core.errors import ShapeError
from posteriori.core.law_file import Law
from posteriori.core.operator import Operator
from posteriori.core.posterior import DRAWS, Posterior, apply_to_draws, checked_levels, equal_rows
from posteriori.core.random import Rng
from posteriori.core.space import Space


class Gaussian(Posterior):
    """N(location, covariance); each problem has its location, and shares the covariance or has its own.

    Args:
        space: what the axes mean.
        location: (*problem, *space.shape).
        covariance: over the flat cells of ``space``.
    """

    def __init__(
        self,
        space: Space,
        location: Tensor,
        covariance: Covariance,
        *,
        problems: Mapping[str, Any] | None = None,
        log_evidence: Tensor | None = None,
    ) -> None:
        super().__init__(space, problems, log_evidence)
        space.check(location, "location")
        if covariance.size != space.size:
            raise ShapeError(f"a covariance of {covariance.size} cells does not fit {space} of {space.size}.")
        self.register_buffer("location", location)
        self.location: Tensor
        self.covariance = covariance
        self._whole: tuple[DenseCovariance, ...] = ()

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws; problems get independent ones."""
        batch = self.location.shape[: self.location.ndim - len(self.space.shape)]
        noise = self.covariance.sample(n * batch.numel(), rng).reshape(n, *batch, *self.space.shape)
        return self.location + noise.to(self.location.dtype)

    def rows(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        return equal_rows(self.sample(n, rng), len(self.problems))

    def center(self) -> Tensor:
        return self.location

    def spread(self) -> Tensor:
        std = self.covariance.diagonal().clamp_min(0.0).sqrt()
        return self.space.unflat(std).to(self.location.dtype).expand_as(self.location)

    def quantile(self, p: Tensor) -> Tensor:
        z = torch.special.ndtri(checked_levels(p).double()).to(self.location)
        return self.location + z.reshape(-1, *(1,) * self.location.ndim) * self.spread()

    def covariance_between(self, cells: Tensor) -> Tensor:
        return self.covariance.block(cells, cells)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,) of (*batch, *space.shape); costs one dense Cholesky factor the first time."""
        root = self.dense().root.double()
        residual = self.space.flat(self.space.check(x, "x") - self.location).double()
        problems = root.shape[:-2]
        columns = residual.reshape(-1, *problems, self.space.size).movedim(0, -1)
        white = torch.linalg.solve_triangular(root, columns, upper=False)
        mahalanobis = white.square().sum(-2).movedim(-1, 0).reshape(residual.shape[:-1])
        log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (mahalanobis + self.space.size * log(2 * pi)) - log_det

    def law(self) -> Law:
        kind, held = stored(self.covariance)
        tensors = {"location": self.location, **held, **self._evidence()}
        return Law("Gaussian", self.space, self.problems, tensors, {"covariance": kind})

    @staticmethod
    def of(law: Law) -> Gaussian:
        """The Gaussian whose :meth:`law` was kept."""
        covariance = restored(law.facts["covariance"], law.tensors)
        return Gaussian(law.space, law.tensors["location"], covariance, problems=law.problems)

    def dense(self) -> DenseCovariance:
        """The covariance as a whole matrix; made once, or at each call where the covariance learns."""
        if isinstance(self.covariance, DenseCovariance):
            return self.covariance
        if any(p.requires_grad for p in self.covariance.parameters()):
            return DenseCovariance(self.covariance.dense())
        like = self.covariance.like
        if not self._whole or self._whole[0].matrix.dtype != like.dtype or self._whole[0].matrix.device != like.device:
            self._whole = (DenseCovariance(self.covariance.dense()),)
        return self._whole[0]

    def map(
        self,
        f: Operator | Callable[..., Tensor],
        *,
        space: Space | None = None,
        draws: int = DRAWS,
        rng: Rng | None = None,
    ) -> Posterior:
        """Exact for a linear Operator; ``draws`` rows otherwise, never a silent linearisation."""
        if isinstance(f, Operator) and f.linear:
            with torch.no_grad():
                mapped: Posterior = Gaussian(
                    f.codomain, f(self.location), DenseCovariance(self.covariance.under(f)), problems=self.problems
                )
        else:
            rng = rng or self._rng("map")
            x = self.sample(draws, rng.child("draws"))
            values, landed = apply_to_draws(x, f, space, rng.child("f"))
            mapped = Draws(landed, values)
        mapped.run = self.run
        return mapped
