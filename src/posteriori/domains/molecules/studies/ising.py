"""The Ising model on a torus: log Z, energy and heat capacity against Kaufman, clusters against a learnt generator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.infer import infer
from posteriori.core.run import Context, references
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules import lattice_pictures as draw
from posteriori.domains.molecules.finite_size import Estimate
from posteriori.domains.molecules.lattice import (
    SAMPLERS,
    Generated,
    Measured,
    curve,
    generated,
    of_configurations,
    read_configurations,
    require_temperature,
    snapshots,
    thermodynamics,
)
from posteriori.domains.study import Outcome, Score
from posteriori.inference.cluster import SwendsenWang, Wolff
from posteriori.inference.lattice_generator import LatticeGenerator
from posteriori.inference.lattice_heat_bath import HeatBath
from posteriori.inference.lattice_integration import ThermodynamicIntegration
from posteriori.physics.ising import Ising
from posteriori.physics.ising_exact import CRITICAL, Thermodynamics, torus

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LARGEST, LARGEST_LEARNT = 256, 16
LIMIT = 4.9
"""Standard errors, of 16 chains, that a sound figure exceeds twice in 10,000 runs."""
PROMISED, PROMISED_SIZE = 1e-4, 16
"""Error of log Z per site that is promised, and the largest size for which it is."""
FEWEST, MOST = 400, 10_000_000
KEPT = 2**19
"""Spins of each chain that the posterior keeps, at most."""
TEMPERATURES = (1.6, 1.9, 2.1, 2.2, 2.27, 2.35, 2.45, 2.6, 2.9, 3.4)


@dataclass(frozen=True)
class Study:
    """log Z by thermodynamic integration, energy and heat capacity by clusters, each held against the exact torus.

    A learnt autoregressive generator with exact weights answers the same question; the table says which way needs the
    fewest CPU seconds, training included. With data= the study compares your own configurations instead.
    """

    size: int = 16
    """Sites along each side of the torus."""
    temperature: float | None = None
    """Temperature [J/k]; none takes the critical one of the infinite lattice, 2.269185."""
    sampler: Literal["wolff", "swendsen-wang", "heat-bath"] = "wolff"
    """What draws the configurations for energy and heat capacity."""
    steps: int | None = None
    """Steps of each of 16 chains for log Z, all couplings together; none takes 160,000 at 16 × 16, fewer on larger."""
    draws: int | None = None
    """Steps of each of 16 chains for energy and heat capacity; none takes 16,000 at 16 × 16, fewer on larger."""
    generator: bool | None = None
    """Train the generator too; none does so up to 16 sites a side."""
    data: Path | None = None
    """Your own configurations instead: a NumPy file (n, L, L) of -1 and +1, drawn at temperature=."""
    quick: bool = False
    """A tenth of the steps."""

    def __call__(self, context: Context) -> Outcome:
        """Sample, integrate, compare."""
        if not 3 <= self.size <= LARGEST:
            raise OptionError(f"size={self.size}: from 3 to {LARGEST} sites a side.")
        for name, value in {"steps": self.steps, "draws": self.draws}.items():
            if value is not None and not FEWEST <= value <= MOST:
                raise OptionError(f"{name}={value}: from {FEWEST:,} to {MOST:,}.")
        if self.generator and self.size > LARGEST_LEARNT:
            raise OptionError(f"generator=yes learns up to {LARGEST_LEARNT} sites a side, not {self.size}.")
        temperature = 1 / CRITICAL if self.temperature is None else self.temperature
        require_temperature("temperature", temperature)
        if self.data is not None:
            return _audited(self.data, temperature)
        return _Findings.of(self, temperature, context).outcome(context)

    def counts(self) -> tuple[int, int]:
        """Steps for log Z and steps for energies, of each chain."""
        share = PROMISED_SIZE**2 / self.size**2
        own = (self.steps or int(160_000 * share), self.draws or int(16_000 * share))
        steps, draws = (min(MOST, max(FEWEST, n // (10 if self.quick else 1))) for n in own)
        return steps, draws


@dataclass(frozen=True)
class _Findings:
    """All that is found at one size and temperature."""

    study: Study
    temperature: float
    exact: Thermodynamics
    posterior: Draws
    seconds: float
    samplers: dict[str, Measured]
    learnt: Generated | None

    @staticmethod
    def of(study: Study, temperature: float, context: Context) -> _Findings:
        size, coupling = study.size, 1 / temperature
        target = Boltzmann(Ising((size, size)), coupling)
        begun = time.process_time()
        steps, draws = study.counts()
        method = ThermodynamicIntegration(steps=steps, draws=max(4, min(500, KEPT // size**2)))
        posterior = infer(target, method, seed=context.rng.child("log_z").entropy)
        assert isinstance(posterior, Draws)
        seconds = time.process_time() - begun
        samplers = {
            name: thermodynamics(size, temperature, name, draws // (1 if name == study.sampler else 4), rng)
            for name, rng in ((name, context.rng.child(name)) for name in SAMPLERS)
        }
        learnt = None
        if study.generator or (study.generator is None and size <= LARGEST_LEARNT):
            learnt = generated(size, coupling, _generator(study.quick), context.child("generator"))
        exact = torus(size, size, coupling)
        return _Findings(study, temperature, exact, posterior, seconds, samplers, learnt)

    def outcome(self, context: Context) -> Outcome:
        size = self.study.size
        report = Report(f"The Ising model on {size} × {size} sites at T = {self.temperature:.6g} J/k", self._figures())
        scores: dict[str, Score] = {figure.name: figure.value for figure in report}
        steps = min(500, max(50, 500 * 64**2 // size**2))
        found = curve(size, TEMPERATURES, steps, context.rng.child("curve"))
        return Outcome(
            scores={**scores, "size": size, "temperature": self.temperature, "cpu_seconds": time.process_time()},
            report=report,
            pictures=self._pictures(found, context),
            posterior=self.posterior,
            tables={"samplers": self._table(), "curve": _frame(found)},
            references=references(SwendsenWang(), Wolff(), HeatBath(), LatticeGenerator()),
        )

    def _figures(self) -> tuple[Figure, ...]:
        found, sites = self.samplers[self.study.sampler], self.study.size**2
        assert self.posterior.log_evidence is not None
        assert self.posterior.log_evidence_error is not None
        log_z = Estimate(float(self.posterior.log_evidence) / sites, float(self.posterior.log_evidence_error) / sites)
        figures = [
            *_against("log_z_per_site", log_z, self.exact.log_z, ""),
            Figure("log_z_error", abs(log_z.value - self.exact.log_z), log_z.error, gate=self._promise(PROMISED)),
            Figure("log_z_cpu_seconds", self.seconds, unit="s"),
            *_against("energy_per_site", found.energy, self.exact.energy, "J"),
            *_against("heat_capacity_per_site", found.heat_capacity, self.exact.heat_capacity, "k"),
            _relative("heat_capacity_error", found.heat_capacity, self.exact.heat_capacity, self._promise(0.02)),
            Figure("magnetisation", found.magnetisation.value, found.magnetisation.error, note="mean |m| per site"),
        ]
        figures += [
            Figure(f"ess_per_cpu_second.{name}", one.speed, note="slower of energy and |m|")
            for name, one in self.samplers.items()
        ]
        return (*figures, *(self._learnt() if self.learnt else ()))

    def _promise(self, high: float) -> Gate | None:
        """What the full run promises up to 16 sites a side; others only have to agree within their errors."""
        return None if self.study.quick or self.study.size > PROMISED_SIZE else Gate(high=high)

    def _learnt(self) -> list[Figure]:
        assert self.learnt is not None
        one, sites = self.learnt, self.study.size**2
        assert self.posterior.log_evidence_error is not None
        own = one.seconds * one.log_z.error**2
        other = self.seconds * (float(self.posterior.log_evidence_error) / sites) ** 2
        speed = one.ess_reverse * one.draws / (one.seconds - one.training_seconds)
        return [
            *(replace(f, name=f"generator.{f.name}") for f in _against("log_z", one.log_z, self.exact.log_z, "")),
            Figure("ess_reverse", one.ess_reverse, note="of the generator, share of its rows"),
            Figure("ess_forward", one.ess_forward, note="the same on independent rows of clusters"),
            Figure("pareto_k", one.pareto_k, gate=Gate(high=0.7)),
            Figure("generator.cpu_seconds", one.seconds, unit="s", note="training included"),
            Figure("generator.ess_per_cpu_second", speed, note="once trained"),
            Figure("generator.cost_of_log_z", own / other, note="CPU seconds for one error, in those of integration"),
        ]

    def _table(self) -> pd.DataFrame:
        rows = [
            {
                "sampler": name,
                "energy per site [J]": one.energy.value,
                "error [J]": one.energy.error,
                "ESS per CPU s": one.speed,
            }
            for name, one in self.samplers.items()
        ]
        return pd.DataFrame(rows)

    def _pictures(
        self, found: list[tuple[float, Measured, Thermodynamics]], context: Context
    ) -> dict[str, Callable[[], Picture]]:
        shown = snapshots(64, (1.8, 1 / CRITICAL, 3.2), context.rng.child("shown"))
        return {
            "Configurations of 64 × 64 sites: cold, critical, hot (up is dark)": partial(
                draw.configurations_picture, shown
            ),
            "Energy and heat capacity against the exact finite torus": partial(
                draw.curve_picture, self.study.size, found
            ),
        }


def _generator(quick: bool) -> LatticeGenerator:
    plan = LatticeGenerator().plan
    return LatticeGenerator(draws=4000, rows=5000 if quick else 20_000, width=4, plan=replace(plan, epochs=20))


def _against(name: str, found: Estimate, exact: float, unit: str) -> list[Figure]:
    """The figure, and its distance from the exact value in standard errors."""
    z = (found.value - exact) / max(found.error, 1e-12)
    return [
        Figure(name, found.value, found.error, unit=unit, note=f"exact {exact:.8g}"),
        Figure(f"{name}.z", z, unit="s.e.", gate=Gate(-LIMIT, LIMIT), note="from the exact torus"),
    ]


def _relative(name: str, found: Estimate, exact: float, gate: Gate | None) -> Figure:
    return Figure(name, abs(found.value / exact - 1), found.error / exact, gate=gate, note="relative")


def _frame(found: list[tuple[float, Measured, Thermodynamics]]) -> pd.DataFrame:
    rows = [
        {
            "temperature [J/k]": t,
            "energy [J]": one.energy.value,
            "exact energy [J]": exact.energy,
            "heat capacity [k]": one.heat_capacity.value,
            "exact heat capacity [k]": exact.heat_capacity,
        }
        for t, one, exact in found
    ]
    return pd.DataFrame(rows)


def _audited(path: Path, temperature: float) -> Outcome:
    """Someone's configurations against the exact torus of their size."""
    spins = read_configurations(path)
    size = spins.shape[-1]
    found, exact = of_configurations(spins, temperature), torus(size, size, 1 / temperature)
    figures = (
        *_against("energy_per_site", found.energy, exact.energy, "J"),
        *_against("heat_capacity_per_site", found.heat_capacity, exact.heat_capacity, "k"),
        Figure("magnetisation", found.magnetisation.value, found.magnetisation.error, note="mean |m| per site"),
    )
    report = Report(f"{len(spins)} configurations of {size} × {size} sites at T = {temperature:.6g} J/k", figures)
    shown = [(temperature, spins[i].numpy()) for i in (0, len(spins) // 2, len(spins) - 1)]
    pictures = {"First, middle and last configuration (up is dark)": partial(draw.configurations_picture, shown)}
    return Outcome(scores={f.name: f.value for f in report}, report=report, pictures=pictures)
