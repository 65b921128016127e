"""A neural spline flow over the cells of a Space."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.optional import require
from posteriori.core.random import Rng
from posteriori.core.space import Space


class SplineFlow(nn.Module):
    """q(x) of real cells: standard normal numbers through rational-quadratic splines, then x = location + root z.

    The splines act within five units of the whitened cells and leave what lies beyond alone, so give ``rows`` of about
    the right place and spread. Densities are exact; weights are float32 until ``flow.double()``, log-densities float64
    always.

    Args:
        space: the cells, flattened inside.
        transforms: layers.
        hidden: widths of the nets that place the knots.
        bins: of each spline.
        coupling: two passes a layer, quick both ways; without, fully autoregressive: quick densities, slow draws.
        condition: length of the vector that ``log_prob``, ``draw``, ``push`` and ``pull`` may be given beside.
        rows: (n, *space.shape) whose mean and covariance whiten the cells; none: standard cells.
        rng: the stream of the first weights.

    Raises:
        OptionError: numbers that are not positive.
        ShapeError: too few rows to whiten by.

    Reference: Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows, NeurIPS.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows, NeurIPS.",
        "Rozet et al. (2022), Zuko: normalizing flows in PyTorch, doi 10.5281/zenodo.7625672.",
    )

    def __init__(
        self,
        space: Space,
        transforms: int = 6,
        hidden: Sequence[int] = (64, 64),
        bins: int = 8,
        coupling: bool = True,
        condition: int = 0,
        rows: Tensor | None = None,
        rng: Rng | None = None,
    ) -> None:
        super().__init__()
        if min(transforms, bins - 1, *hidden, 1 + condition) < 1:
            raise OptionError(
                f"transforms {transforms}, bins {bins}, hidden {tuple(hidden)}: positive, two bins or more."
            )
        self.space, self.condition = space, condition
        flows = require("zuko", "molecules").flows
        with rng or Rng(0):
            self.net = flows.NSF(
                features=space.size,
                context=condition,
                bins=bins,
                transforms=transforms,
                hidden_features=tuple(hidden),
                passes=2 if coupling else None,
            )
        location, root = _whitening(space, rows)
        self.register_buffer("location", location)
        self.register_buffer("root", root)
        self.location: Tensor
        self.root: Tensor

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, (n, *space.shape), of a flow without condition."""
        return self.draw(n, rng)[0]

    def log_prob(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log density, float64 (*batch,)."""
        return self.pull(x, condition)[1]

    def draw(self, n: int, rng: Rng, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``n`` draws with their log-densities in one pass, without graph."""
        with torch.no_grad():
            return self.push(rng.fresh().normal((n, self.space.size), self.location), condition)

    def push(self, z: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Base points (*batch, size) → (*batch, *space.shape), and the log-density there."""
        if not z.numel():  # zuko cannot reshape nothing
            return self.space.unflat(z.to(self.location)), _normal(z)
        white, log_det = self._transform(condition).inv.call_and_ladj(z.to(self._like))
        x = self.location + white.to(self.location) @ self.root.mT
        return self.space.unflat(x), _normal(z) - log_det.double() - self._log_root

    def pull(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(*batch, *space.shape) → base points (*batch, size), and the log-density of x."""
        centred = (self.space.flat(x).to(self.location) - self.location)[..., None]
        if not x.numel():
            return centred[..., 0], _normal(centred[..., 0])
        white = torch.linalg.solve_triangular(self.root, centred, upper=False)[..., 0]
        z, log_det = self._transform(condition).call_and_ladj(white.to(self._like))
        return z, _normal(z) + log_det.double() - self._log_root

    @property
    def _like(self) -> Tensor:
        return next(self.net.parameters())

    @property
    def _log_root(self) -> Tensor:
        return self.root.diagonal().double().log().sum()

    def _transform(self, condition: Tensor | None) -> Any:
        if (condition is None) != (self.condition == 0):
            raise ShapeError(
                f"this flow takes a condition of length {self.condition}; give one exactly if it is not 0."
            )
        return self.net(None if condition is None else condition.to(self._like)).transform

    @staticmethod
    def example() -> SplineFlow:
        """Three cells, in float64."""
        rows = Rng(1).normal((64, 3)) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.7, 0.0], [0.0, 0.0, 2.0]]).double()
        return SplineFlow(Space("position", {"axis": 3}), 3, (16,), 6, rows=rows).double()


def _normal(z: Tensor) -> Tensor:
    return -0.5 * (z.double().square().sum(-1) + z.shape[-1] * log(2 * pi))


def _whitening(space: Space, rows: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean (n,) and lower Cholesky root (n, n) of the covariance of the rows, float64."""
    if rows is None:
        return torch.zeros(space.size, dtype=torch.float64), torch.eye(space.size, dtype=torch.float64)
    flat = space.flat(rows).double()
    if flat.ndim != 2 or len(flat) < 2 * space.size + 2:
        raise ShapeError(
            f"{tuple(rows.shape)} rows cannot whiten {space.size} cells; give {2 * space.size + 2} or more."
        )
    covariance = flat.mT.cov().reshape(space.size, space.size)
    ridge = 1e-10 * covariance.diagonal().mean() * torch.eye(space.size, dtype=torch.float64)
    return flat.mean(0), torch.linalg.cholesky(covariance + ridge).contiguous()
