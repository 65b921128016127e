"""A field that drifts and fades under drifting clouds, its truth known below them."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.random import Rng

DRIFT = (0.6, 1.0)
"""Cells that the field moves between two dates, down and right."""
KEPT = 0.93
"""Share of the field's widest waves that the next date keeps."""
CLEAR = 0.3
"""Share of the dates without a cloud; as many again are half hidden or more."""


def drifting_scene(dates: int, side: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """The truth (time, y, x), float64, unit spread about a yearly wave, and where clouds hide it."""
    k = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)).double()
    field = _drifting(dates, side, (k + 1.5 / side) ** -1.8, DRIFT, KEPT ** (1 + k * side / 3), rng.child("field"))
    wave = torch.sin(2 * torch.pi * torch.arange(dates, dtype=torch.float64) / 18)
    ground = _drifting(1, side, (k + 2 / side) ** -1.5, (0.0, 0.0), k * 0, rng.child("ground"))
    truth = field + 0.8 * wave[:, None, None] + 0.7 * ground
    sky = _drifting(dates, side, (k + 3 / side) ** -2.5, (3.0, -5.0), 0.6 + 0 * k, rng.child("sky"))
    cover = ((rng.child("cover").uniform((dates,)) - CLEAR) / (1 - CLEAR)).clamp(0.0, 0.9)
    level = torch.stack([sky[i].quantile(1 - cover[i]) for i in range(dates)])
    return truth, (sky > level[:, None, None]) & (cover[:, None, None] > 0)


def _drifting(dates: int, side: int, size: Tensor, drift: tuple[float, float], kept: Tensor, rng: Rng) -> Tensor:
    """Waves of amplitude ``size`` that move by ``drift`` and keep the share ``kept`` from date to date."""
    down, right = torch.fft.fftfreq(side).double()[:, None], torch.fft.rfftfreq(side).double()
    turn = torch.exp(-2j * torch.pi * (down * drift[0] + right * drift[1]))
    amplitude = size.clone()
    amplitude[0, 0] = 0.0
    waves = [torch.fft.rfft2(rng.child(0).normal((side, side))) * amplitude]
    for date in range(1, dates):
        fresh = torch.fft.rfft2(rng.child(date).normal((side, side))) * amplitude
        waves.append(waves[-1] * turn * kept + (1 - kept.square()).sqrt() * fresh)
    fields = torch.fft.irfft2(torch.stack(waves), s=(side, side))
    return fields / fields.std()
