"""Cloud masks: the scene classes of Sentinel-2, and which of them leave a cell in sight."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from posteriori.core.errors import DataError
from posteriori.core.raster import Raster
from posteriori.domains.geography.regrid import require_same_grid


class Scene(IntEnum):
    """Classes of the scene classification (SCL) of Sentinel-2 level 2A.

    Reference: ESA, Sentinel-2 Products Specification Document, level-2A, table of the scene classification.
    """

    NO_DATA = 0
    DEFECTIVE = 1
    DARK = 2
    CLOUD_SHADOW = 3
    VEGETATION = 4
    BARE = 5
    WATER = 6
    UNCLASSIFIED = 7
    CLOUD_MEDIUM = 8
    CLOUD_HIGH = 9
    CIRRUS = 10
    SNOW = 11


CLEAR = (Scene.DARK, Scene.VEGETATION, Scene.BARE, Scene.WATER, Scene.UNCLASSIFIED, Scene.SNOW)
"""Classes that leave the ground in sight; cirrus, cloud of medium probability and shadow do not."""


def in_sight(scene: Raster, clear: Collection[Scene] = CLEAR) -> NDArray[np.bool_]:
    """True where the ground is in sight, (layer, y, x); a gap of the classification is not.

    Raises:
        DataError: a class that the classification does not have.
    """
    unknown = np.setdiff1d(scene.classes, [int(each) for each in Scene])
    if len(unknown):
        raise DataError(f"{scene.name} has the class {unknown[0]}; scene classes run from 0 to 11.")
    return scene.observed & np.isin(scene.stored, [int(each) for each in clear])


def cleared(raster: Raster, scene: Raster, clear: Collection[Scene] = CLEAR) -> Raster:
    """The raster with gaps where its scene classification sees no ground; other cells keep every bit.

    Raises:
        ShapeError: another grid (scene classes come at 20 m: regrid.onto them first), or other layers.
        DataError: an unknown class, or whole numbers without a nodata number.
    """
    require_same_grid(raster, scene)
    sight = in_sight(scene, clear)
    return raster.hidden(~(sight[0] if len(sight) == 1 else sight))
