"""Landscape metrics of a map of classes: patches, edges, contagion.

Maps are integer classes (y, x); ``mask`` is True where the map is defined. Patches are joined over edges and corners;
edges against the border or against undefined cells do not count, but the landscape's area leaves those cells out.

Reference: McGarigal & Marks (1995), FRAGSTATS; Bosch (2019), PyLandStats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from posteriori.audit.rasters.variograms import pair_ends
from posteriori.core.errors import DataError, ShapeError

HECTARE = 1e4  # m²


@dataclass(frozen=True)
class Landscape:
    """Metrics of the whole map, or of one class in it.

    Attributes:
        patches: their number.
        patch_density: patches per 100 hectares [1 / 100 ha].
        edge_density: length of edges per area [m / ha].
        largest_patch: share of the landscape that the largest patch covers [%].
        proportion: share of the landscape [%], 100 of the whole.
    """

    patches: int
    patch_density: float
    edge_density: float
    largest_patch: float
    proportion: float


def landscape(
    classes: Tensor, spacing: tuple[float, float], mask: Tensor | None = None, only: int | None = None
) -> Landscape:
    """Metrics of a map of cells ``spacing`` (dy, dx) [m], of all its classes or of ``only`` one.

    Raises:
        DataError: no defined cell, or the class is nowhere.
    """
    kept = _kept(classes, mask)
    area = kept.sum().item() * spacing[0] * spacing[1]
    every = torch.unique(classes[kept]).tolist()
    if only is not None and only not in every:
        raise DataError(f"class {only} is nowhere on the map; it has {every}.")
    sizes = [_patch_sizes(((classes == one) & kept).numpy()) for one in (every if only is None else [only])]
    cells = np.concatenate(sizes)
    length = 0.0
    for lag, side in (((0, 1), spacing[0]), ((1, 0), spacing[1])):
        (near, far), (one, other) = pair_ends(classes, *lag), pair_ends(kept, *lag)
        edge = (near != far) & one & other
        if only is not None:
            edge = edge & ((near == only) | (far == only))
        length += edge.sum().item() * side
    total = kept.sum().item()
    hectares = area / HECTARE
    return Landscape(
        patches=len(cells),
        patch_density=100 * len(cells) / hectares,
        edge_density=length / hectares,
        largest_patch=100 * float(cells.max()) / total,
        proportion=100 * float(cells.sum()) / total,
    )


def contagion(classes: Tensor, mask: Tensor | None = None) -> float:
    """How far classes clump [%]: 100 for one patch a class, 0 where every class meets every other alike.

    1 + sum_ij q_ij log q_ij / (2 log m) with q_ij = P_i g_ij / sum_k g_ik, g the number of ordered pairs of cells that
    share an edge (a pair of one class counts twice), P the share of the class and m the number of classes. PyLandStats'
    documentation says the same; its code takes g over its sum for q (within 0.3 on its test data).

    Raises:
        DataError: fewer than two classes.
    """
    kept = _kept(classes, mask)
    every, codes = torch.unique(classes[kept], return_inverse=True)
    m = len(every)
    if m < 2:
        raise DataError("contagion compares classes, and the map has one only.")
    coded = torch.full(classes.shape, -1, dtype=torch.long)
    coded[kept] = codes
    joined = torch.zeros(m * m, dtype=torch.float64)
    for lag in ((0, 1), (1, 0)):
        near, far = pair_ends(coded, *lag)
        both = (near >= 0) & (far >= 0)
        joined += torch.bincount(near[both] * m + far[both], minlength=m * m)
    ordered = joined.reshape(m, m) + joined.reshape(m, m).mT
    share = torch.bincount(codes, minlength=m).to(torch.float64) / len(codes)
    q = share[:, None] * ordered / ordered.sum(1, keepdim=True).clamp(min=1)
    return 100 * (1 + (torch.special.xlogy(q, q).sum() / (2 * np.log(m))).item())


def _patch_sizes(here: NDArray[np.bool_]) -> NDArray[np.int64]:
    labels, _ = ndimage.label(here, np.ones((3, 3)))
    sizes: NDArray[np.int64] = np.bincount(labels.ravel())[1:]
    return sizes


def _kept(classes: Tensor, mask: Tensor | None) -> Tensor:
    if classes.ndim != 2 or classes.is_floating_point():
        raise ShapeError(f"a landscape is a map (y, x) of integer classes, not {tuple(classes.shape)} {classes.dtype}.")
    kept = torch.ones(classes.shape, dtype=torch.bool) if mask is None else mask
    if kept.shape != classes.shape or kept.dtype != torch.bool or not kept.any():
        raise DataError(f"mask {tuple(kept.shape)} must be booleans {tuple(classes.shape)}, somewhere True.")
    return kept
