"""Samples as points of a few features: principal components, texture, or what a denoising net finds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from posteriori.audit.rasters.texture import Texture
from posteriori.core.run import Context
from posteriori.domains.geography.land_maps import Floats
from posteriori.domains.geography.pattern_samples import Samples
from posteriori.learn.bottleneck import bottleneck_features

KEPT = 5
"""Components that clusters are sought in at most."""
SHARE = 0.9
"""Of the variance, beyond which no further component is taken."""
COMPONENTS, TEXTURE, NET, NAMED = "principal components", "texture", "denoising net", "named features"


def features(samples: Samples, context: Context, quick: bool) -> Mapping[str, Floats]:
    """Points (sample, feature) by the kind of their features, principal axes of unit variance at most ``KEPT``."""
    if samples.names:
        return {NAMED: standardised(samples.rows)}
    found = {COMPONENTS: principal(samples.rows)}
    if len(samples.shape) == 2 and min(samples.shape) >= 8:
        texture = Texture((samples.shape[0], samples.shape[1]), tile=max(2, min(samples.shape) // 2))
        found[TEXTURE] = principal(standardised(texture(torch.from_numpy(samples.values)).numpy()))
    codes = bottleneck_features(torch.from_numpy(samples.rows), context, epochs=40 if quick else 150)
    found[NET] = principal(codes.numpy())
    return found


def standardised(rows: Floats) -> Floats:
    """Each column of mean zero and variance one; columns that never vary are dropped."""
    spread = rows.std(0)
    kept = spread > 1e-9 * (np.abs(rows).mean(0) + 1e-12)
    return np.asarray((rows[:, kept] - rows[:, kept].mean(0)) / spread[kept])


def principal(rows: Floats) -> Floats:
    """Leading principal components (sample, component), scaled by the spread of the first."""
    centred = rows - rows.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    share = np.cumsum(size**2) / (size**2).sum()
    kept = min(KEPT, int(np.searchsorted(share, SHARE)) + 1)
    return np.asarray(left[:, :kept] * size[:kept] / size[0] * len(rows) ** 0.5)
