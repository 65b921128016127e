"""Depth weighting: deep cells may vary as much more as the data see less of them."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.grid import centres
from posteriori.core.space import Space


def depth_scale(space: Space, z0: float, power: float = 2.0, dim: str = "z") -> Tensor:
    """Factors on the standard deviations of a prior, (z + z0)^(power/2) with root mean square one, space.shape.

    Their inverse is the weight that Li and Oldenburg put into the penalty. ``z0`` [m] is about the height of the
    stations above the uppermost cells plus half a cell; ``power`` is the kernel's decay: 2 for gravity, 3 for
    magnetics.

    Raises:
        OptionError: a cell would lie above the surface z + z0 = 0.

    Reference: Li & Oldenburg (1998), 3-D inversion of gravity data, Geophysics 63, 109.
    """
    below = torch.from_numpy(centres(space, dim)) + z0
    if bool((below <= 0).any()):
        raise OptionError(f"z0={z0:g} puts the cell at {dim}={float(below.min()) - z0:g} above the surface; raise z0.")
    factor = below ** (power / 2)
    shape = [-1 if d == dim else 1 for d in space.dims]
    return (factor / factor.square().mean().sqrt()).reshape(shape).expand(space.shape).clone()
