"""Where to put the next stations or shots: designed surveys beside regular ones, by their expected errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.algebra import Dense
from posteriori.core.covariance import Covariance, DenseCovariance, DiagonalCovariance
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Operator, Selection
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.decide.closed_form import between
from posteriori.decide.goals import TotalVariance
from posteriori.decide.linearised import Linearised
from posteriori.decide.next_observation import Ranking, next_observation
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.prism_mesh import mesh
from posteriori.physics.section_gravity import SectionGravity
from posteriori.physics.wavelets import ricker

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Zone:
    """A rectangle of a section [m]: what one wants to know about."""

    top: float
    bottom: float
    left: float
    right: float

    def cells(self, space: Space) -> Selection:
        """The cells (z, x) of ``space`` whose centres lie inside.

        Raises:
            OptionError: none does.
        """
        z, x = (torch.from_numpy(space.labels(d).astype(float)) for d in ("z", "x"))
        down, across = (z >= self.top) & (z <= self.bottom), (x >= self.left) & (x <= self.right)
        inside = down[:, None] & across
        if not bool(inside.any()):
            raise OptionError(
                f"the zone {self} holds no cell of the section, {float(z[0]):g} to {float(z[-1]):g} m deep and "
                f"{float(x[0]):g} to {float(x[-1]):g} m along; move or widen it."
            )
        return Selection.where(space, inside)

    def mean(self, space: Space) -> Dense:
        """The mean over those cells, one number."""
        inside = self.cells(space).index
        weights = torch.zeros(1, space.size, dtype=torch.float64)
        weights[0, inside] = 1 / len(inside)
        return Dense(space, Space(f"mean {space.name}", {"zone": 1}, space.unit), weights)


@dataclass(frozen=True)
class Choice:
    """Candidates, what they are to serve, and all that follows from them before any datum.

    With S the covariance of the data at all candidates and G that of the goal with them, observing the set s leaves the
    goal the mean variance (V₀ - tr(S_ss⁻¹ G_sᵀ G_s)) / g.

    Attributes:
        law: what is believed now. candidates: one cell each. goal: of the unknown, linear.
        noise: sd of a datum, one number or one each.
    """

    law: Gaussian
    candidates: Operator
    goal: Operator
    noise: float | Tensor

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """S (c, c), G (g, c) and V₀, a scalar."""
        covariance = self.law.covariance
        s = covariance.under(self.candidates)
        s = s + self.noise**2 * torch.eye(len(s), dtype=s.dtype)
        return s, between(covariance, self.goal, self.candidates), covariance.under(self.goal).trace()

    def ranking(self, count: int, cost: Tensor | None = None, budget: float = inf) -> Ranking:
        """The greedy sequence for the goal's variance per cost."""
        goal = TotalVariance(self.goal)
        return next_observation(self.law, self.candidates, self.noise, goal, count=count, cost=cost, budget=budget)


@dataclass(frozen=True)
class Expected:
    """Expected mean square errors of the goal, in its squared unit, by the set of candidates observed."""

    s: Tensor
    squares: Tensor
    total: Tensor
    cells: int

    @staticmethod
    def of(choice: Choice) -> Expected:
        """From the covariances of a choice."""
        s, g, total = choice.parts()
        return Expected(s, g.mT @ g, total, choice.goal.codomain.size)

    def __call__(self, chosen: Tensor) -> float:
        """Mean posterior variance of the goal's cells once ``chosen`` are observed."""
        block = self.s[chosen[:, None], chosen]
        removed = torch.linalg.solve(block, self.squares[chosen[:, None], chosen]).trace()
        return float((self.total - removed) / self.cells)


def regular(candidates: int, n: int, first: float = 0.0, last: float = 1.0) -> Tensor:
    """``n`` of the candidates, evenly over the share ``first`` to ``last`` of their line, half a step from its ends."""
    at = first + (last - first) * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return (at * candidates - 0.5).round().long().clamp(0, candidates - 1).unique()


def matched(error: Callable[[Tensor], float], designed: float, surveys: Sequence[Tensor]) -> int:
    """The size of the first of ``surveys``, which grow, that errs no more than ``designed``; of the last if none."""
    for survey in surveys:
        if error(survey) <= designed:
            return len(survey)
    return len(surveys[-1])


def windows(candidates: int, n: int) -> list[Tensor]:
    """Regular surveys of ``n`` stations over parts of the line: any of twenty starts and ends."""
    marks = np.linspace(0, 1, 21)
    found = [regular(candidates, n, a, b) for i, a in enumerate(marks) for b in marks[i + 1 :]]
    return [survey for survey in found if len(survey) == n]


def paired_errors(choice: Choice, surveys: Sequence[Tensor], truths: int, rng: Rng) -> Tensor:
    """Mean square error of the goal for every truth drawn from the law and every survey, (truths, surveys).

    All surveys see the same truths and the same noise at the same candidate.
    """
    rng = rng.fresh()
    with torch.no_grad():
        x = choice.law.sample(truths, rng.child("truths"))
        data = choice.candidates.codomain.flat(choice.candidates(x - choice.law.location))
        data = data + choice.noise * rng.child("noise").normal(data.shape, data)
        wanted = choice.goal(x - choice.law.location)
        s, g, _ = choice.parts()
        errors = []
        for chosen in surveys:
            weights = torch.linalg.solve(s[chosen[:, None], chosen], g[:, chosen].mT)
            errors.append((data[:, chosen] @ weights - wanted).square().mean(1))
    return torch.stack(errors, 1)


def gravity_choice(zone: Zone, sd: float, length: float, noise: float, spacing: float = 100.0) -> Choice:
    """Gravity stations every ``spacing`` [m] along a line of 12 km, over a section 3 km deep.

    The section goes on 6 km beyond both ends of the line, so that no station gains from an end of the model. Densities
    are a smooth Gaussian field: ``sd`` [kg/m³], ``length`` [m] down and twice that across.
    """
    space = mesh("density", "kg/m^3", z=np.linspace(0, 3000, 16), x=np.linspace(-6000, 18000, 121))
    prior = Smoothness(space, sd, {"z": length, "x": 2 * length})
    for parameter in prior.parameters():
        parameter.requires_grad_(False)
    stations = np.arange(spacing, 12000, spacing)
    law = Gaussian(space, prior.location, DenseCovariance(prior.covariance.dense()))
    return Choice(law, SectionGravity(space, stations, 0.5), zone.mean(space), noise)


@dataclass(frozen=True)
class WaveChoice:
    """Shots over a section, each heard by all receivers, with the velocity known by a few smooth modes.

    Attributes:
        modes: law of the standard normal mode numbers. operator: modes → traces. velocity: modes → velocity (z, x).
        goal: modes → velocity in the zone. shots, receivers: positions (z, x) [m]. noise: sd of a sample.
    """

    modes: Gaussian
    operator: Operator
    velocity: Dense
    goal: Operator
    shots: Tensor
    receivers: Tensor
    noise: float

    def told(self) -> Dense:
        """What each shot tells at the mean, (shot, row): rows R with RᵀR = Jᵀ J / noise², by the tangent there.

        This is the Gauss-Newton approximation; a shot has many more samples than the section has modes.
        """
        tangent = Linearised(self.operator, self.modes.location)
        labels = range(len(self.shots))
        rows = [tangent.select("shot", [k]).rows(self.modes.location) / self.noise for k in labels]
        stacked = torch.cat([torch.linalg.qr(r, mode="r").R for r in rows])
        data = Space("told", {"shot": len(rows), "row": self.modes.space.size})
        return Dense(self.modes.space, data, stacked)

    def ranking(self, told: Dense, count: int) -> Ranking:
        """The greedy sequence of shots for the velocity in the zone."""
        return next_observation(self.modes, told, 1.0, TotalVariance(self.goal), by="shot", count=count)

    def left(self, told: Dense, chosen: Tensor) -> float:
        """Mean posterior variance in the zone [(m/s)²] after the ``chosen`` shots."""
        rows = told.matrix.reshape(len(self.shots), -1, self.modes.space.size)[chosen].flatten(0, 1)
        precision = torch.eye(self.modes.space.size, dtype=torch.float64) + rows.mT @ rows
        wanted = self.goal.rows(precision)
        return float((wanted @ torch.linalg.solve(precision, wanted.mT)).diagonal().mean())


def wave_choice(zone: Zone, noise_share: float = 0.1, modes: int = 60, shots: int = 20) -> WaveChoice:
    """Shots and receivers at the surface of a section 1.2 km long and 0.5 km deep, velocity rising from 1.6 km/s.

    The noise of a sample is ``noise_share`` of the root mean square of all traces through the mean section.
    """
    z, x = np.arange(0, 501.0, 12.5), np.arange(0, 1201.0, 12.5)
    space = Space("velocity", {"z": z, "x": x}, "m/s", Positive())
    mean = (1600 + 1.6 * torch.from_numpy(z))[:, None].expand(space.shape)
    law = Smoothness(space, 120.0, {"z": 60.0, "x": 150.0}, mean=mean)
    with torch.no_grad():
        power = (1 / law.field.precisions()).flatten()
        strongest = power.argsort(descending=True)[:modes]
        units = torch.zeros(modes, space.size, dtype=torch.float64)
        units[torch.arange(modes), strongest] = 1.0
        columns = law.decode(units.reshape(modes, *space.shape)) - law.location
    numbers = Space("mode", {"mode": modes})
    velocity = Dense(numbers, space, space.flat(columns).mT.contiguous(), law.location)
    dt, steps = 0.0015, 560
    wavelet = ricker(12.0, dt * torch.arange(steps, dtype=torch.float64))
    places = torch.stack([torch.full((shots,), 12.5).double(), torch.linspace(30, 1170, shots).double()], 1)
    heard = torch.stack([torch.full((24,), 12.5).double(), torch.linspace(20, 1180, 24).double()], 1)
    operator = Acoustic(space, Survey.shots(places, heard, wavelet), dt) @ velocity
    start = torch.zeros(modes, dtype=torch.float64)
    with torch.no_grad():
        noise = noise_share * float(operator(start).square().mean().sqrt())
    unit: Covariance = DiagonalCovariance(torch.ones(modes, dtype=torch.float64))
    goal = zone.cells(space) @ velocity
    return WaveChoice(Gaussian(numbers, start, unit), operator, velocity, goal, places, heard, noise)
