"""Renormalisation by learnt coarse spins: the critical point and its exponent, from what a block tells of the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.domains.molecules import renormalisation_pictures as draw
from posteriori.domains.molecules.finite_size import (
    SPINS,
    Estimate,
    Scaling,
    Series,
    Variable,
    observe,
    pilot,
    scaling,
)
from posteriori.domains.molecules.lattice import read_configurations
from posteriori.domains.molecules.renormalisation import (
    Decimation,
    Flow,
    chain,
    configurations,
    flow,
    linearised,
)
from posteriori.domains.molecules.renormalisation_filters import (
    BOTTLENECK,
    MUTUAL,
    Filter,
    learn_filters,
    questions,
    shares_of_optimum,
)
from posteriori.domains.study import Outcome, Score
from posteriori.learn.coarse_graining import BlockRule
from posteriori.physics.ising_exact import CRITICAL, decimated

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LIMIT = 4.9
"""Standard errors, of 16 chains, that a sound figure exceeds twice in 10,000 runs."""
TRAINING = 32
SHOWN = (0.93, 0.97, 1.0, 1.03, 1.08)
"""Temperatures of the flow, as shares of the one that was found."""
CHAIN = 0.8
"""Coupling of the chain that is decimated."""
REFERENCES = (
    "Koch-Janusz & Ringel (2018), Mutual information, neural networks and the renormalization group, Nature Physics "
    "14, 578.",
    "Alemi, Fischer, Dillon & Murphy (2017), Deep variational information bottleneck, ICLR.",
    "Binder (1981), Finite size scaling analysis of Ising model block distribution functions, Z. Phys. B 43, 119.",
    "Swendsen (1979), Monte Carlo renormalization group, Phys. Rev. Lett. 42, 859.",
)


@dataclass(frozen=True)
class Study:
    """Learn a coarse spin of each block, by mutual information and by a bottleneck, and find Tc and ν with it.

    Nothing known of the model but its energy goes in: a pilot finds where to sample, blocks learn from samples there,
    and the Binder cumulants of the coarse magnetisation cross at Tc, with slopes that grow as L^(1/ν). The coarse spin
    that tells most is ±1; the bottleneck's is the mean of its code.
    """

    sizes: tuple[int, ...] = (16, 32, 64)
    """Sites along each side of the lattices, two or more, multiples of block=."""
    block: int = 2
    """Sites along each side of a block."""
    target: Literal["averages", "modes"] = "averages"
    """What the bottleneck's code shall tell of the surroundings: averages of eight sectors, or low Fourier modes."""
    beta: float = 50.0
    """What one nat about the target is worth, in nats of the block; above 1."""
    steps: int = 6000
    """Steps of each of 16 chains at each size."""
    data: Path | None = None
    """Your own configurations to learn the blocks from: a NumPy file (n, L, L) of -1 and +1."""
    quick: bool = False
    """A fifth of the steps, fewer levels."""

    def __call__(self, context: Context) -> Outcome:
        """Learn, sample, cross."""
        self._check()
        given = None if self.data is None else self._given(self.data)
        steps = max(500, self.steps // 5) if self.quick else self.steps
        coupling = pilot(context.rng.child("pilot"), 1600)
        spins = configurations(TRAINING, coupling, 1000, context.rng.child("training")) if given is None else given
        shape, wanted = (self.block, self.block), self.target
        filters = learn_filters(spins, shape, questions(shape)[wanted], self.beta, context.child("filters"))
        rules = {name: one.rule for name, one in filters.items()}
        variables: dict[str, Variable] = {MUTUAL: rules[MUTUAL].coarse, BOTTLENECK: rules[BOTTLENECK]}
        series = [observe(variables, n, coupling, steps, context.rng.child("series", n)) for n in sorted(self.sizes)]
        found = {name: scaling(series, name) for name in (SPINS, *rules)}
        best, critical = rules[MUTUAL], found[MUTUAL].temperature.value
        largest = max(self.sizes)
        levels = linearised(best, largest, 1 / critical, steps // 4, context.rng.child("linearised"))
        shown = [critical * share for share in SHOWN]
        flows = flow(best, largest, shown, 640 if self.quick else 1600, context.rng.child("flow"))
        one_d = chain(CHAIN, 256, 16_000, context.child("chain"))
        optimum = {}
        if self.block == 2:
            optimum = shares_of_optimum({**rules, "block_spin": BlockRule.majority(shape)}, coupling)
        wide = (
            {}
            if self.block == 4
            else learn_filters(spins, (4, 4), questions((4, 4))[wanted], self.beta, context.child("wide"))
        )
        return _Findings(self, coupling, filters, wide, series, found, levels, flows, one_d, optimum).outcome()

    def _check(self) -> None:
        if not 2 <= self.block <= 4:
            raise OptionError(f"block={self.block}: from 2 to 4 sites a side.")
        if len(self.sizes) < 2 or len(set(self.sizes)) != len(self.sizes):
            raise OptionError(f"sizes={','.join(map(str, self.sizes))}: two or more different sizes are needed.")
        for n in self.sizes:
            if n % self.block:
                raise OptionError(f"sizes: blocks of {self.block} × {self.block} do not fit {n} × {n} sites.")
            if not 4 * self.block <= n <= 128:
                raise OptionError(f"sizes: {n} sites a side; from {4 * self.block} (four blocks) to 128.")
        if not 500 <= self.steps <= 1_000_000 or not self.beta > 1:
            raise OptionError(f"steps={self.steps}, beta={self.beta:g}: 500 to 1,000,000 steps, and beta above 1.")

    def _given(self, data: Path) -> Tensor:
        spins = read_configurations(data)
        if spins.shape[-1] % self.block:
            raise DataError(
                f"data={data}: blocks of {self.block} × {self.block} do not fit {spins.shape[-1]} sites a side; "
                "give block= a divisor."
            )
        return spins


@dataclass(frozen=True)
class _Findings:
    """All that is found."""

    study: Study
    coupling: float
    filters: dict[str, Filter]
    wide: dict[str, Filter]
    series: list[Series]
    scaled: dict[str, Scaling]
    levels: list[Estimate]
    flows: list[Flow]
    one_d: Decimation
    optimum: dict[str, float]

    def outcome(self) -> Outcome:
        sizes = ", ".join(map(str, sorted(self.study.sizes)))
        report = Report(f"Coarse spins of {self.study.block} × {self.study.block} sites, L = {sizes}", self._figures())
        scores: dict[str, Score] = {figure.name: figure.value for figure in report}
        return Outcome(
            scores={**scores, "cpu_seconds": time.process_time()},
            report=report,
            pictures=self._pictures(),
            tables={"scaling": self._scaling_table(), "levels": self._levels_table(), "flow": self._flow_table()},
            references=REFERENCES,
        )

    def _figures(self) -> tuple[Figure, ...]:
        figures = [Figure("pilot_temperature", 1 / self.coupling, unit="J/k", note="where blocks learn")]
        for name, found in self.scaled.items():
            figures += self._critical(name, found)
        for name, one in self.filters.items():
            figures += [
                Figure(f"{name}.bound", one.information, unit="nat", note="about the surroundings, held-out blocks"),
                Figure(f"{name}.correlation", one.correlation, note="of code and block average"),
                Figure(f"{name}.agreement", one.agreement, note="coarse spins that follow the block's majority"),
            ]
        gate = Gate(low=0.95)
        figures += [
            Figure(
                f"{name}.share_of_optimum", share, gate=gate if name in self.filters else None, note="I(H; E), 4 × 4"
            )
            for name, share in self.optimum.items()
        ]
        nu = self.levels[-1]
        figures.append(Figure("linearised.nu", nu.value, nu.error, note="largest eigenvalue, last coarse-graining"))
        wanted = decimated(CHAIN)
        note = f"coarse coupling {self.one_d.coupling:.5f}, exact {wanted:.5f}"
        figures.append(Figure("chain_error", abs(self.one_d.coupling / wanted - 1), gate=Gate(high=0.01), note=note))
        return tuple(figures)

    def _critical(self, name: str, found: Scaling) -> list[Figure]:
        """Tc and ν with their errors, and their distance from what Onsager says."""
        t, nu = found.temperature, found.nu
        away = {
            "temperature": (t.value * CRITICAL - 1, t.error * CRITICAL, 0.005),
            "nu": (nu.value - 1, nu.error, 0.05),
        }
        figures = [
            Figure(f"{name}.critical_temperature", t.value, t.error, unit="J/k", note=f"exact {1 / CRITICAL:.6f}"),
            Figure(f"{name}.nu", nu.value, nu.error, note="exact 1"),
        ]
        for what, (error, spread, promised) in away.items():
            gate = Gate(high=max(promised, round(LIMIT * spread, 4)) if self.study.quick else promised)
            figures.append(Figure(f"{name}.{what}_error", abs(error), spread, gate=gate, note="relative"))
        return figures

    def _scaling_table(self) -> pd.DataFrame:
        rows = [
            {"variable": name, "sizes": f"{a}, {b}", "crossing [J/k]": one.value, "error [J/k]": one.error}
            for name, found in self.scaled.items()
            for (a, b), one in found.crossings.items()
        ]
        return pd.DataFrame(rows)

    def _levels_table(self) -> pd.DataFrame:
        rows = [{"from level": i, "nu": one.value, "error": one.error} for i, one in enumerate(self.levels)]
        return pd.DataFrame(rows)

    def _flow_table(self) -> pd.DataFrame:
        rows = [
            {"temperature [J/k]": one.temperature, "level": i, "nearest": k[0], "second": k[1]}
            for one in self.flows
            for i, k in enumerate(one.couplings)
        ]
        return pd.DataFrame(rows)

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        side = self.study.block
        shown = {
            f"{name}, {n} × {n}": np.asarray(one.rule.weights.detach(), np.float64)
            for n, group in ((side, self.filters), (4, self.wide))
            for name, one in group.items()
        }
        critical = self.scaled[MUTUAL].temperature.value
        return {
            "What the blocks learnt: filter weights (a block spin has all ones)": partial(draw.filters_picture, shown),
            "Binder cumulants of the learnt coarse spins": partial(
                draw.binder_picture, self.series, MUTUAL, self.scaled[MUTUAL]
            ),
            "The flow of couplings under the learnt coarse-graining": partial(draw.flow_picture, self.flows, critical),
        }
