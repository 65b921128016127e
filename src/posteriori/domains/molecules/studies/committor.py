"""The committor of a plane reaction learnt two ways, against finite differences; flux, rate, transition states."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.infer import infer
from posteriori.core.run import Context, references
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules import committor_pictures as draw
from posteriori.domains.molecules.backward_kolmogorov import Solved, backward_kolmogorov
from posteriori.domains.molecules.kinetics import (
    Errors,
    Reaction,
    Rows,
    committors,
    errors_of,
    grid_of,
    hot_rows,
    reaction,
    transition_states,
    values_at,
)
from posteriori.domains.molecules.reactive_flux import Flux, controls_of, flux_of
from posteriori.domains.study import Outcome, Score
from posteriori.inference.committor import VariationalCommittor
from posteriori.inference.committor_net import CommittorNet
from posteriori.inference.committor_shooting import ShootingCommittor, outcomes_of
from posteriori.inference.overdamped import Overdamped

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

NODES, EVERY = 401, 4
WIDTH, LENGTH, REACH = 100, 0.5, 2.0
"""Width, length of features in spreads of the hot law, and rise of the boundary terms in radii."""
CHAINS, LEARNT_FROM = 1000, 60_000
"""Hot chains, and how many of the rows in its own chains each network is fitted to."""
FLUX_FROM = 400_000
"""Rows that the flux is averaged over; their neighbours in a chain tell little more."""
REACHED = 20.0
"""Energy above the lowest [kT] up to which trajectories start."""
LONGEST = 0.01
"""Time step at most; motion on these surfaces runs away far below."""
LIMIT = 3.9
"""Standard errors that a sound figure exceeds once in 10,000 runs."""


@dataclass(frozen=True)
class Study:
    """The committor between two discs by the variational form and by shooting, from hotter rows with exact weights.

    The unknown is a network's weights; its values, bands, flux, rate and transition states follow by mapping. Finite
    differences on a grid are the truth; the flux through every level set of q must be one number.
    """

    potential: Literal["mueller-brown", "double-well"] = "mueller-brown"
    """The energy; A and B are discs about its two deepest minima unless a= and b= say otherwise."""
    temperature: float | None = None
    """kT in the unit of the potential; none takes 15 for Müller-Brown, 1 for the double well."""
    a: tuple[float, float] | None = None
    """Centre of the disc where reactions begin."""
    b: tuple[float, float] | None = None
    """Centre of the disc where they end."""
    radius: float | None = None
    """Of both discs."""
    members: int = 8
    """Networks of the ensemble."""
    draws: int = 1600
    """Hot rows of each of 1,000 chains, for the flux."""
    shots: int = 4000
    """Trajectories of the shooting committor."""
    step: float = 1e-4
    """Time step of a trajectory, D = 1."""
    simulate: int = 0
    """Steps of 4,000 equilibrium trajectories whose reactions are counted; 0 counts none."""
    quick: bool = False
    """Fewer members, rows and shots."""

    def __call__(self, context: Context) -> Outcome:
        """Sample, learn, compare."""
        for name, value, low, high in (
            ("members", self.members, 2, 100),
            ("draws", self.draws, 100, 20_000),
            ("shots", self.shots, 500, 1_000_000),
            ("simulate", self.simulate, 0, 1_000_000),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name}={value:,}: from {low:,} to {high:,}.")
        if not 0 < self.step <= LONGEST:
            raise OptionError(f"step={self.step:g} is a time step: above 0, up to {LONGEST:g}.")
        begun = time.process_time()
        run = replace(self, members=3, draws=300, shots=1000) if self.quick else self
        return _Findings.of(run, run.reaction(), context).outcome(begun)

    def reaction(self) -> Reaction:
        """The potential with the discs asked for.

        Raises:
            OptionError: discs that meet or leave the box.
        """
        for name, centre in {"a": self.a, "b": self.b}.items():
            if centre is not None and len(centre) != 2:
                raise OptionError(f"{name} has {len(centre)} numbers; a centre has two, such as {name}=-0.56,1.44.")
        if self.radius is not None and not self.radius > 0:
            raise OptionError(f"radius={self.radius:g} must be positive.")
        found = reaction(self.potential)
        found = replace(
            found, a=self.a or found.a, b=self.b or found.b, radius=found.radius if self.radius is None else self.radius
        )
        apart = sqrt(sum((p - q) ** 2 for p, q in zip(found.a, found.b, strict=True)))
        if not 0 < 2 * found.radius < apart:
            raise OptionError(f"discs of radius {found.radius:g} with centres {apart:.3g} apart: they must not meet.")
        for name, (x, y) in {"a": found.a, "b": found.b}.items():
            if not (found.x[0] < x < found.x[1] and found.y[0] < y < found.y[1]):
                raise OptionError(f"{name}=({x:g}, {y:g}) lies outside the box {found.x} × {found.y}.")
        return found


@dataclass(frozen=True)
class _Findings:
    """All that is found about one reaction."""

    study: Study
    reaction: Reaction
    target: Boltzmann
    truth: Solved
    posterior: Draws
    values: Tensor
    errors: Errors
    shooting: Errors
    shots_z: float
    flux: Flux
    states: Tensor
    counted: tuple[float, float] | None
    seconds: dict[str, float]

    @staticmethod
    def of(study: Study, where: Reaction, context: Context) -> _Findings:
        temperature = where.temperature if study.temperature is None else study.temperature
        target = where.target(temperature)
        a, b = where.sets
        clock = _Clock()
        truth = backward_kolmogorov(target, a, b, where.x, where.y, NODES)
        clock.lap("finite differences")
        heat = max(1.0, where.hot / temperature)
        rows = hot_rows(target, heat, CHAINS, study.draws, context.rng.child("rows"))
        clock.lap("hot rows")
        spread = rows.values.std(0)
        net = CommittorNet(a, b, rows.values.mean(0), spread, WIDTH, LENGTH, REACH * where.radius)
        posterior = committors(net, rows, study.members, LEARNT_FROM, context.rng.child("variational"))
        clock.lap("variational")
        some = rows.thinned(FLUX_FROM)
        controls = controls_of(target, some, heat, context.rng.child("controls"))
        flux = flux_of(net, some, posterior.values, controls)
        clock.lap("flux")
        shooting, z = _shot(study, target, net, rows, posterior.values, truth, context)
        clock.lap("shooting")
        values = values_at(net, posterior.values, grid_of(truth, EVERY)).reshape(-1, *truth.q[::EVERY, ::EVERY].shape)
        states = transition_states(net, posterior.values, rows, 400, context.rng.child("states"))
        counted = None
        if study.simulate:
            counted = _counted(study, target, where, rows, context)
            clock.lap("simulation")
        errors = errors_of(values, truth, EVERY)
        return _Findings(
            study, where, target, truth, posterior, values, errors, shooting, z, flux, states, counted, clock.seconds
        )

    def outcome(self, begun: float) -> Outcome:
        kT = 1 / self.target.beta
        report = Report(f"The committor of {self.study.potential} at kT = {kT:g}", self._figures())
        scores: dict[str, Score] = {figure.name: figure.value for figure in report}
        mean = self.values.mean(0).numpy()
        pictures: dict[str, Callable[[], Picture]] = {
            "The committor: network, finite differences, difference": partial(
                draw.maps_picture, mean, self.truth, EVERY, self.reaction
            ),
            "Transition states over the energy": partial(
                draw.transition_picture, self.states, self.target, self.truth, EVERY, self.reaction
            ),
            "Calibration of the bands": partial(draw.bands_picture, self.errors.z),
            "Flux through the level sets of q": partial(draw.levels_picture, self.flux, self.truth.flux),
        }
        return Outcome(
            scores={**scores, "kT": kT, "cpu_seconds": time.process_time() - begun},
            report=report,
            pictures=pictures,
            posterior=self.posterior,
            tables={"seconds": pd.DataFrame([{"part": k, "CPU time [s]": v} for k, v in self.seconds.items()])},
            references=references(self.target.potential, VariationalCommittor(), ShootingCommittor()),
        )

    def _figures(self) -> tuple[Figure, ...]:
        one, truth = self.flux, self.truth
        promised = self.study.potential == "mueller-brown" and not self.study.quick
        figures = [
            Figure(
                "committor_rmse",
                self.errors.weighted,
                gate=Gate(high=0.01) if promised else None,
                note="Boltzmann-weighted where 0.05 < q < 0.95",
            ),
            Figure(
                "committor_rmse_unweighted",
                self.errors.plain,
                note="each cell alike, density above 1e-6 of the largest",
            ),
            Figure("band_coverage", self.errors.inside, note="of the members' 90 % band, weighted"),
            Figure("band_z_spread", float(self.errors.z.square().mean().sqrt()), note="1 for calibrated bands"),
            Figure("shooting_rmse", self.shooting.weighted, note=f"from {self.study.shots:,} trajectories"),
            Figure(
                "shooting_z", self.shots_z, unit="s.e.", gate=Gate(-LIMIT, LIMIT), note="outcomes against the network"
            ),
            Figure("flux", one.flux, one.flux_error, note=f"finite differences {truth.flux:.6g}"),
            Figure("rate", one.rate, one.rate_error, note=f"finite differences {truth.rate:.6g}"),
            Figure(
                "rate_error",
                abs(one.rate / truth.rate - 1),
                one.rate_error / truth.rate,
                gate=Gate(high=0.03) if promised else None,
                note="relative",
            ),
            Figure("rate_z", (one.rate - truth.rate) / one.rate_error, unit="s.e.", note="from finite differences"),
            Figure("excess_flux", one.excess, note="of a network by itself over products of two, relative"),
            Figure("flux_unevenness", one.unevenness, note="χ² per degree of freedom over slices of q"),
        ]
        if self.counted is not None:
            value, error = self.counted
            figures.append(Figure("flux_counted", value, error, note="reactions of equilibrium trajectories"))
            z = (value - truth.flux) / max(error, 1e-300)
            figures.append(
                Figure("flux_counted_z", z, unit="s.e.", gate=Gate(-LIMIT, LIMIT), note="from finite differences")
            )
        return tuple(figures)


class _Clock:
    """CPU seconds of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begun = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.seconds[name], self.begun = now - self.begun, now


def _shot(
    study: Study, target: Boltzmann, net: CommittorNet, rows: Rows, weights: Tensor, truth: Solved, context: Context
) -> tuple[Errors, float]:
    """The shooting committor's errors, and how far the outcomes are from the variational one, in standard errors."""
    rng = context.rng.child("shooting")
    with torch.no_grad():
        energy = target.energy(rows.values)
    outside = (net.a.gap(rows.values) > 0) & (net.b.gap(rows.values) > 0)
    free = (outside & (energy < energy.min() + REACHED)).nonzero()[:, 0]
    starts = rows.values[free[rng.permutation(len(free))[: study.shots]]]
    ended = Overdamped(target, net.a, net.b, study.step).shoot(starts, rng.child("motion"))
    q = values_at(net, weights, starts).mean(0)
    z = float((ended - q).sum() / (q * (1 - q)).sum().sqrt())
    found = infer(outcomes_of(net, starts, ended), ShootingCommittor(study.members), seed=rng.entropy)
    assert isinstance(found, Draws)
    values = values_at(net, found.values, grid_of(truth, EVERY)).reshape(-1, *truth.q[::EVERY, ::EVERY].shape)
    return errors_of(values, truth, EVERY), z


def _counted(study: Study, target: Boltzmann, where: Reaction, rows: Rows, context: Context) -> tuple[float, float]:
    """Flux counted in equilibrium trajectories, and its error."""
    rng = context.rng.child("simulation")
    edges = torch.softmax(rows.log_weights, 0).cumsum(0)
    starts = rows.values[torch.searchsorted(edges, rng.uniform((4000,))).clamp_max(len(edges) - 1)]
    return Overdamped(target, *where.sets, study.step).reactions(starts, study.simulate, rng.child("motion"))
