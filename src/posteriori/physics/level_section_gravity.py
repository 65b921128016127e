"""Gravity of a vertical section at even stations on one level: a convolution along x, one spectrum a layer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from posteriori.core import memory, units
from posteriori.core.errors import ShapeError
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.block_toeplitz import Lattice
from posteriori.physics.gravity import DENSITY
from posteriori.physics.prism_mesh import borders, mesh, require_dims
from posteriori.physics.section_gravity import TALWANI, require_above, section_kernel


class LevelSectionGravity(TorchOperator):
    """Gravity g_z [mGal], positive downwards, of densities in a section, as :class:`SectionGravity` but matrix-free.

    Args:
        domain: densities, dims ("z", "x") [m], cells even in x.
        x: of the stations [m], spaced as the cells or by a whole number of them; the centres of the cells without.
        height: of all stations [m], upwards from the zero of z.
        strike: length [m] of all bodies across the section; infinite without.
        beyond: how far [m] a station may lie outside the section sideways.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (TALWANI,)

    def __init__(
        self,
        domain: Space,
        x: ArrayLike | None = None,
        height: float = 0.0,
        strike: float | None = None,
        beyond: float = 0.0,
    ) -> None:
        super().__init__()
        require_dims(domain, ("z", "x"))
        edges, z = borders(domain, "x"), borders(domain, "z")
        at = domain.labels("x") if x is None else np.asarray(x, float)
        self.domain, self.codomain = domain, Space("gravity", {"x": at}, "mGal")
        self.lattice = Lattice.of(edges, self.codomain, "x")
        if self.lattice.cell != 1:
            raise ShapeError("stations closer than the cells: give a whole number of cells, or use SectionGravity.")
        require_above(np.stack([at, 0 * at, np.full(len(at), -height)], axis=1), edges, z, beyond)
        memory.require(48.0 * len(z) * self.lattice.period, f"{self}", "take fewer layers")
        corners = self.lattice.corners()[::-1].copy()
        kernel = section_kernel(corners, z, np.array([[0.0, 0.0, -height]]), strike)[0, :, ::-1]
        whole = np.zeros((len(z) - 1, self.lattice.period))
        whole[:, : self.lattice.offsets] = kernel * units.factor(domain.unit, DENSITY)
        spectra = torch.fft.rfft(torch.from_numpy(np.roll(whole, -self.lattice.before, 1)))
        self.register_buffer("spectra", torch.view_as_real(spectra), persistent=False)
        self.register_buffer("mask", domain.mask, persistent=False)
        self.spectra: Tensor
        self.mask: Tensor | None

    def forward(self, m: Tensor) -> Tensor:
        """g_z at the stations."""
        if not m.numel():
            return m.sum() + m.new_zeros(*m.shape[:-2], *self.codomain.shape)
        solid = m if self.mask is None else m * self.mask
        spectra = torch.view_as_complex(self.spectra.to(m.dtype))
        waves = (torch.fft.rfft(solid, self.lattice.period) * spectra).sum(-2)
        step, many = self.lattice.station, len(self.codomain.labels("x"))
        return torch.fft.irfft(waves, self.lattice.period)[..., : many * step : step][..., :many]

    @staticmethod
    def example() -> LevelSectionGravity:
        """Every second cell and beyond the end, 5 m up."""
        section = mesh("density", DENSITY, z=[0.0, 50.0, 150.0], x=100.0 * np.arange(6))
        return LevelSectionGravity(section, [20.0, 220.0, 420.0, 620.0], 5.0, beyond=200.0)
