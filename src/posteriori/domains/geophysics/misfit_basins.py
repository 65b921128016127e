"""How far a wrong time may be off before a misfit leads away from the right one: two Rickers and the shift between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from posteriori.core.noise import Noise, Normal, Student
from posteriori.domains.geophysics.misfits import Correlation, Envelope, Huber, Phase, Transport
from posteriori.domains.geophysics.pictures import curves_picture
from posteriori.physics.wavelets import ricker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, DT, FREQUENCY = 800, 0.004, 5.0
SHIFTS = np.arange(-5.0, 5.001, 0.05)
"""Shifts [periods]."""


def every() -> dict[str, Noise]:
    """The misfits by name, for traces of this experiment."""
    return {
        "least squares": Normal(1.0),
        "Student, 1 dof": Student(0.1, 1.0),
        "Huber": Huber(0.1),
        "phase": Phase(STEPS),
        "correlation": Correlation(STEPS),
        "envelope": Envelope(STEPS),
        "optimal transport": Transport(STEPS),
    }


def energies(misfit: Noise) -> np.ndarray:
    """Misfit of a Ricker of 5 Hz and one shifted by ``SHIFTS``, less that at no shift, over its largest value."""
    times = DT * torch.arange(STEPS, dtype=torch.float64)
    late = 0.5 * STEPS * DT + SHIFTS / FREQUENCY
    shifted = torch.stack([ricker(FREQUENCY, times, float(delay)) for delay in late])
    found = misfit.energy(shifted[len(SHIFTS) // 2], shifted).numpy()
    found = found - found[len(SHIFTS) // 2]
    return found / found.max()


def basin(misfit: Noise) -> float:
    """Largest shift [periods] from which the misfit falls all the way to no shift; that asked for where all do."""
    right = energies(misfit)[len(SHIFTS) // 2 :]
    rising = np.diff(right) > 1e-9
    return float(SHIFTS[-1] if rising.all() else SHIFTS[len(SHIFTS) // 2 + int((~rising).argmax())])


def basins_picture() -> Figure:
    """Every misfit against the shift, and in the legend the half-width of its basin."""
    curves = {f"{name}: {basin(m):.2f} periods": (SHIFTS, energies(m)) for name, m in every().items()}
    return curves_picture(curves, "shift [periods]", "misfit / its largest")
