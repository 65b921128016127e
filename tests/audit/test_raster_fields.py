"""Spectra, variograms and window scores, against brute force, scikit-image and laws with a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from posteriori.audit.rasters.spectra import Rings, radial_spectrum, spectrum_ratio
from posteriori.audit.rasters.variograms import axis_lags, variogram, variogram_error, variogram_ratio
from posteriori.audit.rasters.windows import (
    fractions,
    fractions_skill,
    fractions_skill_terms,
    structural_similarity,
)
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng


def blurred(cases: int, shape: tuple[int, int], width: float, seed: int = 0) -> Tensor:
    """White noise under a Gaussian filter, periodic."""
    noise = Rng(seed).numpy.standard_normal((cases, *shape))
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, width, width), mode="wrap"))


@pytest.mark.parametrize("width", [1, 3, 7])
def test_fractions_are_brute_force_ones_with_gaps(width: int) -> None:
    rng = Rng(1)
    event, mask = rng.uniform((2, 9, 13)) > 0.6, rng.uniform((9, 13)) > 0.3
    found, half = fractions(event, width, mask), width // 2
    for c, i, j in ((0, 0, 0), (1, 4, 6), (0, 8, 12), (1, 2, 11)):
        window = (c, slice(max(0, i - half), i + half + 1), slice(max(0, j - half), j + half + 1))
        if mask[i, j]:
            assert found[c, i, j].item() == pytest.approx(event[window][mask[window[1:]]].double().mean().item())
        else:
            assert found[c, i, j].isnan()
    inner = ndimage.uniform_filter(event.double().numpy(), (0, width, width), mode="constant")
    middle = slice(half, 9 - half), slice(half, 13 - half)
    assert np.allclose(fractions(event, width)[:, *middle], inner[:, *middle])


def test_fractions_skill_by_hand_and_by_scale() -> None:
    event = torch.zeros(1, 16, 16, dtype=torch.bool)
    event[:, 8, 4] = True
    moved = event.roll(1, -1)
    assert fractions_skill(event, event, 1) == 1
    assert fractions_skill(moved, event, 1) == 0
    assert fractions_skill(moved, event, 3) == pytest.approx(1 - 6 / 18)  # 6 cells of 1/9 differ, 18 are > 0
    assert fractions_skill(moved, event, 9) > 0.8
    both = torch.stack([event, moved]).double().mean(0)
    error, largest = fractions_skill_terms(both, event, 1)
    assert error.item() / largest.item() == pytest.approx(0.5 / 1.5)
    with pytest.raises(DataError, match="nowhere"):
        fractions_skill(~event & event, event & ~event, 3)
    with pytest.raises(OptionError, match="odd"):
        fractions(event, 4)
    with pytest.raises(DataError, match="probability"):
        fractions(3 * event.double(), 3)


def test_structural_similarity_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = 280 + 5 * blurred(3, (20, 31), 2), 280 + 5 * blurred(3, (20, 31), 1, seed=1)
    b = (a + b) / 2
    for width in (7, 11):
        found = structural_similarity(a, b, 10.0, width=width)
        other = [
            metrics.structural_similarity(p, q, data_range=10.0, win_size=width)
            for p, q in zip(a.numpy(), b.numpy(), strict=True)
        ]
        assert np.allclose(found, other, atol=1e-10)
    mask = torch.ones(20, 31, dtype=torch.bool)
    mask[:, 15:] = False
    left = structural_similarity(torch.where(mask, a, math.nan), torch.where(mask, b, math.nan), 10.0, mask)
    assert torch.allclose(left, structural_similarity(a[..., :15], b[..., :15], 10.0))
    with pytest.raises(DataError, match="without a gap"):
        structural_similarity(a, b, 10.0, (torch.arange(31) % 5 > 0).expand(20, 31))
    with pytest.raises(ShapeError, match="differ"):
        structural_similarity(a, b[:1], 10.0)
    for pair in ((torch.where(mask, a, math.nan), b), (a, torch.where(mask, b, math.nan))):
        with pytest.raises(DataError, match="scored cell"):
            structural_similarity(*pair, 10.0)


def test_spectrum_finds_the_ring_of_a_wave_and_refuses_gaps() -> None:
    rings = Rings.of((32, 48), 8)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    wave = torch.cos(2 * math.pi * (4 * y / 32 + 9 * x / 48))[None]
    peak = radial_spectrum(wave, rings)[0].argmax()
    assert rings.edges[peak] <= math.hypot(4 / 32, 9 / 48) <= rings.edges[peak + 1]
    white = Rng(0).normal((400, 32, 48))
    assert torch.allclose(radial_spectrum(white, rings).mean(0), torch.ones(8).double(), atol=0.05)
    fields = blurred(300, (32, 48), 1.0)
    gain = spectrum_ratio(fields, white, rings)
    law = torch.exp(-((2 * math.pi * rings.centre) ** 2))  # of the filter, squared
    assert (gain[:5] / law[:5] - 1).abs().max() < 0.15
    assert len(Rings.of((16, 16), 12).edges) < 13
    with pytest.raises(DataError, match="variograms"):
        radial_spectrum(torch.full((32, 48), math.nan), rings)
    with pytest.raises(ShapeError, match="grid"):
        radial_spectrum(white[..., :40], rings)


def test_variogram_of_a_plane_and_of_noise_with_gaps() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    plane = (2 * y - x)[None].double()
    mask = Rng(4).uniform((12, 10)) > 0.4
    lags = [(0, 1), (2, 0), (1, -1), (-3, 2)]
    holes = torch.where(mask, plane, math.nan)
    assert torch.allclose(variogram(holes, lags, mask)[0], torch.tensor([0.5, 8.0, 4.5, 32.0]).double())
    noise = 3 * Rng(5).normal((500, 12, 10))
    assert torch.allclose(variogram(noise, lags, mask).mean(0), torch.full((4,), 9.0).double(), rtol=0.05)
    weights = torch.zeros(12, 1)
    weights[:3] = 1
    assert torch.allclose(variogram(noise, [(0, 1)], None, weights), variogram(noise[:, :3], [(0, 1)]))
    assert variogram_error(1.1 * noise, noise, lags) == pytest.approx(0.21)
    assert torch.allclose(variogram_ratio(2 * noise, noise, lags), torch.tensor(4.0).double())
    assert axis_lags((32, 48)) == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (1, 0), (2, 0), (4, 0), (8, 0), (16, 0)]
    with pytest.raises(OptionError, match="lag"):
        variogram(noise, [(12, 0)])
    with pytest.raises(DataError, match="no pair"):
        variogram(noise, [(0, 5)], (torch.arange(10) < 5).expand(12, 10))
