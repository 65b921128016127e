"""Layers of a stack before and after a field."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST = 3
"""Layers to each side at most."""
OFF = 0.01
"""Share of a step by which a layer may lie off it."""


def whole_steps(times: NDArray[np.float64], step: float) -> Tensor | None:
    """Times as whole numbers of steps, (n,); None where they are none, or two are the same."""
    if not step > 0:
        return None
    whole = np.round(times / step)
    off = np.abs(times / step - whole).max() > OFF or len(np.unique(whole)) < len(whole)
    return None if off else torch.from_numpy(whole.astype(np.int64))


def stacked(layers: Tensor, beside: Tensor) -> Tensor:
    """Fields with the layers beside them, (n, layer, y, x), of ``layers`` (m, y, x); NaN where there is none."""
    return torch.where((beside >= 0)[..., None, None], layers[beside.clamp_min(0)], torch.nan)


def narrowed(beside: Tensor, reach: int) -> Tensor:
    """The middle and ``reach`` to each side of an odd number of columns or layers, (n, 2 reach + 1, …)."""
    middle = beside.shape[1] // 2
    return beside[:, middle - reach : middle + reach + 1]


def layers_beside(steps: Tensor, of: Tensor, learnt: Tensor, reach: int) -> Tensor:
    """Which layers lie at the ``steps`` (n,) and up to ``reach`` beside, (n, 2 reach + 1); -1 where there is none.

    ``of`` are the steps of the layers to choose from, (m,). Layers at the steps ``learnt`` from are no neighbours.
    """
    free = {step: at for at, step in enumerate(of.tolist())}
    taken = set(learnt.tolist())
    beside = {step: at for step, at in free.items() if step not in taken}
    lags = range(-reach, reach + 1)
    rows = [[(beside if lag else free).get(step + lag, -1) for lag in lags] for step in steps.tolist()]
    return torch.tensor(rows, dtype=torch.long).reshape(len(steps), 2 * reach + 1)
