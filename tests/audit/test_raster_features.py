"""Features, Fréchet distance, regimes and memorisation, against closed forms and planted faults."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from posteriori.audit.rasters.frechet import frechet, frechet_limit
from posteriori.audit.rasters.located import Located
from posteriori.audit.rasters.memorisation import Memorisation, memorisation
from posteriori.audit.rasters.regimes import Regimes, regime_score
from posteriori.audit.rasters.texture import Texture
from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng


def fields(n: int, seed: int, shape: tuple[int, int] = (32, 48)) -> Tensor:
    """Smooth periodic fields, warmer in the north, with an amplitude that differs from field to field."""
    rng = Rng(seed)
    ky, kx = (torch.fft.fftfreq(size, dtype=torch.float64) for size in shape)
    gain = (1 + (ky[:, None].square() + kx.square()) * 400).pow(-1.2)
    noise = torch.fft.ifft2(torch.fft.fft2(rng.normal((n, *shape))) * gain).real
    size = (0.3 * rng.normal((n, 1, 1))).exp()
    return 280 + 8 * torch.linspace(1, -1, shape[0], dtype=torch.float64)[:, None] + 20 * size * noise


def test_texture_is_the_numbers_it_names() -> None:
    x = fields(3, 0)
    texture = Texture((32, 48))
    found = dict(zip(texture.names, texture(x).mT, strict=True))
    assert len(texture.names) == 27
    assert torch.allclose(found["mean"], x.mean((1, 2)))
    assert torch.allclose(found["standard deviation"], x.std((1, 2), correction=0).log())
    assert torch.allclose(found["variogram 4 y"], ((x[:, 4:] - x[:, :-4]).square().mean((1, 2)) / 2).log())
    slope = torch.hypot(x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]).flatten(1)
    assert torch.allclose(found["gradient 90 %"], slope.quantile(0.9, dim=1).log())
    z = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), correction=0, keepdim=True)
    assert torch.allclose(found["kurtosis"], z.pow(4).mean((1, 2)) - 3)
    seamed = x + 2 * ((torch.arange(48) // 16) % 2)
    assert (texture(seamed)[:, -1] > found["seams"] + 0.3).all()
    mask = torch.rand(32, 48, generator=Rng(1).generator) > 0.1
    masked = Texture((32, 48), mask)
    assert len(masked.names) == 19
    assert torch.isfinite(masked(torch.where(mask, x, math.nan))).all()
    with pytest.raises(DataError, match="constant"):
        texture(torch.ones(2, 32, 48))
    with pytest.raises(OptionError, match="tile"):
        Texture((32, 48), tile=64)
    with pytest.raises(ShapeError, match="not"):
        texture(x[:, :30])


def test_frechet_distance_is_the_closed_form_and_its_limit_unbiased() -> None:
    rng = Rng(3)
    a, b = rng.normal((40000, 3)), rng.normal((40000, 3))
    moved = a * torch.tensor([2.0, 1.0, 0.5]) + torch.tensor([0.0, 3.0, 0.0])
    assert frechet(moved, b) == pytest.approx(1 + 9 + 0.25, rel=0.03)
    assert frechet(b, b) == pytest.approx(0, abs=1e-9)
    same = frechet_limit(rng.normal((300, 10)), rng.normal((300, 10)), rng)
    assert same.at_n > 0.15
    assert abs(same.value) < 0.06
    with pytest.raises(DataError, match="too few"):
        frechet_limit(a[:50], b[:50], rng)
    with pytest.raises(DataError, match="does not vary"):
        frechet(a, torch.cat([b[:, :2], torch.ones(40000, 1)], 1))


def test_texture_sees_faults_and_located_features_see_a_flip() -> None:
    real, other, flipped = fields(200, 1), fields(200, 2), fields(200, 3).flip(1)
    texture, located = Texture((32, 48)), Located.of(real, {})
    base = texture(real)
    floor = frechet(texture(other), base)
    noise = other + 0.3 * Rng(5).normal(other.shape)
    blurred = (other + other.roll(1, 1) + other.roll(1, 2) + other.roll((1, 1), (1, 2))) / 4
    few = other[:10].repeat(20, 1, 1)
    for fault in (noise, blurred, few):
        assert frechet(texture(fault), base) > 3 * floor
    assert frechet(texture(flipped), base) < 1.5 * floor
    ground = located(real)
    assert frechet(located(flipped), ground) > 50 * frechet(located(other), ground)
    assert located(real)[:, :6].std(0) == pytest.approx([1.0] * 6, rel=0.02)
    assert ground[:, :6].mean(0).abs().max() < 1e-6
    with pytest.raises(DataError, match="patterns"):
        Located.of(real[:10], {})
    with pytest.raises(ShapeError, match="grid"):
        located(real[:, :30])


def test_regimes_are_counted() -> None:
    rng = Rng(0)
    centres = 12 * rng.normal((4, 8))
    real = centres[torch.arange(400) % 4] + rng.normal((400, 8))
    regimes = Regimes.of(real, 4, rng)
    assert regime_score(regimes.probabilities(real)) == pytest.approx(4, abs=0.06)
    two = centres[torch.arange(400) % 2] + rng.normal((400, 8))
    assert regime_score(regimes.probabilities(two)) == pytest.approx(2, abs=0.02)
    assert regime_score(torch.full((50, 4), 0.25)) == pytest.approx(1, abs=1e-4)
    few = [regime_score(regimes.probabilities(real[rng.permutation(400)[:12]])) for _ in range(200)]
    assert sum(few) / 200 == pytest.approx(4, abs=0.12)
    with pytest.raises(DataError, match="regimes"):
        Regimes.of(real[:30], 4, rng)


def blocks_of(number: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Days of ``length`` hours that resemble one another, 40 cells, and the label of each."""
    rng = Rng(seed)
    days = rng.normal((number, 1, 40))
    x = 0.8 * days + 0.6 * rng.normal((number, length, 40)).cumsum(1) / length**0.5
    return x.reshape(-1, 40), torch.arange(number).repeat_interleave(length)


def judged(generated: Tensor, seed: int) -> Memorisation:
    train, blocks = blocks_of(20, 12, 2 * seed + 10_000)
    held, held_blocks = blocks_of(8, 12, 2 * seed + 10_001)
    return memorisation(generated, train, held, blocks, held_blocks)


@pytest.mark.slow
def test_fair_generators_are_rarely_flagged() -> None:
    """200 sets of new days from the same law: at most 7 flags at 1 % (false alarm of this test 0.5 % if exact)."""
    flags = sum(judged(blocks_of(100, 1, 50_000 + seed)[0], seed).flagged for seed in range(200))
    assert flags <= 7


@pytest.mark.parametrize(("copies", "noise"), [(3, 0.0), (3, 0.02), (100, 0.25)])
def test_planted_copies_are_caught(copies: int, noise: float) -> None:
    """A few exact copies, a few nearly so, and a generator that only blurs its training fields."""
    for seed in range(5):
        train, _ = blocks_of(20, 12, 2 * seed + 10_000)
        made = blocks_of(100, 1, 90_000 + seed)[0]
        which = Rng(seed).permutation(240)[:copies]
        made[:copies] = train[which] + noise * Rng(seed).normal((copies, 40))
        found = judged(made, seed)
        assert found.flagged
        if noise < 0.1:
            assert found.copies.nonzero()[:, 0].tolist() == list(range(copies))
            assert torch.equal(found.nearest[:copies], which)
    with pytest.raises(ShapeError, match="labels"):
        memorisation(made, train, made, torch.zeros(3), torch.zeros(100))
    with pytest.raises(DataError, match="at least 2 and 4"):
        memorisation(made, train, made, torch.arange(240), torch.zeros(100))


def test_fields_that_are_not_finite_are_not_judged() -> None:
    made = blocks_of(10, 1, 3)[0]
    made[2, 5] = torch.nan
    with pytest.raises(DataError, match=r"generated\[2, 5\] is nan"):
        judged(made, 0)
