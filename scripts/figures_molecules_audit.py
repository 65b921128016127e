"""What the audit of weights and the free energies promise: failures caught, sound rows left alone, exact answers."""

from __future__ import annotations

import math

import torch

from asked import Asked, score, scores
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann
from posteriori.inference.mbar import mbar
from posteriori.inference.umbrella import Windows, umbrella
from posteriori.physics.double_well import DoubleWell

INF = math.inf
AUDIT = ("molecules/audit", "--seed", "2")
AGAIN = ("molecules/audit", "--seed", "3")
SEEDS = (2, 3)


def over_seeds(name: str) -> dict[str, float]:
    """One score of the benchmark with two seeds."""
    return {f"seed {seed}": float(scores(*words)[name]) for seed, words in zip(SEEDS, (AUDIT, AGAIN), strict=True)}


def wells() -> dict[str, float]:
    """Free energies of four harmonic wells less log(k) / 2, in kT; 2000 exact rows each."""
    stiffness = torch.tensor([1.0, 4.0, 16.0, 64.0], dtype=torch.float64)
    x = torch.cat([Rng(0).child("well", k).normal((2000,)) / float(s) ** 0.5 for k, s in enumerate(stiffness)])
    found = mbar(stiffness[:, None] * x.square() / 2, [2000] * 4).free_energies
    return {f"{k} to 1": found.difference(0, i)[0] - math.log(k) / 2 for i, k in ((1, 4), (2, 16), (3, 64))}


def barrier() -> dict[str, float]:
    """ΔF over the barrier of nine kT less its value by quadrature, and the stated error, in kT."""
    target = Boltzmann(DoubleWell(), 1.0)
    windows = Windows(Selection.along(target.space, "axis", ["x"]), torch.linspace(-3.2, 3.2, 14).tolist(), 12.0)
    middle, variance = torch.tensor([-3.0, 0.0]).double(), torch.full((2,), 0.1).double()
    found = umbrella(target, windows, Gaussian(target.space, middle, DiagonalCovariance(variance)), Context(Rng(0)))
    x = torch.linspace(-6, 6, 120_001, dtype=torch.float64)
    p = torch.exp(-(x**4 / 4 - 3 * x.square() + x))
    value, error = found.difference(found.collective < 0, found.collective >= 0)
    return {"error": value - math.log(float(p[x < 0].sum() / p[x >= 0].sum())), "stated": error}


ASKED = [
    Asked("Audit: kinds of planted failures, twenty strengths each", 10, INF, score("kinds", *AUDIT)),
    Asked("Audit: share of planted failures caught", 0.95, 1, lambda: over_seeds("caught")),
    Asked("Audit: sound runs", 200, INF, score("sound", *AUDIT)),
    Asked("Audit: share of sound runs doubted", 0, 0.05, lambda: over_seeds("false_alarms")),
    Asked("Audit: share of 95 % intervals that hold the exact value", 0.92, 0.98, lambda: over_seeds("coverage95")),
    Asked("MBAR: four harmonic wells, error [kT]", -0.08, 0.08, wells),
    Asked("Umbrella + MBAR: double well, error of ΔF and stated error [kT]", -0.4, 0.4, barrier),
]
