"""What a cell's change is told by: distances and densities of classes and places, slopes, nearness of closed land."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from posteriori.domains.geography.land_maps import Codes, Driver, Floats, Mask

SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Widths [cells] of the Gaussian windows that densities are taken over."""
SMOOTHED = (2.0, 6.0)
"""Widths [cells] of the windows that continuous drivers are smoothed over."""
AROUND = np.ones((3, 3))


def near(state: Codes, gained: int, time: int, drivers: Sequence[Driver], classes: Codes) -> Floats:
    """What a cellular automaton looks at, (y, x, feature): the eight neighbours, distances, and drivers as they are.

    ``classes`` (class,) are told apart, whether the state has cells of them or none.
    """
    here = state == gained
    found = [ndimage.convolve(here.astype(np.float64), AROUND, mode="constant"), _distance(here)]
    for driver in drivers:
        layer = driver.at(time)
        found += [_distance(layer == layer.max())] if driver.places else [layer]
    others = classes[classes != gained]
    found += [(state == code).astype(np.float64) for code in others] if len(others) > 1 else []
    return np.stack(found, -1)


def wide(state: Codes, gained: int, time: int, drivers: Sequence[Driver], classes: Codes, open_: Mask) -> Floats:
    """The same and more, (y, x, feature): densities at ``SCALES``, smoothed drivers, closed land, size of the patch."""
    here, known = state == gained, state >= 0
    found = [near(state, gained, time, drivers, classes)]
    layers = [_around(here, known, scale) for scale in SCALES]
    for driver in drivers:
        layer = driver.at(time)
        if driver.places:
            layers += [_around(layer == layer.max(), known, scale) for scale in SCALES]
        else:
            layers += [np.sqrt(np.abs(layer)) * np.sign(layer), *(_around(layer, known, scale) for scale in SMOOTHED)]
    for other in classes:
        if other != gained and len(classes) > 2:
            layers += [_around(state == other, known, scale) for scale in SMOOTHED]
    if not open_.all():
        layers += [_distance(~open_), *(_around(~open_, np.ones_like(known), scale) for scale in SMOOTHED)]
    layers.append(_patch(here))
    return np.concatenate([*found, np.stack(layers, -1)], -1)


def _distance(here: Mask) -> Floats:
    """log(1 + distance [cells]) to the nearest place; as far as the map is long where there is none."""
    if not here.any():
        return np.full(here.shape, np.log1p(np.hypot(*here.shape)))
    found: Floats = np.log1p(ndimage.distance_transform_edt(~here))
    return found


def _around(values: Floats | Mask, known: Mask, scale: float) -> Floats:
    """Mean over the window of a map or share that is such a place, windows cut where nothing is known."""
    inside = ndimage.gaussian_filter(known.astype(np.float64), scale, mode="constant")
    found = ndimage.gaussian_filter(np.where(known, values, 0.0), scale, mode="constant")
    return np.asarray(found / np.maximum(inside, 1e-9))


def _patch(here: Mask) -> Floats:
    """log of the number of cells in the nearest patch."""
    if not here.any():
        return np.zeros(here.shape)
    labels: NDArray[np.int64]
    labels, _ = ndimage.label(here, AROUND)
    sizes = np.bincount(labels.ravel())
    row, column = ndimage.distance_transform_edt(~here, return_distances=False, return_indices=True)
    return np.asarray(np.log(sizes[labels[row, column]]), np.float64)
