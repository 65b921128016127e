"""Tiles: windows cover the grid, noise belongs to cells, and what comes out does not know how it was cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor
from torch.nn import functional

from posteriori.core.cell_noise import cell_normal
from posteriori.core.errors import OptionError, StoreError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.core.tasks import workers
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.schedule import karras
from posteriori.learn.diffusion.solvers import DPMSolver2M, solve
from posteriori.learn.diffusion.tiled import Everywhere, room, solve_tiled
from posteriori.learn.diffusion.tiling import Tiling, Window
from posteriori.learn.diffusion.unet import UNet

REACH = 6
"""Cells that the denoiser of these tests sees to each side."""


@dataclass(frozen=True)
class Smoothing:
    """A denoiser that sees REACH cells around each: a fixed filter, as of a Gaussian field of short range."""

    def __call__(self, x: Tensor, sigma: Tensor, window: Window) -> Tensor:
        """(y, x)."""
        return smooth(x, sigma)


def smooth(x: Tensor, sigma: Tensor) -> Tensor:
    line = (-torch.linspace(-2, 2, 2 * REACH + 1).square()).exp()
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
    padded = functional.pad(x[None, None], (REACH,) * 4)
    return (functional.conv2d(padded, kernel)[0, 0] / (1 + sigma**2)).float()


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(2, 40).flatmap(lambda side: st.tuples(st.just(side), st.integers(1, side // 2))),
    st.floats(0, 0.49),
)
def test_weights_sum_to_one_and_blocks_cover_once(
    shape: tuple[int, int], sizes: tuple[int, int], margin: float
) -> None:
    tiling = Tiling(shape, *sizes, int(margin * sizes[1]))
    weights, kept = torch.zeros(shape), torch.zeros(shape)
    for place in tiling.places():
        window, block = tiling.window(place), tiling.block(place)
        weights[window.rows, window.columns] += tiling.weight(place)
        kept[block.rows, block.columns] += 1
        assert max(window.shape) <= tiling.side
        assert all(tiling.window(near).common(block).shape for near in tiling.around(place))
        assert place in tiling.meeting(block)
    assert bool((kept == 1).all())
    torch.testing.assert_close(weights, torch.ones(shape), atol=2e-7, rtol=0)


@pytest.mark.parametrize("overlap", [0, 17])
def test_overlaps_that_cannot_be_are_refused(overlap: int) -> None:
    with pytest.raises(OptionError, match="at most half the side"):
        Tiling((64, 64), 32, overlap, 0)
    with pytest.raises(OptionError, match="leave nothing"):
        Tiling((64, 64), 32, 16, 8)


def test_noise_belongs_to_cells() -> None:
    """Windows agree bit for bit; 10⁶ numbers are normal and white (false alarm 1 in 10⁴ for each of five tests)."""
    rng = Rng(3).child("noise")
    whole = cell_normal(rng, slice(10**6, 10**6 + 1000), slice(0, 1000))
    part = cell_normal(rng, slice(10**6 + 400, 10**6 + 431), slice(7, 20))
    assert torch.equal(whole[400:431, 7:20], part)
    assert not torch.equal(whole[:10, :10], cell_normal(Rng(4).child("noise"), slice(0, 10), slice(0, 10)))
    assert kstest(whole.flatten().numpy(), "norm").pvalue > 1e-4
    for down, right in [(0, 1), (1, 0), (1, 1), (1, -1)]:
        moved = whole.roll((down, right), (0, 1))
        assert abs(float((whole * moved).double().mean())) < 3.9e-3


def test_noise_off_the_grid_is_refused() -> None:
    with pytest.raises(OptionError, match="2³¹"):
        cell_normal(Rng(0), slice(-1, 4), slice(0, 4))


def drawn(folder: Path, tiling: Tiling, shuffle: Rng | None = None, processes: int = 1) -> Tensor:
    with workers(processes) as pool:
        context = Context(Rng(5), executor=pool, store=Store(folder))
        blocks = solve_tiled(Smoothing(), tiling, karras(6), context, shuffle)
    return blocks.read(Window(slice(0, tiling.shape[0]), slice(0, tiling.shape[1])))


def test_any_order_gives_the_same_bits(tmp_path: Path) -> None:
    tiling = Tiling((70, 83), 32, 8, 2)
    first = drawn(tmp_path / "a", tiling)
    assert torch.equal(first, drawn(tmp_path / "b", tiling, Rng(8)))
    assert torch.equal(first, drawn(tmp_path / "c", tiling, Rng(9)))


def test_an_interrupted_draw_goes_on(tmp_path: Path) -> None:
    tiling = Tiling((70, 83), 32, 8, 2)
    whole = drawn(tmp_path / "whole", tiling)
    calls = 0

    @dataclass(frozen=True)
    class Stopping(Smoothing):
        def __call__(self, x: Tensor, sigma: Tensor, window: Window) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == 30:
                raise KeyboardInterrupt
            return super().__call__(x, sigma, window)

    context = Context(Rng(5), store=Store(tmp_path / "cut"))
    with pytest.raises(KeyboardInterrupt):
        solve_tiled(Stopping(), tiling, karras(6), context)
    assert torch.equal(whole, drawn(tmp_path / "cut", tiling))


@pytest.mark.slow
def test_other_processes_give_the_same_bits(tmp_path: Path) -> None:
    with Rng(0).child("net"):
        denoiser = Everywhere(Preconditioned(UNet(width=8, multiples=(1, 2), heads=0)).eval())
    tiling = Tiling((40, 50), 32, 8, 2)
    fields = []
    for processes in (1, 2):
        with workers(processes) as pool:
            context = Context(Rng(5), executor=pool, store=Store(tmp_path / str(processes)))
            fields.append(solve_tiled(denoiser, tiling, karras(3), context).read(Window(slice(0, 40), slice(0, 50))))
    assert torch.equal(*fields)


def test_tiles_equal_the_whole_where_margins_cover_what_is_seen(tmp_path: Path) -> None:
    noise = cell_normal(Rng(5), slice(0, 70), slice(0, 83))
    whole = solve(smooth, noise, karras(6), DPMSolver2M())
    torch.testing.assert_close(drawn(tmp_path / "wide", Tiling((70, 83), 40, 16, REACH)), whole, atol=3e-6, rtol=0)
    assert (drawn(tmp_path / "narrow", Tiling((70, 83), 40, 16, 1)) - whole).abs().max() > 1e-3


def test_a_store_of_another_field_is_refused(tmp_path: Path) -> None:
    drawn(tmp_path, Tiling((40, 50), 32, 8, 2))
    with pytest.raises(StoreError, match="holds the field"):
        drawn(tmp_path, Tiling((40, 50), 32, 10, 2))
    with pytest.raises(OptionError, match="store"):
        solve_tiled(Smoothing(), Tiling((40, 50), 32, 8, 2), karras(2), Context(Rng(5)))


def test_the_room_is_enough(tmp_path: Path) -> None:
    """What lies in the store at the end is less than was said beforehand."""
    tiling = Tiling((70, 83), 32, 8, 2)
    drawn(tmp_path, tiling)
    held = sum(path.stat().st_size for path in tmp_path.rglob("state-*"))
    assert 2 * 4 * 70 * 83 < held < room(tiling) + 500 * len(tiling.places())
