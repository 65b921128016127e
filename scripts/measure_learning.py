"""Measure what each technique of training is worth on nuclear masses: ``measure_learning.py [NAME …]``.

The question: AME2016 mass excesses minus the Duflo-Zuker formula, four fifths of the nuclei to learn from, the root
mean square error on the others; seeds 0 to 2 draw the fifth, the first weights and the order of the rows. Each line
compares the same seeds with and without one technique. A difference counts when Student's law of the paired
differences puts it beyond 95 % (4.3 standard errors for three seeds).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.nuclei import data, models
from posteriori.domains.nuclei.chart import MAGIC_NEUTRONS, MAGIC_PROTONS
from posteriori.learn.compress import pruned, quantised
from posteriori.learn.crowd import Crowd
from posteriori.learn.fit import fit
from posteriori.learn.losses import KnownVariance, SquaredError
from posteriori.learn.network import Layers, Scaling
from posteriori.learn.plan import Batch, Constant, Cosine, Plan, Precision
from posteriori.learn.transfer import fine_tune
from posteriori.physics.mass_conversions import ame_binding_energy, atomic_mass_excess_from_ame_binding
from posteriori.physics.mass_formulae import duflo_zuker

SEEDS = (0, 1, 2)
SCALE = 500.0  # [keV] of the residual, so that targets are of order one
SHAPE = Layers(64, 2)
PLAN = Plan(epochs=300, batch=64, rate=1e-2, schedule=Cosine())
LOSS = SquaredError()
FEW = 200  # nuclei, where data are scarce


@dataclass(frozen=True)
class Question:
    """Standardised features and residuals [SCALE keV] to learn from and to be tested on."""

    learn: Batch
    test: Batch
    scaling: Scaling


def features(z: np.ndarray, n: np.ndarray) -> Tensor:
    """Of each nucleus: Z, N, A, isospin and its square, parities, signed distances to magic numbers, valence."""
    a = z + n
    i = (n - z) / a
    to_p, to_n = (_to_magic(count, magic) for count, magic in ((z, MAGIC_PROTONS), (n, MAGIC_NEUTRONS)))
    valence_p, valence_n = np.abs(to_p), np.abs(to_n)
    casten = valence_p * valence_n / np.maximum(valence_p + valence_n, 1)
    columns = [z, n, a, np.cbrt(a), i, i**2, z % 2, n % 2, to_p, to_n, valence_p, valence_n, casten]
    return torch.from_numpy(np.stack(columns, 1).astype(np.float64))


def _to_magic(count: np.ndarray, magic: tuple[int, ...]) -> np.ndarray:
    gaps = count[:, None] - np.array(magic)
    return gaps[np.arange(len(count)), np.abs(gaps).argmin(1)]


@cache
def residuals() -> tuple[Tensor, Tensor]:
    """Features and residuals [SCALE keV] of all measured nuclei of AME2016."""
    table = data.measured(2016)
    z, n = table["Z"].to_numpy(), table["N"].to_numpy()
    binding = ame_binding_energy(z, n, table["mass_excess"].to_numpy())
    return features(z, n), torch.from_numpy((binding - duflo_zuker(z, n)) / SCALE).float()[:, None]


@cache
def question(seed: int, rows: int | None = None) -> Question:
    """One draw of the fifth that is held out, and all or a few ``rows`` of the rest."""
    x, y = residuals()
    order = Rng(seed).child("split").permutation(len(x))
    test, learn = order[: len(x) // 5], order[len(x) // 5 :][:rows]
    scaling = Scaling.of(x[learn])
    return Question((scaling(x[learn]).float(), y[learn]), (scaling(x[test]).float(), y[test]), scaling)


def start(seed: int, shape: Layers = SHAPE) -> nn.Module:
    """A new net."""
    with Rng(seed).child("initial"):
        return shape(residuals()[0].shape[1], 1)


def error(net: nn.Module, rows: Batch) -> float:
    """Root mean square error [keV]."""
    with torch.no_grad():
        return SCALE * float((net(rows[0]) - rows[1]).square().mean().sqrt())


def train(seed: int, plan: Plan = PLAN, shape: Layers = SHAPE, rows: int | None = None) -> float:
    """Error after one training [keV]."""
    asked = question(seed, rows)
    return error(fit(start(seed, shape), LOSS, asked.learn, plan, Context(Rng(seed))).net, asked.test)


@cache
def plain(seed: int) -> float:
    """Error without any technique but a falling rate [keV]."""
    return train(seed)


@cache
def overfitting(seed: int) -> float:
    """Error of a wider net trained three times as long [keV]: where early stopping could help."""
    return train(seed, replace(PLAN, epochs=900), Layers(128, 2))


def early_stopping(seed: int) -> float:
    """The same with a tenth of the rows held out and patience [keV]."""
    asked = question(seed)
    cut = len(asked.learn[0]) // 10
    held, learn = tuple(t[:cut] for t in asked.learn), tuple(t[cut:] for t in asked.learn)
    plan = replace(PLAN, epochs=900, patience=60)
    return error(fit(start(seed, Layers(128, 2)), LOSS, learn, plan, Context(Rng(seed)), held).net, asked.test)


def jitter(batch: Batch, rng: Rng) -> Batch:
    """Features moved by 2 % of their spread."""
    return batch[0] + 0.02 * rng.normal(batch[0].shape, batch[0]), *batch[1:]


def scarce(seed: int) -> float:
    """Error after learning from few nuclei [keV]."""
    return train(seed, rows=FEW)


def transferred(seed: int) -> float:
    """The same, begun from a net that learnt the difference between two theories on the whole chart [keV]."""
    asked = question(seed, FEW)
    table = models.load("dz28")
    z, n = table["Z"].to_numpy(), table["N"].to_numpy()
    formula = atomic_mass_excess_from_ame_binding(z, n, duflo_zuker(z, n))
    y = torch.from_numpy((formula - table["mass_excess"].to_numpy()) / SCALE).float()[:, None]
    theory = (asked.scaling(features(z, n)).float(), y)
    first = fit(start(seed), LOSS, theory, replace(PLAN, epochs=25), Context(Rng(seed).child("theory"))).net
    return error(fine_tune(first, LOSS, asked.learn, PLAN, Context(Rng(seed)), decay=0.7).net, asked.test)


@cache
def trained(seed: int) -> nn.Module:
    """The net behind :func:`plain`."""
    return fit(start(seed), LOSS, question(seed).learn, PLAN, Context(Rng(seed))).net


def after_pruning(share: float) -> Callable[[int], float]:
    """Error once a share of the weights is gone and the rest was trained on [keV]."""

    def run(seed: int) -> float:
        asked, plan = question(seed), replace(PLAN, epochs=40, rate=1e-3)
        found = pruned(trained(seed), share, LOSS, asked.learn, plan, Context(Rng(seed)), asked.test)
        return error(found.net, asked.test)

    return run


def tuned_on(seed: int) -> float:
    """Error once nothing is gone but the rest of the pruning's training was done [keV]."""
    asked, net = question(seed), trained(seed)
    for turn in range(3):
        plan = replace(PLAN, epochs=40, rate=1e-3)
        net = fit(net, LOSS, asked.learn, plan, Context(Rng(seed)).child("pruning", turn + 1)).net
    return error(net, asked.test)


def after_rounding(seed: int) -> float:
    """Error with weights of 8 bits [keV]."""
    asked = question(seed)
    return error(quantised(trained(seed), LOSS, asked.test).net, asked.test)


def ensemble(seed: int) -> float:
    """Error of the mean of ten nets from other beginnings [keV]."""
    asked = question(seed)
    x, y = asked.learn
    nets = []
    for k in range(10):
        with Rng(seed).child("initial", k):
            nets.append(SHAPE(x.shape[1], 1))
    ones = torch.ones(len(x), 10)
    trained_crowd = fit(Crowd(nets), KnownVariance(), (x, y.expand(-1, 10), ones, ones), PLAN, Context(Rng(seed))).net
    with torch.no_grad():
        mean = trained_crowd(asked.test[0]).mean(0)
    return SCALE * float((mean - asked.test[1]).square().mean().sqrt())


@dataclass(frozen=True)
class Comparison:
    """A technique and the errors [keV] of a seed without and with it; ``saves``: it is for size or time."""

    without: Callable[[int], float]
    technique: Callable[[int], float]
    saves: bool = False


COMPARISONS: Mapping[str, Comparison] = {
    "augmentation (2 % jitter of the features)": Comparison(plain, lambda s: train(s, replace(PLAN, augment=jitter))),
    "weight decay 0.1": Comparison(plain, lambda s: train(s, replace(PLAN, weight_decay=0.1))),
    "dropout 0.1": Comparison(plain, lambda s: train(s, shape=replace(SHAPE, dropout=0.1))),
    "falling rate (cosine instead of constant)": Comparison(
        lambda s: train(s, replace(PLAN, schedule=Constant())), plain
    ),
    "warm-up over 10 % of the steps": Comparison(plain, lambda s: train(s, replace(PLAN, schedule=Cosine(0.1)))),
    "clipping at norm 1": Comparison(plain, lambda s: train(s, replace(PLAN, clip=1.0))),
    "early stopping (width 128, 900 epochs)": Comparison(overfitting, early_stopping),
    f"transfer from a theory table ({FEW} nuclei)": Comparison(scarce, transferred),
    "bfloat16 products": Comparison(plain, lambda s: train(s, replace(PLAN, precision=Precision.BFLOAT16)), True),
    "4 shards instead of 1": Comparison(plain, lambda s: train(s, replace(PLAN, shards=4)), True),
    "pruning 50 % (against as much more training)": Comparison(tuned_on, after_pruning(0.5), True),
    "pruning 90 % (against as much more training)": Comparison(tuned_on, after_pruning(0.9), True),
    "weights of 8 bits": Comparison(plain, after_rounding, True),
    "ensemble of 10": Comparison(plain, ensemble),
}


def verdict(without: np.ndarray, technique: np.ndarray, saves: bool) -> str:
    """In words, with the paired difference [keV] and its standard error."""
    gain = without - technique
    mean, spread = float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))
    shown = f"{abs(mean):.1f} ± {spread:.1f} keV"
    clear = float(student.ppf(0.975, len(gain) - 1)) * spread
    if mean > clear:
        return f"helps by {shown} here"
    if mean < -clear:
        return f"costs {shown} here" if saves else f"does not help here: worse by {shown}"
    return (
        f"costs no accuracy here ({mean:+.1f} ± {spread:.1f} keV)"
        if saves
        else f"does not help here: {mean:+.1f} ± {spread:.1f} keV is no clear difference"
    )


def costs() -> None:
    """CPU seconds and bytes, which errors do not show."""
    asked, net = question(0), trained(0)
    for precision in Precision:
        began = time.process_time()
        train(0, replace(PLAN, epochs=20, precision=precision))
        print(f"* 20 epochs with {precision.value} products: {time.process_time() - began:.2f} CPU s")
    found = quantised(net, LOSS, asked.test)
    plan = replace(PLAN, epochs=1)
    thin = pruned(net, 0.9, LOSS, asked.learn, plan, Context(), asked.test)
    for name, cost in (("whole", found.before), ("8 bits", found.after), ("90 % pruned", thin.after)):
        print(f"* {name}: {cost.bytes / 1024:.1f} KiB, {1e6 * cost.seconds:.0f} µs for {len(asked.test[0])} nuclei")
    began = time.process_time()
    ensemble(0)
    together = time.process_time() - began
    began = time.process_time()
    train(0)
    alone = 10 * (time.process_time() - began)
    print(f"* ten nets side by side: {together:.1f} CPU s; ten times one net: {alone:.1f} CPU s")


def main(wanted: list[str]) -> None:
    """Print the table, line by line."""
    torch.set_num_threads(1)
    print("| technique | without [keV] | with [keV] | verdict |\n|---|---|---|---|")
    for name, comparison in COMPARISONS.items():
        if wanted and not any(word in name for word in wanted):
            continue
        pairs = [[f(seed) for seed in SEEDS] for f in (comparison.without, comparison.technique)]
        without, technique = (np.array(values) for values in pairs)
        shown = [f"{v.mean():.1f} ± {v.std(ddof=1) / np.sqrt(len(v)):.1f}" for v in (without, technique)]
        print(f"| {name} | {shown[0]} | {shown[1]} | {verdict(without, technique, comparison.saves)} |", flush=True)
    if not wanted:
        print()
        costs()


if __name__ == "__main__":
    main(sys.argv[1:])
