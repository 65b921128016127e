"""A neural spline flow over angles: torsions of a molecule, phases, directions."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Any, ClassVar

import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.optional import require
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular


class CircularFlow(torch.nn.Module):
    """q(φ) of angles [rad] on a torus: uniform angles through circular rational-quadratic splines, axis after axis.

    Args:
        space: circular cells of period 2π, flattened inside.
        transforms: layers.
        hidden: widths of the nets that place the knots.
        bins: of each spline.
        rng: the stream of the first weights.

    Raises:
        OptionError: numbers that are not positive. ShapeError: cells that are not circular with the period 2π.

    Reference: Rezende et al. (2020), Normalizing flows on tori and spheres, ICML.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Rezende et al. (2020), Normalizing flows on tori and spheres, ICML.",
        "Rozet et al. (2022), Zuko: normalizing flows in PyTorch, doi 10.5281/zenodo.7625672.",
    )

    def __init__(
        self,
        space: Space,
        transforms: int = 3,
        hidden: Sequence[int] = (64, 64),
        bins: int = 8,
        rng: Rng | None = None,
    ) -> None:
        super().__init__()
        if min(transforms, bins - 1, *hidden) < 1:
            raise OptionError(
                f"transforms {transforms}, bins {bins}, hidden {tuple(hidden)}: positive, two bins or more."
            )
        if not isinstance(space.support, Circular) or abs(space.support.period - 2 * pi) > 1e-9:
            raise ShapeError(f"{space} is {space.support}; a circular flow needs angles of period 2π.")
        self.space = space
        with rng or Rng(0):
            self.net = require("zuko", "molecules").flows.NCSF(
                features=space.size, bins=bins, transforms=transforms, hidden_features=tuple(hidden)
            )

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws in [0, 2π) [rad], (n, *space.shape)."""
        with torch.no_grad():
            base = (2 * rng.fresh().uniform((n, self.space.size)) - 1) * pi
            angles = self._transform().inv(base.to(next(self.net.parameters())))
            return self.space.unflat(torch.remainder(angles, 2 * pi))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density [1/rad], float64 (*batch,); angles are taken modulo 2π."""
        angles = torch.remainder(self.space.flat(x) + pi, 2 * pi) - pi
        if not angles.numel():
            return angles.double().sum(-1)
        _, log_det = self._transform().call_and_ladj(angles.to(next(self.net.parameters())))
        return log_det.double() - self.space.size * log(2 * pi)

    def _transform(self) -> Any:
        return self.net().transform

    @staticmethod
    def example() -> CircularFlow:
        """Two torsions, in float64."""
        space = Space("torsion", {"angle": ["phi", "psi"]}, "rad", Circular(2 * pi))
        return CircularFlow(space, 2, (16,), 6).double()
