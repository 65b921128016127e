"""What travel times promise: first-order accuracy, exact derivatives, honest intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import skfmm
import torch
from torch import Tensor

from asked import Asked, score, scores
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.physics.eikonal import Eikonal

INF = math.inf
SLOPE = 1.5
SOURCES = torch.tensor([[13.3, 471.0], [500.0, 500.0], [250.0, 250.0]], dtype=torch.float64)
RECEIVERS = 1000 * Rng(0).uniform((200, 2)).double()


def section(n: int) -> Space:
    """A kilometre in n nodes both ways."""
    labels = np.linspace(0, 1000, n)
    return Space("velocity", {"z": labels, "x": labels}, "m/s", Positive())


def gradient(space: Space) -> Tensor:
    """1500 m/s + 1.5 / s · depth."""
    return (1500 + SLOPE * torch.from_numpy(space.labels("z")))[:, None].expand(space.shape)


def exact(sources: Tensor, receivers: Tensor) -> Tensor:
    """Its times in closed form [s]."""
    product = (1500 + SLOPE * sources[:, :1]) * (1500 + SLOPE * receivers[:, 0])
    return torch.acosh(1 + SLOPE**2 * torch.cdist(sources, receivers).square() / (2 * product)) / SLOPE


def halving() -> dict[str, float]:
    """Mean error on a grid as a share of that on one twice as coarse."""
    wanted, errors = exact(SOURCES, RECEIVERS), {}
    for n in (26, 51, 101, 201, 401):
        space = section(n)
        errors[n] = float((Eikonal(space, SOURCES, RECEIVERS)(gradient(space)) - wanted).abs().mean())
    sizes = list(errors)
    return {f"{fine}²": errors[fine] / errors[coarse] for coarse, fine in itertools.pairwise(sizes)}


def derivative() -> dict[str, float]:
    """vjp against central differences in float64 on rough models (99 % quantile), and the dot test."""
    space = section(13)
    operator = Eikonal(space, RECEIVERS[:3], RECEIVERS[3:10])
    v = 2000 * (0.25 * Rng(1).normal((100, *space.shape)).double()).exp()
    along = 2000 * Rng(2).normal(v.shape).double()
    pull = Rng(3).normal((100, 3, 7)).double()
    back = (operator.vjp(v, pull) * along).sum((1, 2))
    moved = (operator.jvp(v, along) * pull).sum((1, 2))
    gaps = []
    for h in (1e-5, 1e-6, 1e-7):
        difference = ((operator(v + h * along) - operator(v - h * along)) / (2 * h) * pull).sum((1, 2))
        gaps.append((difference - back).abs())
    wrong = torch.stack(gaps).amin(0) / back.abs().mean()
    return {
        "differences": float(wrong.quantile(0.99)),
        "dot": float((back - moved).abs().max() / back.abs().max()),
    }


def beside_scikit_fmm() -> dict[str, float]:
    """Mean error of scikit-fmm, first and second order, as a multiple of ours, 201², one source on a node."""
    space = section(201)
    source = torch.tensor([[250.0, 250.0]], dtype=torch.float64)
    axis = torch.from_numpy(space.labels("z"))
    nodes = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    wanted = exact(source, nodes.reshape(-1, 2)).reshape(space.shape).numpy()
    v = gradient(space).contiguous()  # scikit-fmm misreads strides
    ours = np.abs(Eikonal(space, source, source).fields(v)[0].numpy() - wanted).mean()
    distance = torch.linalg.norm(nodes - source[0], dim=-1).numpy()
    start = 5.0
    found = {}
    for order in (1, 2):
        theirs = skfmm.travel_time(distance - start, v.numpy(), dx=5.0, order=order) + start / 1875
        found[f"order {order}"] = float(np.abs(theirs - wanted).mean() / ours)
    return found


def coverage() -> dict[str, float]:
    """Coverage of 90 % intervals over sections drawn from the prior [%]: as stated, and widened."""
    found = scores("geophysics/traveltimes")
    return {name: 100 * float(found[f"{name}.coverage90"]) for name in ("simulated", "widened")}


ASKED = [
    Asked("First arrivals: error on a grid twice as fine, as a share", 0, 0.65, halving),
    Asked("First arrivals: vjp against differences and dot test", 0, 1e-6, derivative),
    Asked("scikit-fmm's mean error over ours, same grid", 1, INF, beside_scikit_fmm),
    Asked("Tomography: coverage of 90 % intervals over simulated sections [%]", 85, 95, coverage),
    Asked(
        "Tomography: held-out picks in their 90 % intervals",
        0.8,
        1.0,
        score("held_out.coverage90", "geophysics/traveltimes"),
    ),
]
