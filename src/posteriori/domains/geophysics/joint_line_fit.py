"""Velocity and density below a line from its own data: scales by the evidence, rays, links, held-out data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.gaussian import Gaussian
from posteriori.core.mixture import Mixture
from posteriori.core.noise import Normal
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.joint_line import Line, Part
from posteriori.domains.geophysics.joint_links import OverLinks
from posteriori.domains.geophysics.joint_prior import LinkedPrior
from posteriori.domains.geophysics.joint_trial import gain
from posteriori.inference.exact import Exact
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.petrophysics import Gardner

LENGTHS = (0.125, 0.25, 0.5)
"""Vertical correlation lengths tried, as shares of the section's depth."""
STRETCH = 3.0
"""Structure reaches further across than down."""
VELOCITY = (0.04, 0.08, 0.16, 0.32)
"""Standard deviations of the velocity tried, as shares of its mean."""
DENSITY = (0.04, 0.08, 0.16, 0.32)
"""The same of the density: those that Gardner's slope makes of these shares of the velocity."""
ROUNDS = 10
CHOOSING = 3
"""Rounds in which the prior's scales may still change."""
SETTLED = 0.02
"""Rays have settled when a step moves the velocity by less than this share of its standard deviation beforehand."""
EVERY = 5
"""Every fifth pick and station is held out."""
FEW = 4
"""Shots below which their picks are resampled one by one."""


@dataclass(frozen=True)
class Wishes:
    """What the user says of the prior; None leaves it to the evidence.

    Attributes:
        velocity_sd: share of the mean. density_sd: [kg/m³]. length: vertical, a third of the horizontal one [m].
    """

    velocity_sd: float | None = None
    density_sd: float | None = None
    length: float | None = None


@dataclass(frozen=True)
class Scales:
    """The prior's standard deviations, (z, x) of velocity [m/s] and density [kg/m³], and its lengths [m]."""

    sigmas: tuple[Tensor, Tensor]
    lengths: dict[str, float]


@dataclass(frozen=True)
class Fit:
    """What some of the line's data say.

    Attributes:
        line: all that was measured. picked, stations: which of it was used, flat picks and stations.
        scales: of the prior.
        joint: velocity and density, averaged over the links. apart: without a link: each from its own data alone.
        strengths, weights: of the links, their probabilities.
        moved: how far the last step moved the rays' velocity, in its standard deviation beforehand.
    """

    line: Line
    picked: Tensor
    stations: Tensor
    scales: Scales
    joint: Mixture
    apart: Gaussian
    strengths: tuple[float, ...]
    weights: Tensor
    moved: float

    def predicted(self, answer: Mixture | Gaussian) -> tuple[Tensor, Tensor]:
        """Arrivals [s], flat over (source, receiver), and anomalies [mGal] at all stations in the mean of ``answer``.

        Arrivals are marched anew, not those of the tangent.
        """
        means = self.line.space.split(answer.center())
        return self.line.arrivals(means["velocity"]), self.line.anomalies(means["density"], self.stations)[0]


def fit(line: Line, picked: Tensor, stations: Tensor, wishes: Wishes, rounds: int | None, context: Context) -> Fit:
    """The answers to the data ``picked`` and ``stations``; rays by ``rounds`` of Gauss and Newton, or until settled.

    As many as the velocity that the picks alone find says where rays run. A step that does not come nearer than the
    one before is halved from then on.
    """
    gravity = line.densities(stations)
    velocity, scales, step, last = line.means[0], None, 1.0, float("inf")
    seismic = line.seismic(velocity, picked)
    for k in range((rounds or ROUNDS) - 1):
        if scales is None or k < CHOOSING:
            scales = chosen(line, seismic, gravity, wishes)
        change = step * (_alone(line, seismic, scales, context) - velocity)
        moved = float((change / scales.sigmas[0]).square().mean().sqrt())
        step, last = (0.5 * step if moved > 0.7 * last else step), moved
        velocity = velocity + change
        seismic = line.seismic(velocity, picked)
        if rounds is None and k >= CHOOSING - 1 and moved < SETTLED:
            break
    scales = scales or chosen(line, seismic, gravity, wishes)
    over = OverLinks()
    prior = LinkedPrior(line.space, line.means, scales.sigmas, scales.lengths, 0.0)
    answers, weights = over.answers(line.question(prior, seismic, gravity), context)
    heard = (weights > 1e-4).nonzero()[:, 0].tolist()
    apart = answers[over.strengths.index(0.0)]
    assert isinstance(apart, Gaussian)
    joint = Mixture([answers[k] for k in heard], weights[heard])
    return Fit(line, picked, stations, scales, joint, apart, over.strengths, weights, last)


def chosen(line: Line, seismic: Part, gravity: Part, wishes: Wishes) -> Scales:
    """The scales of the largest evidence, both kinds of data taken apart; each standard deviation by its own data."""
    deep = float(np.ptp(line.grid.labels("z").astype(float)))
    velocity, slope = line.means[0], Gardner(line.grid).slope(line.means[0])
    bases = (velocity, slope * velocity if wishes.density_sd is None else torch.ones_like(velocity))
    shares = (
        VELOCITY if wishes.velocity_sd is None else (wishes.velocity_sd,),
        DENSITY if wishes.density_sd is None else (wishes.density_sd,),
    )
    tried = []
    for length in [share * deep for share in LENGTHS] if wishes.length is None else [wishes.length]:
        lengths = {"z": length, "x": STRETCH * length}
        best = [
            max((evidence, share) for evidence, share in _evidences(line.grid, part, base, lengths, several))
            for part, base, several in zip((seismic, gravity), bases, shares, strict=True)
        ]
        sigmas = (best[0][1] * bases[0], best[1][1] * bases[1])
        tried.append((best[0][0] + best[1][0], Scales(sigmas, lengths)))
    return max(tried, key=lambda found: found[0])[1]


def _evidences(
    grid: Space, part: Part, base: Tensor, lengths: dict[str, float], shares: tuple[float, ...]
) -> list[tuple[float, float]]:
    """Log-evidence of the data for each standard deviation ``share * base``."""
    law = Smoothness(grid, 1.0, lengths, scale=base).requires_grad_(False)
    under = law.covariance.under(Dense(grid, Space("data", {"datum": len(part.rows)}), part.rows))
    found = []
    for share in shares:
        whole = share**2 * under + torch.eye(len(under), dtype=under.dtype)
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(part.data), covariance_matrix=whole)
        found.append((float(normal.log_prob(part.data)), share))
    return found


def _alone(line: Line, seismic: Part, scales: Scales, context: Context) -> Tensor:
    """The velocity that the picks alone find, linear about their rays."""
    law = Smoothness(line.grid, 1.0, scales.lengths, scale=scales.sigmas[0]).requires_grad_(False)
    operator = Dense(line.grid, Space("data", {"datum": len(seismic.rows)}), seismic.rows)
    return line.means[0] + Exact()(Inverse(operator, law, seismic.data, Normal(1.0)), context).location


def every(line: Line) -> tuple[Tensor, Tensor]:
    """Flat positions of all live picks, and all stations along the line."""
    picked = torch.from_numpy(np.flatnonzero(line.picks.live))
    return picked, torch.from_numpy(np.argsort(line.stations.x, kind="stable"))


@dataclass(frozen=True)
class HeldOut:
    """Picks [s] or stations [mGal] that the fit has not seen: errors of their prediction, joint and single.

    Attributes:
        gain: 1 - root mean square error of the joint inversion over that of the single one, and its 95 % interval.
    """

    index: Tensor
    joint: Tensor
    single: Tensor
    gain: tuple[float, float, float]


def held_out(line: Line, wishes: Wishes, rounds: int | None, context: Context) -> tuple[HeldOut, HeldOut]:
    """Every fifth pick and station predicted from all others, which also choose every number; picks, then stations.

    The bootstrap resamples shots, whose picks share what is wrong about them (picks where there are few), and stations.
    """
    picked, stations = every(line)
    rest = [index[torch.arange(len(index)) % EVERY != EVERY // 2] for index in (picked, stations)]
    out = [index[EVERY // 2 :: EVERY] for index in (picked, stations)]
    found = fit(line, rest[0], rest[1], wishes, rounds, context)
    joint, single = found.predicted(found.joint), found.predicted(found.apart)
    data = (torch.from_numpy(line.picks.time).flatten(), torch.from_numpy(line.stations.columns["anomaly"]))
    shots = out[0] // len(line.picks.receivers)
    groups = (shots if len(shots.unique()) >= FEW else out[0], out[1])
    pairs = []
    for k, name in enumerate(("picks", "stations")):
        errors = [(answer[k] - data[k])[out[k]] for answer in (joint, single)]
        sums = [_summed(e.square(), groups[k]) for e in errors]
        rng: Rng = context.rng.child("bootstrap", name)
        pairs.append(HeldOut(out[k], errors[0], errors[1], gain(sums[0], sums[1], rng)))
    return pairs[0], pairs[1]


def _summed(values: Tensor, groups: Tensor) -> Tensor:
    """Sums over equal ``groups``, in the order of their numbers."""
    labels, index = groups.unique(return_inverse=True)
    return torch.zeros(len(labels), dtype=values.dtype).index_add_(0, index, values)
