"""Whether two images change in the same directions: the cross product of their gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space


class CrossGradient(TorchOperator):
    """t = ∂_z(a/s_a) ∂_x(b/s_b) - ∂_x(a/s_a) ∂_z(b/s_b), at the corners where four cells of a section meet [m⁻²].

    Zero where boundaries are parallel or one of the two is even: shared structure without any link of values. Data of
    zero with a standard deviation τ charge ½ Σ t² / τ².

    Args:
        domain: a joined Space of two parts on one section ("z", "x") [m].
        scales: what a change of one means in each part, in its own unit.

    Raises:
        ShapeError, DataError: not two parts on one section of two by two cells or more, or a scale that is not > 0.

    Reference: Gallardo & Meju (2004), Joint two-dimensional DC resistivity and seismic travel time inversion with
    cross-gradients constraints, J. Geophys. Res. 109, B03311.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Gallardo & Meju (2004), Joint two-dimensional DC resistivity and seismic travel time inversion with "
        "cross-gradients constraints, J. Geophys. Res. 109, B03311.",
    )

    def __init__(self, domain: Space, scales: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        if len(domain.parts) != 2 or not domain.parts[0].same(domain.parts[1]) or domain.parts[0].dims != ("z", "x"):
            raise ShapeError(f"{domain} needs two parts on one section with the dims ('z', 'x').")
        grid = domain.parts[0]
        if min(grid.shape) < 2:
            raise ShapeError(f"a section of {grid.shape} cells has no corner where four of them meet.")
        if not min(scales) > 0:
            raise DataError(f"scales {scales} must be positive: what a change of one means in each part.")
        self.domain = domain
        self.scales = scales
        z, x = (np.asarray(grid.labels(dim), np.float64) for dim in ("z", "x"))
        middle = {"z": 0.5 * (z[1:] + z[:-1]), "x": 0.5 * (x[1:] + x[:-1])}
        self.codomain = Space("cross_gradient", middle, "1/m^2")
        self.register_buffer("step_z", torch.from_numpy(np.diff(z))[:, None])
        self.register_buffer("step_x", torch.from_numpy(np.diff(x)))
        self.step_z: Tensor
        self.step_x: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """t at the corners."""
        a, b = (part / s for part, s in zip(self.domain.split(m).values(), self.scales, strict=True))
        (az, ax), (bz, bx) = self._slopes(a), self._slopes(b)
        return az * bx - ax * bz

    def _slopes(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """∂_z and ∂_x at the corners, each the mean of the two differences there."""
        down, across = m.diff(dim=-2) / self.step_z.to(m.dtype), m.diff(dim=-1) / self.step_x.to(m.dtype)
        return 0.5 * (down[..., 1:] + down[..., :-1]), 0.5 * (across[..., 1:, :] + across[..., :-1, :])

    @staticmethod
    def example() -> CrossGradient:
        """Unequal cells, three by four."""
        grid = {"z": [0.0, 1.0, 3.0], "x": [0.0, 1.0, 2.0, 4.0]}
        return CrossGradient(Space.of(velocity=Space("v", grid), density=Space("rho", grid)), (1.0, 2.0))
