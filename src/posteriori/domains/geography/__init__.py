"""Geography: rasters with gaps, clouds, short histories or coarse grids, filled, generated, forecast and sharpened."""

from __future__ import annotations
