"""Magnetotelluric soundings of a layered Earth: apparent resistivity and phase against period."""

from __future__ import annotations

from math import pi
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core import units
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.core.support import Positive

MU0 = 4e-7 * pi
"""Magnetic permeability of the vacuum [H/m], taken for the rock too."""


class Magnetotellurics(TorchOperator):
    """Apparent resistivity ρ_a = |Z|² / (ω μ₀) and phase arg Z of layers over a half-space, plane waves from above.

    The surface impedance Z = E_x / H_y follows Wait's recursion from the half-space up, with η = √(iωμ₀ρ) the impedance
    and k = √(iωμ₀/ρ) the wavenumber of a layer of thickness h, in terms of decaying exponentials alone, which neither
    overflow nor cancel in thick layers or at short periods:

        Z_j = η_j (1 + r e^{-2 k_j h_j}) / (1 - r e^{-2 k_j h_j}),   r = (Z_{j+1} - η_j) / (Z_{j+1} + η_j).

    Time dependence e^{+iωt}: the phase of a half-space is +45°, and more over a conductor below.

    Args:
        domain: resistivity of the layers, one dim ``z``, its labels the **tops** of the layers [m] from 0 downwards;
            the last goes on for ever.
        periods: [s], (t,), positive.

    The codomain joins ``apparent_resistivity`` [ohm m] and ``phase`` [degree], each over ``period``.

    Raises:
        ShapeError, DataError: tops that do not start at 0 and rise, periods that are not positive; when it is called,
            a resistivity below zero.

    Reference: Wait (1954), On the relation between telluric currents and the Earth's magnetic field, Geophysics 19,
    281; Ward & Hohmann (1988), Electromagnetic theory for geophysical applications, SEG.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Wait (1954), On the relation between telluric currents and the Earth's magnetic field, Geophysics 19, 281.",
    )

    def __init__(self, domain: Space, periods: Tensor) -> None:
        super().__init__()
        if domain.dims != ("z",):
            raise ShapeError(f"{domain} needs the one dim 'z', the depths to the tops of the layers [m].")
        tops = domain.labels("z").astype(np.float64)
        if tops[0] != 0 or not (np.diff(tops) > 0).all():
            raise DataError(f"tops of layers {tops[:4]} … must start at 0 m, the surface, and rise downwards.")
        given = torch.as_tensor(periods, dtype=torch.float64)
        if given.ndim != 1 or not len(given) or not bool((torch.isfinite(given) & (given > 0)).all()):
            raise DataError(f"periods {tuple(given.shape)} must be one row of positive, finite numbers [s].")
        self.domain = domain
        coords = {"period": given.numpy()}
        self.codomain = Space.of(
            apparent_resistivity=Space("apparent_resistivity", coords, "ohm m", Positive()),
            phase=Space("phase", coords, "degree"),
        )
        self.per_unit = units.factor(domain.unit, "ohm m")
        self.register_buffer("thickness", torch.from_numpy(np.diff(tops)))
        self.register_buffer("omega", 2 * pi / given)
        self.thickness: Tensor
        self.omega: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """Apparent resistivities, then phases, (*batch, 2 · periods)."""
        z = self.impedance(m)
        apparent = (z.real.square() + z.imag.square()) / (MU0 * self.omega)
        phase = torch.atan2(z.imag, z.real) * (180 / pi)
        return torch.cat([apparent, phase], dim=-1).to(m.dtype)

    def impedance(self, m: Tensor) -> Tensor:
        """Z = E_x / H_y at the surface [ohm], complex128 (*batch, periods)."""
        if bool((m < 0).any()):
            raise DataError(
                f"a resistivity of {float(m.min()):.4g} {self.domain.unit} is negative ({int((m < 0).sum())} such "
                "layers): mend it, and let a search move log10 of the resistivity (PowerOfTen)."
            )
        rho = m.double()[..., None] * self.per_unit
        rise = torch.sqrt(1j * MU0 * self.omega)
        root = rho.sqrt()
        z = rise * root[..., -1, :]
        for j in range(len(self.thickness) - 1, -1, -1):
            eta = rise * root[..., j, :]
            left = torch.exp(-2 * self.thickness[j] * rise / root[..., j, :]) * ((z - eta) / (z + eta))
            z = eta * (1 + left) / (1 - left)
        return z

    @staticmethod
    def example() -> Magnetotellurics:
        """Four layers at six periods."""
        space = Space("resistivity", {"z": [0.0, 10.0, 30.0, 100.0]}, "ohm m", Positive())
        return Magnetotellurics(space, torch.logspace(-4, 1, 6, dtype=torch.float64))
