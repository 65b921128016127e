"""Potential fields of a prism mesh on a level grid of stations: convolutions in x and y, one spectrum a layer."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.fft import next_fast_len
from torch import Tensor

from posteriori.core import memory, units
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.physics.prism import sheet
from posteriori.physics.prism_mesh import EVEN, Floats, borders, require_dims

FINEST = 16
"""Stations and cells must share a lattice at most this many times finer than either."""
WORKSPACE = 2**14
"""Complex numbers of layers transformed at once."""


class LevelField(Operator, ABC):
    """d = K m by Fourier transforms: K is block Toeplitz in x and y, embedded in a circulant; exact, not periodic.

    One product costs one transform of each layer and of each component. The kernel is computed in float64; ``dtype``
    is the precision in which its spectra are held, and products follow the dtype of their input.

    Args:
        domain: a mesh of prisms ("z", "y", "x"), cells even in x and y; cells outside its mask count as empty.
        unit: of the strengths the kernel is made for; other units of the domain are converted.
        kernel: weights of the derivatives of U, (components, 9), see :func:`prism.weights`.
        codomain: dims ("y", "x"), after "component" where there are several.
        height: of all stations [m], upwards.
        touch: whether the stations may lie on the top of the mesh.
        dtype: float64 or float32.

    Raises:
        ShapeError: cells or stations that are not even, or share no lattice.
        DataError: stations inside the mesh.
        MemoryBudgetError: the spectra would not fit.
    """

    linear = True

    def __init__(
        self,
        domain: Space,
        unit: str,
        kernel: Floats,
        codomain: Space,
        height: float,
        touch: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        require_dims(domain, ("z", "y", "x"))
        if dtype not in (torch.float32, torch.float64):
            raise OptionError(f"spectra cannot be held as {dtype}; give torch.float32 or torch.float64.")
        self.domain, self.codomain = domain, codomain
        self.components, self.held = len(kernel), dtype
        self.y, self.x = (Lattice.of(borders(domain, d), codomain, d) for d in ("y", "x"))
        top = borders(domain, "z") + height
        if not np.isfinite(height) or top[0] < 0 or (top[0] == 0 and not touch):
            raise DataError(
                f"stations at a height of {height:g} m are not above the mesh, whose top is at {height - top[0]:g} m; "
                "heights count upwards, depth downwards from one zero."
            )
        memory.require(
            self.estimate(domain, codomain, dtype), f"{self}", "hold the spectra in float32, or take fewer layers"
        )
        spectra = self._spectra(top, kernel * units.factor(domain.unit, unit))
        self.register_buffer("spectra", spectra, persistent=False)
        self.register_buffer("mask", domain.mask, persistent=False)
        self.spectra: Tensor
        self.mask: Tensor | None

    @classmethod
    def estimate(cls, domain: Space, codomain: Space, dtype: torch.dtype) -> int:
        """Bytes at the peak of setting up or of one product, model and result included, known before the work."""
        y, x = (Lattice.of(borders(domain, d), codomain, d) for d in ("y", "x"))
        components = codomain.size // (len(codomain.labels("y")) * len(codomain.labels("x")))
        plane = y.period * (x.period // 2 + 1)
        spectra = components * len(domain.labels("z")) * plane * (8 if dtype == torch.float32 else 16)
        corners = 8 * (y.offsets + y.cell) * (x.offsets + x.cell)
        building = 4 * corners + 5 * 16 * plane
        product = 16 * (2 * max(WORKSPACE, plane) + (components + 2) * plane)
        values = (4 if dtype == torch.float32 else 8) * (2 * domain.size + codomain.size)
        return spectra + max(building, product) + values

    def forward(self, m: Tensor) -> Tensor:
        """K m."""
        models = self._solid(m).reshape(-1, *self.domain.shape)
        found = m.new_empty(len(models), self.components, *self.codomain.shape[-2:])
        for i in range(len(models)):
            found[i] = self._product(models[i])
        return found.reshape(*m.shape[: m.ndim - 3], *self.codomain.shape)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """K v."""
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """Kᵀ r: the conjugate spectra."""
        lead = r.shape[: r.ndim - len(self.codomain.shape)]
        residuals = r.reshape(-1, self.components, *self.codomain.shape[-2:])
        found = r.new_empty(len(residuals), *self.domain.shape)
        for i in range(len(residuals)):
            self._transposed(residuals[i], found[i])
        return self._solid(found.reshape(*lead, *self.domain.shape))

    def _solid(self, m: Tensor) -> Tensor:
        return m if self.mask is None else m * self.mask

    def _product(self, model: Tensor) -> Tensor:
        """(component, y, x) of one model (z, y, x)."""
        kind = torch.complex64 if model.dtype == torch.float32 else torch.complex128
        total = torch.zeros(self.components, *self.spectra.shape[2:4], dtype=kind, device=model.device)
        for layers in self._layers():
            waves = torch.fft.rfft2(self._spread(model[layers], "cell"), s=self._period)
            for c in range(self.components):
                total[c] += (waves * self._kernel(c, layers, model.dtype)).sum(0)
        return self._taken(torch.fft.irfft2(total, s=self._period), "station")

    def _transposed(self, data: Tensor, out: Tensor) -> None:
        """(z, y, x) of one set of data (component, y, x), into ``out``."""
        waves = torch.fft.rfft2(self._spread(data, "station"), s=self._period)
        for layers in self._layers():
            part = waves[0] * self._kernel(0, layers, data.dtype).conj()
            for c in range(1, self.components):
                part = part + waves[c] * self._kernel(c, layers, data.dtype).conj()
            out[layers] = self._taken(torch.fft.irfft2(part, s=self._period), "cell")

    @property
    def _period(self) -> tuple[int, int]:
        return self.y.period, self.x.period

    def _layers(self) -> list[slice]:
        """Slices of layers that fill the workspace."""
        some = max(1, WORKSPACE // (self.y.period * (self.x.period // 2 + 1)))
        return [slice(i, i + some) for i in range(0, self.domain.shape[0], some)]

    def _kernel(self, component: int, layers: slice, dtype: torch.dtype) -> Tensor:
        return torch.view_as_complex(self.spectra[component, layers].to(dtype))

    def _spread(self, grid: Tensor, what: str) -> Tensor:
        """Values on every ``step``-th point of the lattice, zero between; the transform pads the rest."""
        sy, sx = getattr(self.y, what), getattr(self.x, what)
        if sy == sx == 1:
            return grid
        ny, nx = grid.shape[-2:]
        fine = grid.new_zeros(*grid.shape[:-2], (ny - 1) * sy + 1, (nx - 1) * sx + 1)
        fine[..., ::sy, ::sx] = grid
        return fine

    def _taken(self, fine: Tensor, what: str) -> Tensor:
        """The transpose of :meth:`_spread` with its padding."""
        shape = self.codomain.shape[-2:] if what == "station" else self.domain.shape[-2:]
        sy, sx = getattr(self.y, what), getattr(self.x, what)
        return fine[..., : shape[0] * sy : sy, : shape[1] * sx : sx][..., : shape[0], : shape[1]]

    def _spectra(self, z: Floats, kernel: Floats) -> Tensor:
        """Spectra of the kernels, (component, layer, *half plane, 2), real and imaginary parts last."""
        shape = (len(kernel), len(z) - 1, self.y.period, self.x.period // 2 + 1, 2)
        spectra = torch.empty(shape, dtype=self.held)
        x, y = self.x.corners(), self.y.corners()
        for c, w in enumerate(kernel):
            above, below = np.empty((len(y), len(x))), np.empty((len(y), len(x)))
            sheet(x, y, z[0], w, above)
            for k, level in enumerate(z[1:]):
                sheet(x, y, level, w, below)
                spectra[c, k] = torch.view_as_real(self._spectrum(below - above))
                above, below = below, above
        return spectra

    def _spectrum(self, corners: Floats) -> Tensor:
        """The transform of one layer's kernel, from the difference of its corner functions."""
        cy, cx = self.y.cell, self.x.cell
        prisms = corners[cy:] - corners[:-cy]
        prisms = prisms[:, cx:] - prisms[:, :-cx]
        whole = np.zeros(self._period)
        whole[: self.y.offsets, : self.x.offsets] = prisms
        # the offset zero belongs at the origin of the transform; negative ones wrap around
        whole = np.roll(whole, (-self.y.before, -self.x.before), (0, 1))
        return torch.fft.rfft2(torch.from_numpy(whole))


@dataclass(frozen=True)
class Lattice:
    """Cells and stations on the points of one lattice along an axis, ``cell`` and ``station`` of its steps apart.

    Attributes:
        step: of the lattice [m].
        first: from the centre of the first cell to the first station [m].
        before, offsets: number of negative offsets from cell to station, and of all.
        period: of the transform, at least ``offsets``.
    """

    step: float
    first: float
    cell: int
    station: int
    before: int
    offsets: int
    period: int

    @staticmethod
    def of(edges: Floats, codomain: Space, dim: str) -> Lattice:
        """The coarsest lattice that holds both."""
        cells, stations = 0.5 * (edges[1:] + edges[:-1]), codomain.labels(dim).astype(np.float64)
        width = _even(edges, f"borders of cells along {dim!r}")
        gap = _even(stations, f"stations along {dim!r}") if len(stations) > 1 else width
        ratio = Fraction(gap / width).limit_denominator(FINEST)
        if ratio.numerator == 0 or ratio.numerator > FINEST or abs(gap / width - ratio) > EVEN * ratio:
            raise ShapeError(
                f"stations every {gap:g} m and cells of {width:g} m along {dim!r} share no lattice; "
                "choose a simple ratio, or use the operator for scattered stations."
            )
        cell, station = ratio.denominator, ratio.numerator
        before, after = (len(cells) - 1) * cell, (len(stations) - 1) * station
        offsets = before + after + 1
        return Lattice(
            width / cell, stations[0] - cells[0], cell, station, before, offsets, next_fast_len(offsets, real=True)
        )

    def corners(self) -> Floats:
        """Corners of cells seen from stations, one more set of ``cell`` than offsets, rising with the offset.

        The kernel at offset u of a station from a cell is the difference between corners u and u + cell.
        """
        offset = np.arange(-self.before, self.offsets + self.cell - self.before, dtype=np.float64)
        # a station beyond its cell sees the cell behind it: the corner's x falls as the offset rises
        return -(self.first + self.step * (offset - 0.5 * self.cell))


def _even(positions: Floats, what: str) -> float:
    gaps = np.diff(positions)
    if not (gaps > 0).all() or np.ptp(gaps) > EVEN * gaps.mean() * len(positions):
        raise ShapeError(f"{what} must rise in even steps [m]; resample, or use the operator for scattered stations.")
    return float((positions[-1] - positions[0]) / len(gaps))


def level_space(
    name: str,
    unit: str,
    domain: Space,
    y: ArrayLike | None,
    x: ArrayLike | None,
    components: tuple[str, ...] = (),
) -> Space:
    """A codomain ("y", "x"), the centres of the cells where none are given; "component" in front for several."""
    require_dims(domain, ("z", "y", "x"))
    named = {"component": np.array(components)} if components else {}
    grid = {d: domain.labels(d) if given is None else np.asarray(given, float) for d, given in (("y", y), ("x", x))}
    return Space(name, {**named, **grid}, unit)
