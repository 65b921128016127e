"""Free energies over two torsions: bins, basins, and a density that can be drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError
from posteriori.core.random import Rng

CELLS = 180
"""Cells of a density along each torsion, 2° wide."""
SPREAD = 0.045
"""Width [rad] of the kernel that smooths the density of the molecule itself."""
WIDE_SPREAD = 0.12
"""Width of the one that smooths the flat density."""
FLOOR = 1e-4
"""Share of the flat density that is even over the whole torus."""
SPLIT = (0.0, 2.3)
"""Range of φ [rad] of the left-handed basin (C7ax, αL); the rest is the right-handed one (C7eq, C5, αR)."""


class SurfaceLaw(nn.Module):
    """A density of (φ, ψ) on a fine grid, even inside each cell: that of the molecule, and a flat one beside it.

    Args:
        near, wide: log-densities [rad⁻²] of the two, (cell, cell).
    """

    def __init__(self, near: Tensor, wide: Tensor) -> None:
        super().__init__()
        self.register_buffer("near", near.float())
        self.register_buffer("wide", wide.float())
        self.near: Tensor
        self.wide: Tensor

    @staticmethod
    def of(near: Tensor, log_weights: Tensor, wide: Tensor) -> SurfaceLaw:
        """Smoothed densities of weighted (φ, ψ) ``near`` (row, 2) and of unweighted ones ``wide`` (row, 2) [rad]."""
        first = _smoothed(near, torch.softmax(log_weights, 0), SPREAD)
        flat = _smoothed(wide, torch.full((len(wide),), 1 / len(wide), dtype=torch.float64), WIDE_SPREAD)
        flat = (1 - FLOOR) * flat + FLOOR / (4 * pi**2)
        return SurfaceLaw(((1 - FLOOR) * first + FLOOR * flat).log(), flat.log())

    def log_density(self, share: float) -> Tensor:
        """log [(1 - share) near + share wide], normalised, float64 (cell, cell)."""
        mixed = (1 - share) * self.near.double().exp() + share * self.wide.double().exp()
        return (mixed / (mixed.sum() * (2 * pi / CELLS) ** 2)).log()

    def draw(self, n: int, rng: Rng, share: float) -> tuple[Tensor, Tensor]:
        """``n`` pairs (n, 2) [rad] in [-π, π) and their log-density."""
        table = self.log_density(share).flatten()
        edges = table.exp().cumsum(0)
        cell = torch.searchsorted(edges / edges[-1], rng.uniform((n,))).clamp_max(CELLS**2 - 1)
        place = torch.stack([cell // CELLS, cell % CELLS], -1) + rng.uniform((n, 2))
        return place * (2 * pi / CELLS) - pi, table[cell]

    def log_prob(self, surface: Tensor, share: float) -> Tensor:
        """Log-density [rad⁻²] of (φ, ψ) (*batch, 2), float64."""
        return self.log_density(share).flatten()[binned(surface, CELLS)]


@dataclass(frozen=True)
class Ramachandran:
    """Free energies [kT] over (φ, ψ) bins, and of the left-handed basin against the right-handed one.

    Attributes:
        values: -log of the bins' probabilities, (bin, bin), least one zero; inf where no row fell.
        errors: their standard errors; inf where unknown.
        difference: -log [P(left-handed) / P(right-handed)].
        difference_error: its standard error.
    """

    values: Tensor
    errors: Tensor
    difference: float
    difference_error: float

    @staticmethod
    def of(surface: Tensor, log_weights: Tensor, blocks: int, bins: int = 24) -> Ramachandran:
        """From weighted (φ, ψ) (block · row, 2), whose ``blocks`` equal parts are independent of each other.

        Raises:
            DataError: rows that no equal blocks make up, or a basin without a row.
        """
        if blocks < 2 or len(surface) % blocks:
            raise DataError(f"{len(surface)} rows in {blocks} blocks; give at least two equal ones.")
        weight = (log_weights.double() - log_weights.max()).exp().reshape(blocks, -1)
        cell = binned(surface, bins).reshape(blocks, -1)
        sums = torch.zeros(blocks, bins**2, dtype=torch.float64).scatter_add_(1, cell, weight)
        left = ((surface[:, 0] > SPLIT[0]) & (surface[:, 0] < SPLIT[1])).reshape(blocks, -1)
        sides = torch.stack([(weight * left).sum(1), (weight * ~left).sum(1)], -1)
        if not bool((sides.sum(0) > 0).all()):
            raise DataError("one of the two basins of φ holds no row; nothing is known of their difference.")
        values, errors = _minus_log(sums, weight.sum(1))
        best = int(values.argmin())
        ratio = sides[:, 0].sum() / sides[:, 1].sum()
        off = (sides[:, 0] - ratio * sides[:, 1]) / sides[:, 0].sum()
        error = (off.square().sum() * blocks / (blocks - 1)).sqrt()
        shape = (bins, bins)
        return Ramachandran(
            (values - values[best]).reshape(shape), errors.reshape(shape), -float(ratio.log()), float(error)
        )

    def against(self, reference: Ramachandran, most: float) -> tuple[float, int]:
        """Root mean square difference [kT] over bins whose reference error is at most ``most``, and their number.

        Surfaces are shifted by the log of the probability that each puts on those bins.
        """
        known = (reference.errors <= most) & torch.isfinite(reference.values)
        return float(self.aligned(reference, known)[known].square().mean().sqrt()), int(known.sum())

    def aligned(self, reference: Ramachandran, known: Tensor) -> Tensor:
        """This surface less the reference, both shifted by the log of what they put on the ``known`` bins."""
        mine, other = (s + torch.logsumexp(-s[known], 0) for s in (self.values, reference.values))
        return mine - other


@dataclass(frozen=True)
class Profile:
    """A potential of mean force along one torsion.

    Attributes:
        centres: of the bins [rad], (bin,).
        values: -log density, least one zero [kT].
        errors: their standard errors; inf where unknown.
    """

    centres: Tensor
    values: Tensor
    errors: Tensor

    @staticmethod
    def of(torsion: Tensor, log_weights: Tensor, blocks: int, bins: int = 72) -> Profile:
        """From weighted torsions (block · row,) [rad], whose ``blocks`` equal parts are independent of each other."""
        weight = (log_weights.double() - log_weights.max()).exp().reshape(blocks, -1)
        place = torch.remainder(torsion.double() + pi, 2 * pi) * (bins / (2 * pi))
        cell = place.long().clamp(0, bins - 1).reshape(blocks, -1)
        sums = torch.zeros(blocks, bins, dtype=torch.float64).scatter_add_(1, cell, weight)
        values, errors = _minus_log(sums, weight.sum(1))
        centres = (torch.arange(bins, dtype=torch.float64) + 0.5) * (2 * pi / bins) - pi
        return Profile(centres, values - values.min(), errors)


def binned(surface: Tensor, cells: int) -> Tensor:
    """The flat bin of (φ, ψ) (*batch, 2) [rad] among cells × cells."""
    place = torch.remainder(surface.double() + pi, 2 * pi) * (cells / (2 * pi))
    i, j = place.long().clamp(0, cells - 1).unbind(-1)
    return i * cells + j


def _minus_log(sums: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
    """-log of the share of each bin and its error over blocks: sums (block, bin), totals (block,)."""
    blocks = len(sums)
    share = sums.sum(0) / totals.sum()
    off = (sums - share * totals[:, None]) / totals.sum()
    error = (off.square().sum(0) * blocks / (blocks - 1)).sqrt() / share
    seen = (sums > 0).sum(0) > 1
    return -share.log(), torch.where(seen, error, torch.inf)


def _smoothed(surface: Tensor, weights: Tensor, spread: float) -> Tensor:
    """Density [rad⁻²] of weighted pairs on the grid, smoothed by a Gaussian on the torus."""
    counts = torch.zeros(CELLS**2, dtype=torch.float64).index_add(0, binned(surface, CELLS), weights)
    k = torch.fft.fftfreq(CELLS, 1 / CELLS, dtype=torch.float64)
    damp = (-0.5 * spread**2 * (k[:, None].square() + k.square())).exp()
    found = torch.fft.ifft2(torch.fft.fft2(counts.reshape(CELLS, CELLS)) * damp).real
    return found.clamp_min(0.0) / (2 * pi / CELLS) ** 2
