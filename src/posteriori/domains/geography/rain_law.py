"""A learnt law of rain some frames ahead: a censored Gaussian about what comes along the motion, with joint members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.domains.geography.motion import carried, inside, motion, origins
from posteriori.domains.geography.steps import WET, noise

Floats = NDArray[np.float64]
CELLS = 1200
"""Cells of each case that are learnt from."""
FAR = 1e-3
"""Share of wet cells in the widest surroundings below which there is no rain."""
LEVELS = 15
ROUNDS = 300
DECAY = 1e-3


@dataclass(frozen=True, eq=False)
class Case:
    """What is known of one forecast: inputs (feature, y, x), where they are defined, and rain carried along (y, x).

    ``near`` is where rain was at hand within some tens of cells; the law has none elsewhere.

    ``size`` [mm] is the mean rain of wet cells at hand: inputs are roots of rain over it, so that what is learnt from
    light rain serves for heavy rain too.
    """

    inputs: Floats
    defined: NDArray[np.bool_]
    near: NDArray[np.bool_]
    kept: Floats
    size: float


def case_of(past: Sequence[Floats], ahead: int) -> Case:
    """Inputs from three frames (y, x) [mm], the last at hand: roots of rain, as it is and smoothed."""
    wet_now = past[-1][past[-1] >= WET]
    size = float(wet_now.mean()) if len(wet_now) else 1.0
    flow = motion([np.log1p(10 * frame) for frame in past])
    now = origins(flow, ahead)
    u0 = carried(np.cbrt(past[-1] / size), now)
    wet = (u0 >= np.cbrt(WET / size)).astype(np.float64)
    smooth = gaussian_filter
    rough = np.sqrt(np.maximum(smooth(u0 * u0, 3.0) - smooth(u0, 3.0) ** 2, 0))
    level = [u0, *(smooth(u0, width) for width in (1.5, 3.0, 6.0, 12.0))]
    rainy = [smooth(wet, width) for width in (1.5, 4.0, 10.0)]
    # logarithms, so that rain far off and rain nowhere differ
    inputs = np.stack([*level, *rainy, *(np.log(share + FAR) for share in rainy), rough])
    return Case(inputs, inside(now), rainy[-1] >= FAR, size * u0**3, size)


@dataclass(frozen=True, eq=False)
class Trial:
    """A forecast inside the past.

    Attributes:
        first: frame of the stretch.
        past: three frames, the last at hand (y, x) [mm].
        truth: the frame to be forecast.
        case: inputs of the law.
        mask: cells that count.
    """

    first: int
    past: list[Floats]
    truth: Floats
    case: Case
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RainLaw:
    """Rain s max(0, μ + σ ε)³: s the case's size, μ and log σ linear in its inputs, ε a Gaussian field.

    Attributes:
        net: standardised inputs to (μ, log σ).
        shift, scale: of the inputs.
        length, slope: of ε's amplitude (1 + (2π k length)²)^(-slope / 2), k in cycles a cell.
    """

    net: nn.Module
    shift: Floats
    scale: Floats
    length: float = 4.0
    slope: float = 2.5

    def parameters_of(self, case: Case) -> tuple[Floats, Floats]:
        """Location and spread of the root of rain, (y, x) each."""
        x = (case.inputs - self.shift[:, None, None]) / self.scale[:, None, None]
        with torch.no_grad():
            out = self.net(torch.from_numpy(x).movedim(0, -1).float()).double().numpy()
        return out[..., 0], np.exp(out[..., 1])

    def members(self, case: Case, n: int, rng: Rng) -> Floats:
        """``n`` fields of rain [mm], (n, y, x)."""
        location, spread = self.parameters_of(case)
        root = location + spread * noise(n, location.shape, self.length, self.slope, rng)
        return np.where(case.near, case.size * np.maximum(root, 0.0) ** 3, 0.0)


def learnt(trials: Sequence[Trial], rng: Rng) -> RainLaw:
    """The law of least mean CRPS over cells of the trials, each in units of its size.

    Raises:
        DataError: no trial.
    """
    if not trials:
        raise DataError("there is no wet case to learn from; let the past reach further.")
    inputs, rain = [], []
    for trial in trials:
        at = np.flatnonzero(trial.mask)
        at = rng.numpy.choice(at, min(CELLS, len(at)), replace=False)
        inputs.append(trial.case.inputs.reshape(len(trial.case.inputs), -1)[:, at])
        rain.append(trial.truth.ravel()[at] / trial.case.size)
    x, y = np.concatenate(inputs, 1), torch.from_numpy(np.concatenate(rain)).float()
    shift, scale = x.mean(1), x.std(1) + 1e-6
    z = torch.from_numpy(((x - shift[:, None]) / scale[:, None]).T.copy()).float()
    net = nn.Linear(len(x), 2)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    _fit(net, z, y)
    return RainLaw(net.eval(), shift, scale)


def _fit(net: nn.Module, z: Tensor, y: Tensor) -> None:
    """Mean pinball loss over even quantiles, which is half the CRPS."""
    at = (torch.arange(LEVELS) + 0.5) / LEVELS
    score = torch.special.ndtri(at)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.03, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ROUNDS)
    for _ in range(ROUNDS):
        location, spread = net(z).unbind(-1)
        missed = y[:, None] - (location[:, None] + spread.exp()[:, None] * score).clamp(min=0) ** 3
        loss = torch.maximum(at * missed, (at - 1) * missed).mean()
        # zero-censored quantiles give no slope: keep the hidden quantity near where it would be seen
        loss = loss + 1e-3 * (-location - 3).clamp(min=0).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
