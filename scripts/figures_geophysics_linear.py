"""What linear inversion promises: the textbook answer, coverage, penalties in Fourier space, bodies nobody can see."""

from __future__ import annotations

import math
import time
from math import pi

import torch

from asked import Asked, scores
from posteriori import Inverse, Rng, Space, infer
from posteriori.core.algebra import Dense
from posteriori.inference.averaged_strength import AveragedStrength
from posteriori.inference.conjugate_gradients import ConjugateGradients
from posteriori.inference.spectrum import Whitened, randomised_system, singular_system
from posteriori.learn.depth import depth_scale
from posteriori.learn.penalty import roughness
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.gravity import Gravity

INF = math.inf
PROBLEMS = ("gravity", "traveltime", "deconvolution")


def each(*names: str) -> dict[str, float]:
    """Scores of the study for each of its problems."""
    found = {}
    for problem in PROBLEMS:
        run = scores("geophysics/illposed", f"problem={problem}", "problems=2500")
        found |= {f"{problem} {name}": float(run[name]) for name in names}
    return found


def percent(name: str) -> dict[str, float]:
    """A share for each problem [%]."""
    return {problem: 100 * value for problem, value in each(name).items()}


def penalties() -> dict[str, float]:
    """Largest relative error of the charge of cosines against 1, k² and k⁴ times their norm, on 400 cells."""
    n, length = 400, 1000.0
    space = Space("m", {"x": (torch.arange(n).numpy() + 0.5) * length / n})
    found = {}
    for order in (0, 1, 2):
        penalty = roughness(space, order)
        away = []
        for j in (1, 2, 5):
            k = pi * j / length
            charge = 2 * float(penalty.energy(torch.cos(k * torch.from_numpy(space.labels("x")))))
            away.append(abs(charge / (k ** (2 * order) * length / 2) - 1))
        found[f"k^{2 * order}"] = max(away)
    return found


def randomised() -> dict[str, float]:
    """Twenty singular values of a matrix whose values fall by 0.7: their error, and its bound as stated."""
    u, v = (torch.linalg.qr(Rng(0).child(name).normal((n, n))).Q for name, n in (("u", 200), ("v", 300)))
    matrix = (u * 0.7 ** torch.arange(200).double()) @ v[:, :200].mT
    operator = Dense(Space("m", {"x": 300}), Space("d", {"y": 200}), matrix)
    random, dense = randomised_system(operator, 20, Rng(1)), singular_system(operator)
    rest = matrix - (random.data * random.values) @ random.model.mT
    return {
        "error of the values": float((random.values / dense.values[:20] - 1).abs().max()),
        "error / its bound": float(torch.linalg.matrix_norm(rest, 2)) / random.error,
    }


def uncertain_strength() -> dict[str, float]:
    """Coverage [%] over 2,500 problems whose prior is stronger or weaker by log λ ~ N(0, 1): λ averaged."""
    space = Space("m", {"x": 10.0 * torch.arange(24).numpy()})
    operator = Dense(space, Space("d", {"y": 30}), Rng(0).normal((30, 24)) @ _blur(24))
    prior = Smoothness(space, 1.0, 40.0).requires_grad_(False)
    truth = prior.sample(2500, Rng(1)) * (-0.5 * Rng(2).normal((2500, 1))).exp()
    data = operator(truth) + 0.1 * Rng(3).normal((2500, 30))
    found = infer(Inverse(operator, prior, data, 0.1), AveragedStrength(spread=1.0))
    bounds = found.quantile(torch.tensor([0.25, 0.75, 0.05, 0.95]).double())
    inside = [(bounds[i] < truth) & (truth < bounds[i + 1]) for i in (0, 2)]
    return {name: 100 * float(held.double().mean()) for name, held in zip(("50 %", "90 %"), inside, strict=True)}


def _blur(n: int) -> torch.Tensor:
    gap = (torch.arange(n)[:, None] - torch.arange(n)).double()
    return torch.exp(-0.5 * (gap / 2).square())


def large() -> dict[str, float]:
    """CPU seconds for 131,072 cells and 4,096 stations: the posterior mean, and fifty singular values."""
    side = 25.0 + 50.0 * torch.arange(64).numpy()
    space = Space("density", {"z": side[:32], "y": side, "x": side}, "kg/m^3")
    operator = Gravity(space, height=5.0)
    prior = Smoothness(space, 200.0, {"z": 200.0, "y": 300.0, "x": 300.0}, scale=depth_scale(space, 100.0))
    with torch.no_grad():
        data = operator(prior.sample(1, Rng(0))[0])
    sigma = 0.02 * float(data.std())
    target = Inverse(operator, prior.requires_grad_(False), data + sigma * Rng(1).normal(data.shape), sigma)
    started = time.process_time()
    infer(target, ConjugateGradients(probes=0, rank=100, tolerance=1e-6, variance_draws=4))
    solved = time.process_time()
    randomised_system(Whitened(target), 50, Rng(2))
    return {"mean": solved - started, "singular values": time.process_time() - solved}


ASKED = [
    Asked(
        "posterior against the dense textbook answer, mean and covariance [sd]",
        -INF,
        1e-8,
        lambda: each("textbook_mean", "textbook_covariance"),
    ),
    Asked("50 % coverage over 2,500 simulated problems [%]", 48.0, 52.0, lambda: percent("coverage50")),
    Asked("90 % coverage over 2,500 simulated problems [%]", 88.0, 92.0, lambda: percent("coverage90")),
    Asked("50 % coverage, strength unknown and averaged [%]", 48.0, 52.0, lambda: uncertain_strength()["50 %"]),
    Asked("90 % coverage, strength unknown and averaged [%]", 88.0, 92.0, lambda: uncertain_strength()["90 %"]),
    Asked("penalties of cosines against 1, k², k⁴ (relative error)", -INF, 1e-3, penalties),
    Asked(
        "null body: its data as a share of those of its absolute value",
        -INF,
        1e-10,
        lambda: each("null_body.datum_share"),
    ),
    Asked(
        "gravity's annihilator ∇²ψ on a 20 × 40 grid: the same share",
        -INF,
        1e-2,
        lambda: float(
            scores("geophysics/illposed", "problem=gravity", "problems=2500")["laplacian_of_bump.datum_share"]
        ),
    ),
    Asked("randomised singular values: error, and error over its bound", -INF, 1.0, randomised),
    Asked("131,072 cells × 4,096 gravity stations: mean, fifty singular values [CPU s]", -INF, 30.0, large),
]
