"""Gaps filled from coarser and coarser means: smooth, quick, for any share of gaps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pull_push(values: Tensor, seen: Tensor) -> Tensor:
    """``values`` (n, 1, y, x) where ``seen`` is 1, elsewhere what the means of ever larger squares say; 0 if none are.

    Means over seen cells are taken over squares of side 2, 4, 8, … (pull); a gap takes what bilinear interpolation of
    the next coarser means gives there (push).

    Reference: Gortler, Grzeszczuk, Szeliski & Cohen (1996), The Lumigraph, SIGGRAPH, section 3.4.
    """
    if min(values.shape[-2:]) == 1 or bool((seen > 0).all()):
        count = seen.sum((-2, -1), keepdim=True)
        mean = (values * seen).sum((-2, -1), keepdim=True) / count.clamp_min(1e-12)
        return torch.where(seen > 0, values, mean)
    odd = (0, values.shape[-1] % 2, 0, values.shape[-2] % 2)
    share = functional.avg_pool2d(functional.pad(seen, odd), 2)
    mean = functional.avg_pool2d(functional.pad(values * seen, odd), 2) / share.clamp_min(1e-12)
    coarse = pull_push(mean, (share > 0).to(values))
    size = (values.shape[-2] + odd[3], values.shape[-1] + odd[1])
    pushed = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.where(seen > 0, values, pushed[..., : values.shape[-2], : values.shape[-1]])
