"""Absorbing diffusion of change, a U-Net told all features, beside the learners of land change on the same blocks.

``python scripts/compare_land_diffusion.py``; the maps are looked for in $POSTERIORI_DATA, else in ../shared/data.
Learnt: 1930 to 1950 whole, 1950 to 1970 outside each fold. Scored: -log probability in the fold. 1990 is not read.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geography import land_contest as contest
from posteriori.domains.geography import land_drivers
from posteriori.domains.geography.land_growth import Growth, alike, observed_quotas
from posteriori.domains.geography.land_maps import LandMaps, read_land
from posteriori.domains.geography.land_potential import RECIPES, Pair, Potential
from posteriori.domains.geography.land_slopes import sharpened
from posteriori.inference.exact_totals import Clustering
from posteriori.learn.diffusion.categorical import ClassDenoiser, ClassLoss, absorbing
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.fit import Plan, fit

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POSTERIORI_DATA", ROOT.parent / "shared" / "data")) / "geography" / "sleuth"
SIDE, STEPS = 48, 16
PATCHES = 40
EPOCHS = 8


def conditions(land: LandMaps, pair: Pair) -> np.ndarray:
    """Features (k, y, x) and where change is possible."""
    rows = land_drivers.wide(pair.before, 1, pair.time, land.drivers, np.arange(2), land.open)
    could = land.open & (pair.before == 0)
    return np.concatenate([rows.transpose(2, 0, 1), could[None]]).astype(np.float32)


def patches(land: LandMaps, pairs: list[Pair], scale: tuple[np.ndarray, np.ndarray], rng: Rng) -> list[torch.Tensor]:
    """Codes (n, y, x), -1 where not learnt from, and conditions, each patch in eight positions; near old land."""
    codes, beside = [], []
    for number, pair in enumerate(pairs):
        target = np.where(pair.where & (pair.before == 0), pair.after, -1).astype(np.float32)
        told = (conditions(land, pair) - scale[0]) / scale[1]
        near = ndimage.uniform_filter((pair.before == 1).astype(float), SIDE) + 1e-3
        half = SIDE // 2
        inner = near[half:-half, half:-half]
        drawn = rng.child(number).numpy.choice(inner.size, PATCHES, p=(inner / inner.sum()).ravel())
        for row, column in zip(*np.unravel_index(drawn, inner.shape), strict=True):
            cut = slice(row, row + SIDE), slice(column, column + SIDE)
            for turn in range(4):
                for flip in (1, -1):
                    codes.append(np.rot90(target[cut], turn)[:, ::flip].copy())
                    beside.append(np.rot90(told[:, *cut], turn, (1, 2))[:, :, ::flip].copy())
    return [torch.from_numpy(np.stack(part)) for part in (codes, beside)]


def left_out(land: LandMaps, pairs: list[Pair], fold: np.ndarray, rng: Rng) -> np.ndarray:
    """Chances of the last pair (class, y, x), each block by what was learnt without it."""
    last, found = pairs[-1], np.zeros((2, *fold.shape))
    every = np.concatenate([conditions(land, pair).reshape(-1, fold.size) for pair in pairs], 1)
    scale = every.mean(1)[:, None, None], every.std(1)[:, None, None] + 1e-6
    chain = absorbing(2, STEPS)
    for each in range(int(fold.max()) + 1):
        test = fold == each
        apart = ~ndimage.binary_dilation(test, iterations=contest.GAP)
        rest = [*pairs[:-1], Pair(last.before, last.after, last.time, last.where & apart)]
        rows = patches(land, rest, scale, rng.child("patches", each))
        with rng.child("net", each):
            net = UNet(3, 2, condition_channels=len(every), width=16, multiples=(1, 2))
        plan = Plan(epochs=EPOCHS, batch=16, rate=1e-3, average=0.99)
        trained = fit(ClassDenoiser(net, chain), ClassLoss(), tuple(rows), plan, Context(rng.child("fit", each))).net
        told = torch.from_numpy((conditions(land, last) - scale[0]) / scale[1]).float()[None]
        with torch.no_grad():
            p = trained(torch.full((1, *fold.shape), 2), STEPS, told)[0, 1].numpy()
        found[1, test] = p[test]
    return np.where(last.where & (last.before == 0), found, 0.0)


def main() -> None:
    """Print -log probability left out of each and CPU seconds."""
    demo = str(DATA / "demo200.")
    land = read_land(
        [f"{demo}urban.19{year}.gif" for year in (30, 50, 70)],
        [f"{demo}slope.gif", f"{demo}roads.19[357]0.gif"],
        excluded=Path(f"{demo}excluded.gif"),
    )
    pairs = contest.pairs_of(land)
    last = pairs[-1]
    fold = contest.folds_of(last.where, 20, Rng(0).child("folds"))
    allowed = Potential.learnt(land, next(iter(RECIPES.values())), pairs, 0).allowed
    quotas = observed_quotas(last, allowed, land.open)
    began = time.process_time()
    chances = {"absorbing diffusion": left_out(land, pairs, fold, Rng(1))}
    print(f"absorbing diffusion: {time.process_time() - began:.0f} CPU s")
    single: dict[object, np.ndarray] = {}
    for name, recipe in RECIPES.items():
        chances[name] = contest.learnt_without(land, recipe, pairs, fold, single)
    mean = np.mean([chances["absorbing diffusion"], chances["logistic, boosted and randomised trees"]], axis=0)
    chances["diffusion and the three, mean"] = mean
    for name, chance in chances.items():
        law = Growth(last.before, chance, allowed, alike(chance), Clustering())
        score = sharpened(law, last, quotas, fold, each=False)[1]
        print(f"{name:42s} {score:.5f} nat")


if __name__ == "__main__":
    main()
