"""Radial power spectra of complete fields on a regular grid; fields with gaps have ``variograms`` instead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, ShapeError


@dataclass(frozen=True)
class Rings:
    """Rings of wavenumber between the lowest that both sides resolve and Nyquist's of the coarser axis.

    ``edges`` [cycles per unit of length], (ring + 1,), spaced evenly in the logarithm; ``ring`` the ring (-1: none) of
    every Fourier cell of a (y, x) field.
    """

    edges: Tensor
    ring: Tensor

    @property
    def centre(self) -> Tensor:
        """Geometric mean wavenumber of each ring [cycles per unit of length]."""
        return (self.edges[1:] * self.edges[:-1]).sqrt()

    @staticmethod
    def of(shape: tuple[int, int], rings: int = 8, spacing: tuple[float, float] = (1.0, 1.0)) -> Rings:
        """Rings of a grid of ``shape`` (y, x) whose cells are ``spacing`` (dy, dx) long; a ring no cell is in goes.

        Raises:
            OptionError: no ring, or a side of fewer than four cells.
        """
        if rings < 1 or min(shape) < 4 or not min(spacing) > 0:
            raise OptionError(f"{rings} rings on {shape} cells of {spacing}: give rings >= 1, sides >= 4, spacing > 0.")
        k = [torch.fft.fftfreq(n, d, dtype=torch.float64) for n, d in zip(shape, spacing, strict=True)]
        radius = torch.hypot(k[0][:, None], k[1][None, :])
        low = 1 / min(n * d for n, d in zip(shape, spacing, strict=True))
        high = 0.5 / max(spacing)
        edges = low * (high / low) ** torch.linspace(0, 1, rings + 1, dtype=torch.float64)
        edges[0], edges[-1] = edges[0] * (1 - 1e-9), edges[-1] * (1 + 1e-9)
        ring = torch.bucketize(radius, edges, right=True) - 1
        ring[(radius < edges[0]) | (radius > edges[-1])] = -1
        filled = torch.bincount(ring[ring >= 0], minlength=rings) > 0
        if filled.all():
            return Rings(edges, ring)
        keep = torch.cat([filled, torch.tensor([True])])
        renumbered = torch.where(ring >= 0, filled.long().cumsum(0)[ring.clamp(min=0)] - 1, -1)
        return Rings(edges[keep], renumbered)


def radial_spectrum(fields: Tensor, rings: Rings) -> Tensor:
    """Mean power of each ring, (*case, ring), of (*case, y, x) fields less their mean under a Hann window.

    Raises:
        DataError: a field has a gap: a Fourier transform would see the gap, not the field.
    """
    if fields.shape[-2:] != rings.ring.shape:
        raise ShapeError(f"fields {tuple(fields.shape)} do not end in the rings' grid {tuple(rings.ring.shape)}.")
    if not torch.isfinite(fields).all():
        raise DataError("a spectrum needs complete fields, and one has gaps; compare variograms, which take a mask.")
    x = fields.to(torch.float64)
    window = torch.hann_window(x.shape[-2], periodic=False, dtype=x.dtype)[:, None]
    window = window * torch.hann_window(x.shape[-1], periodic=False, dtype=x.dtype)
    window = window / window.square().mean().sqrt()
    power = torch.fft.fft2((x - x.mean((-2, -1), keepdim=True)) * window).abs().square() / window.numel()
    inside = rings.ring.reshape(-1) >= 0
    index = rings.ring.reshape(-1)[inside]
    number = len(rings.edges) - 1
    sums = power.new_zeros(*power.shape[:-2], number).index_add_(-1, index, power.flatten(-2)[..., inside])
    return sums / torch.bincount(index, minlength=number)


def spectrum_ratio(fields: Tensor, reference: Tensor, rings: Rings) -> Tensor:
    """Mean power of ``fields`` over that of ``reference``, (ring,): 1 where both vary alike at that scale.

    Raises:
        DataError: the reference has no power in a ring.
    """
    ours, theirs = (radial_spectrum(part.reshape(-1, *part.shape[-2:]), rings).mean(0) for part in (fields, reference))
    if (theirs <= 0).any():
        raise DataError("the reference has no power in a ring; its fields are constant at that scale: use fewer rings.")
    return ours / theirs
