"""What a section may look like about its smooth start: a Gaussian law whose numbers come from training sections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from posteriori.core.covariance import Covariance
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.domains.geophysics.marmousi import SPACING, coarsened, smoothed, synthetic_section, water_depth


class SeparableCovariance(Covariance):
    """diag(sd) (Z ⊗ X) diag(sd) over the cells of a section (z, x), known by roots: Z = A Aᵀ, X = B Bᵀ.

    Args:
        down: A (nz, p). across: B (nx, q). sd: (nz, nx); zero where the model is known.
    """

    def __init__(self, down: Tensor, across: Tensor, sd: Tensor) -> None:
        super().__init__()
        if sd.shape != (len(down), len(across)):
            raise ShapeError(f"standard deviations {tuple(sd.shape)} do not fit {len(down)} × {len(across)} cells.")
        self.register_buffer("down", down)
        self.register_buffer("across_", across)
        self.register_buffer("sd", sd)
        self.down: Tensor
        self.across_: Tensor
        self.sd: Tensor
        self.size = sd.numel()

    @property
    def like(self) -> Tensor:
        return self.sd

    @property
    def coordinates(self) -> tuple[int, int]:
        """Shape (p, q) of the standard normal coordinates u of :meth:`root`."""
        return self.down.shape[1], self.across_.shape[1]

    def root(self, u: Tensor) -> Tensor:
        """sd · A u Bᵀ, (*batch, nz, nx) of (*batch, p, q): has this covariance where u is standard normal."""
        a, b, sd = (t.to(u.dtype) for t in (self.down, self.across_, self.sd))
        return sd * (a @ u @ b.mT)

    def root_transposed(self, g: Tensor) -> Tensor:
        """Aᵀ (sd · g) B, (*batch, p, q)."""
        a, b, sd = (t.to(g.dtype) for t in (self.down, self.across_, self.sd))
        return a.mT @ (sd * g) @ b

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        z, x = self.down @ self.down.mT, self.across_ @ self.across_.mT
        (i, j), (p, q) = (torch.unravel_index(c, self.sd.shape) for c in (rows, columns))
        flat = self.sd.flatten()
        return flat[rows, None] * z[i[:, None], p] * x[j[:, None], q] * flat[columns]

    def diagonal(self) -> Tensor:
        return (self.sd.square() * torch.outer(self.down.square().sum(1), self.across_.square().sum(1))).flatten()

    def matmul(self, v: Tensor) -> Tensor:
        shaped = v.reshape(*v.shape[:-1], *self.sd.shape)
        return self.root(self.root_transposed(shaped)).reshape(v.shape)

    def sample(self, n: int, rng: Rng) -> Tensor:
        return self.root(rng.normal((n, *self.coordinates), self.sd)).reshape(n, self.size)


@dataclass(frozen=True)
class SectionPrior:
    """How sections differ from their own blur: learnt once from training sections of one spacing.

    Attributes:
        down, across: autocorrelations of the difference at lags 0, 1, 2, … cells.
        sd: its standard deviation [m/s] by cells below the water bottom.
        spacing: of the cells [m]. sigma: of the blur [m].
    """

    down: np.ndarray
    across: np.ndarray
    sd: np.ndarray
    spacing: float
    sigma: float

    @staticmethod
    def learn(
        rng: Rng, nz: int, nx: int, block: int, sigma: float, sections: int = 12, node: float = SPACING
    ) -> SectionPrior:
        """From ``sections`` synthetic sections of (nz, nx) nodes ``node`` [m] apart, in means of ``block`` × ``block``.

        The truth of an inversion never enters: its generator shares no numbers with it.
        """
        differences = [
            _difference(synthetic_section(rng.child(i), nz, nx, node), block, sigma) for i in range(sections)
        ]
        rows = min(len(d) for d in differences)
        stack = torch.from_numpy(np.stack([d[:rows] for d in differences]))
        sd = stack.square().mean((0, 2)).sqrt()
        smooth = torch.nn.functional.avg_pool1d(sd[None, None], 15, 1, 7, count_include_pad=False)[0, 0]
        white = stack / smooth[:, None]
        spacing = block * node
        return SectionPrior(_lags(white, 1), _lags(white, 2), smooth.numpy(), spacing, sigma)

    def about(self, start: xr.DataArray, water: float) -> Gaussian:
        """N(start, this law below the water), over the Space of ``start`` (z, x) [m/s].

        Raises:
            DataError: another spacing than that of the training sections.
        """
        z, x = (np.asarray(start[d].values, float) for d in ("z", "x"))
        if (
            abs(z[1] - z[0] - self.spacing) > 1e-6 * self.spacing
            or abs(x[1] - x[0] - self.spacing) > 1e-6 * self.spacing
        ):
            raise DataError(f"the start has cells of {z[1] - z[0]:g} m, the training sections of {self.spacing:g} m.")
        rock = np.flatnonzero(z > water)
        profile = np.zeros(len(z))
        profile[rock] = np.interp(np.arange(len(rock)), np.arange(len(self.sd)), self.sd)
        sd = torch.from_numpy(profile)[:, None].expand(len(z), len(x)).clone()
        covariance = SeparableCovariance(_root(self.down, len(z)), _root(self.across, len(x)), sd)
        space = Space("velocity", {"z": z, "x": x}, "m/s", Positive())
        return Gaussian(space, torch.from_numpy(start.values.astype(float)), covariance)


def _difference(section: xr.DataArray, block: int, sigma: float) -> np.ndarray:
    water = water_depth(section)
    cells = coarsened(section, block)
    found = (cells - smoothed(cells, sigma, water)).values
    return found[cells["z"].values > water]


def _lags(white: Tensor, axis: int) -> np.ndarray:
    """Biased autocorrelation along an axis, averaged over all others: positive semi-definite by construction."""
    n = white.shape[axis]
    power = torch.fft.rfft(white, 2 * n, axis).abs().square()
    others = [d for d in range(white.ndim) if d != axis]
    lags = torch.fft.irfft(power.mean(others), 2 * n)[:n]
    return (lags / lags[0]).numpy()


def _root(lags: np.ndarray, n: int) -> Tensor:
    """A (n, p) with A Aᵀ the Toeplitz matrix of the lags; directions below 1e-6 of the largest are left out.

    Lags that no training section was long enough for are zero, as biased autocorrelations are.
    """
    padded = np.zeros(max(n, len(lags)))
    padded[: len(lags)] = lags
    at = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    value, vector = torch.linalg.eigh(torch.from_numpy(padded[at]))
    keep = value > 1e-6 * value[-1]
    return (vector[:, keep] * value[keep].sqrt()).flip(1)
