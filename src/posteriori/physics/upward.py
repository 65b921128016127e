"""Potential fields on level grids: continued up and down, differentiated, reduced to the pole.

All are multiplications by a response in the Fourier domain. The grid is continued beyond its edges by its mirror image,
which fades into its mean, so that opposite edges do not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.grid import even_step
from posteriori.core.operator import TorchOperator
from posteriori.core.space import Space
from posteriori.physics.magnetics import BLAKELY, Direction

Complex = NDArray[np.complexfloating[Any, Any]]
Floats = NDArray[np.float64]
Response = Callable[[Floats, Floats], Complex]
"""The factor for wavenumbers (kx, ky) [rad/m], of fields that vary as exp(i (kx x + ky y))."""


class GridFilter(TorchOperator):
    """A response in the Fourier domain, applied to a field on a level grid ("y", "x") [m] with even steps.

    Args:
        domain: the grid.
        response: the factor of each wavenumber.
        name, unit: of what comes out; those of the grid without.
        padding: how far the mirror image reaches beyond each edge, as a share of the grid.

    Reference: Blakely (1995), chapter 12.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (BLAKELY,)

    def __init__(
        self,
        domain: Space,
        response: Response,
        name: str | None = None,
        unit: str | None = None,
        padding: float = 0.5,
    ) -> None:
        super().__init__()
        if domain.dims != ("y", "x") or domain.mask is not None or min(domain.shape) < 2:
            raise ShapeError(f"{domain} is no whole grid ('y', 'x'); grid the stations first, and fill the gaps.")
        if not 0 <= padding <= 1:
            raise OptionError(f"padding={padding}; give a share of the grid from 0 to 1.")
        self.domain = domain
        self.codomain = Space(name or domain.name, domain.coords, unit or domain.unit)
        steps = [even_step(domain, dim) for dim in domain.dims]
        sides = [_mirror(n, padding) for n in domain.shape]
        self.before = tuple(before for _, _, before in sides)
        for axis, (index, taper, _) in zip("yx", sides, strict=True):
            self.register_buffer(f"index_{axis}", torch.from_numpy(index))
            self.register_buffer(f"taper_{axis}", torch.from_numpy(taper))
        self.period = tuple(len(index) for index, _, _ in sides)
        ky = 2 * np.pi * np.fft.fftfreq(self.period[0], steps[0])
        kx = 2 * np.pi * np.fft.rfftfreq(self.period[1], steps[1])
        factor = response(np.broadcast_to(kx, (len(ky), len(kx))), np.broadcast_to(ky[:, None], (len(ky), len(kx))))
        if not np.isfinite(factor).all():
            raise OptionError("the response is infinite at a wavenumber of the grid; damp it.")
        self.register_buffer("response", torch.view_as_real(torch.from_numpy(factor.astype(np.complex128))))
        self.response: Tensor
        self.index_x: Tensor
        self.index_y: Tensor
        self.taper_x: Tensor
        self.taper_y: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The filtered grid."""
        if not m.numel():
            return m
        mean = m.mean((-2, -1), keepdim=True)
        wide = (m - mean)[..., self.index_y, :][..., self.index_x]
        wide = wide * self.taper_y.to(m.dtype)[:, None] * self.taper_x.to(m.dtype)
        factor = torch.view_as_complex(self.response.to(m.dtype))
        filtered = torch.fft.irfft2(torch.fft.rfft2(wide) * factor, s=self.period)
        (y, x), (ny, nx) = self.before, self.domain.shape
        return filtered[..., y : y + ny, x : x + nx] + mean * self.response[0, 0, 0].to(m.dtype)

    @staticmethod
    def example() -> GridFilter:
        """The field 30 m higher."""
        space = Space("gravity", {"y": 20.0 * np.arange(5), "x": 25.0 * np.arange(6)}, "mGal")
        return continued(space, 30.0)


def continued(grid: Space, up: float, damping: float = 0.0) -> GridFilter:
    """The field ``up`` metres higher, exp(-k up); a negative number continues it downwards.

    Args:
        damping: α of e / (1 + α² e²) with e = exp(-k up), which keeps noise from growing beyond 1 / 2α on the way
            down; the mean of the grid is the same at every height and is kept.

    Raises:
        OptionError: downwards without damping, which would multiply noise without bound.
    """
    if not np.isfinite(up) or damping < 0 or (up < 0 and damping == 0):
        raise OptionError(f"up={up:g} with damping={damping:g}; the way down needs a damping such as 0.05.")

    def response(kx: Floats, ky: Floats) -> Complex:
        factor = np.exp(np.minimum(-np.hypot(kx, ky) * up, 300.0))
        damped = (factor / (1 + damping**2 * np.square(factor))).astype(np.complex128)
        damped[0, 0] = 1.0
        return damped

    return GridFilter(grid, response)


def derivative(grid: Space, along: str) -> GridFilter:
    """The slope of the field along "x" (east), "y" (north) or "z" (down) [unit of the field / m]."""
    factors: dict[str, Response] = {
        "x": lambda kx, ky: 1j * kx,
        "y": lambda kx, ky: 1j * ky,
        "z": lambda kx, ky: np.hypot(kx, ky).astype(np.complex128),
    }
    if along not in factors:
        raise OptionError(f"along={along!r}; give one of {', '.join(factors)}.")
    return GridFilter(grid, factors[along], f"d{grid.name}/d{along}", f"({grid.unit})/m")


def reduced_to_pole(
    grid: Space, field: Direction, magnetisation: Direction | None = None, damping: float = 0.1
) -> GridFilter:
    """The total-field anomaly as it would be with field and magnetisation vertical: highs lie above their bodies.

    The response is 1 / (Θ_f Θ_m), Θ = ĉ_z + i (ĉ_x kx + ĉ_y ky) / k for a direction ĉ.

    Args:
        magnetisation: of the bodies; along the field without.
        damping: where |Θ_f Θ_m| falls below it the response is held back, since near the magnetic equator it would
            multiply noise along the declination; 0 for none.
    """

    def response(kx: Floats, ky: Floats) -> Complex:
        k = np.hypot(kx, ky)
        k[k == 0] = np.inf
        product = np.ones(k.shape, np.complex128)
        for direction in (field, magnetisation or field):
            east, north, down = direction.unit()
            product *= down + 1j * (east * kx + north * ky) / k
        size = np.abs(product)
        with np.errstate(divide="ignore", invalid="ignore"):  # what is infinite is refused
            factor = product.conj() / size / np.maximum(size, damping)
        factor[0, 0] = 1.0
        return factor

    return GridFilter(grid, response, "reduced to the pole")


def _mirror(n: int, padding: float) -> tuple[NDArray[np.int64], Floats, int]:
    """Positions of the mirrored and tapered grid among the given ones, the taper, and how many stand before."""
    width = int(np.ceil(padding * (n - 1)))
    period = next_fast_len(n + 2 * width, real=True)
    before = (period - n) // 2
    at = np.arange(period) - before
    outside = np.maximum(np.maximum(-at, at - n + 1), 0)
    folded = np.abs(at) % (2 * n - 2)
    folded = np.where(folded > n - 1, 2 * n - 2 - folded, folded)
    reach = max(before, period - n - before, 1)
    taper = 0.5 * (1 + np.cos(np.pi * np.minimum(outside / reach, 1.0)))
    return folded.astype(np.int64), taper, before
