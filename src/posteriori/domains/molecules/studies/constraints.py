"""Molecules and surfaces under exact constraints: are the samples where, and as often, as they must be?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, references
from posteriori.domains.molecules import constraints_pictures as draw
from posteriori.domains.molecules.constraints import cases
from posteriori.domains.molecules.constraints_bad import Bad, rejecting, softly
from posteriori.domains.molecules.constraints_checks import (
    Marginal,
    Water,
    areas,
    chart_error,
    marginal,
    water_by_coordinates,
    water_by_projection,
)
from posteriori.domains.study import Outcome
from posteriori.inference.constrained_hmc import ConstrainedHMC
from posteriori.physics.water import WaterCluster

FALSE_ALARM = 1e-3
"""Of each group of statistical gates together."""
Z = 3.9
"""|z| that the largest of ten standard normal scores exceeds once in a thousand times."""
STIFFNESS = (1.0, 10.0, 100.0, 1000.0)
TOLERANCES = (1.0, 0.3, 0.1, 0.03, 0.01)
WAYS = ("projected (RATTLE)", "centres and quaternions")


@dataclass(frozen=True)
class Study:
    """Constrained Hamiltonian Monte Carlo against exact marginals, areas, and rigid water sampled a second way.

    Springs and rejection, the ways that do not work, are measured beside it.
    """

    rows: int = 100_000
    """Rows of each marginal that is held against its exact law."""
    molecules: int = 3
    """Rigid TIP3P water molecules in the cluster."""
    temperature: float = 300.0
    """Of the cluster [K]."""
    trap: float = 100.0
    """Spring that holds each oxygen near the origin [kJ mol⁻¹ nm⁻²]."""
    draws: int = 150
    """Rows of each of 200 chains of the cluster."""
    quick: bool = False
    """A tenth of the rows."""

    def __call__(self, context: Context) -> Outcome:
        """Sample, compare."""
        self._check()
        began = time.process_time()
        rng, few = context.rng, 10 if self.quick else 1
        known = cases()
        found = {
            name: marginal(case, self.rows // few, rng.child(name))
            for name, case in context.progress(known.items(), "marginals", len(known))
        }
        model = WaterCluster(self.molecules, self.trap)
        size = (self.temperature, max(20, self.draws // few), 200)
        rigid, posterior = water_by_projection(model, *size, rng.child("rattle"))
        ways = dict(zip(WAYS, (rigid, water_by_coordinates(model, *size, rng.child("quaternions"))), strict=True))
        soft = [softly(k, 300 // few, rng.child("soft", str(k))) for k in STIFFNESS]
        rejected = [rejecting(t, 2_000_000 // few, rng.child("rejected", str(t))) for t in TOLERANCES]
        surfaces = areas(10_000 // few, rng.child("areas"))
        figures = [*_exact(found, rigid, chart_error(rng.child("chart"))), *_areas(surfaces), *_agree(ways)]
        report = Report("Constraints: kept, counted rightly, and the same two ways", tuple(figures))
        scores = {figure.name: figure.value for figure in report}
        return Outcome(
            scores={**scores, **_bad(soft, rejected), "cpu_seconds": time.process_time() - began},
            report=report,
            pictures={
                "Sampled coordinates and their exact laws": partial(draw.marginals_picture, known, found),
                f"{self.molecules} rigid water molecules, two ways": partial(draw.water_picture, ways),
                "Springs and rejection on a torus": partial(draw.bad_picture, soft, rejected, known["torus"]),
            },
            posterior=posterior,
            tables={"marginals": _table(found), "bad": _bad_table(soft, rejected)},
            references=references(ConstrainedHMC(), model),
        )

    def _check(self) -> None:
        if not 10_000 <= self.rows <= 2_000_000:
            raise OptionError(f"rows={self.rows}: 10,000 to 2,000,000.")
        if not 1 <= self.molecules <= 20 or not 20 <= self.draws <= 10_000:
            raise OptionError(f"molecules={self.molecules} (1 to 20), draws={self.draws} (20 to 10,000).")
        if not 0 < self.temperature < 1e5 or not 0 < self.trap < 1e6:
            raise OptionError(
                f"temperature={self.temperature:g} K and trap={self.trap:g} kJ mol⁻¹ nm⁻² must be positive (and below "
                "1e5 and 1e6)."
            )


def _exact(found: dict[str, Marginal], rigid: Water, chart: float) -> list[Figure]:
    gate = Gate(FALSE_ALARM / len(found))
    figures = [
        Figure(f"ks_p.{name}", one.p_value, gate=gate, note=f"{len(one.values)} rows, {one.effective:.0f} independent")
        for name, one in found.items()
    ]
    worst = max(one.residual for one in found.values())
    kept = Gate(high=1e-10)
    return [
        *figures,
        Figure("constraint_error", worst, gate=kept, note="largest of every row of every case"),
        Figure("water.constraint_error", rigid.residual, unit="nm", gate=kept, note="largest of every row"),
        Figure("jacobian_error", chart, gate=kept, note="log area element of projection against autograd"),
    ]


def _areas(surfaces: dict[str, tuple[float, float]]) -> list[Figure]:
    return [
        Figure(f"area.{name}", value, error, gate=Gate(1 - Z * error, 1 + Z * error), note="found / exact")
        for name, (value, error) in surfaces.items()
    ]


def _agree(ways: dict[str, Water]) -> list[Figure]:
    first, second = ways.values()
    figures = []
    for name in first.values:
        (a, e), (b, f) = first.mean(name), second.mean(name)
        error = (e * e + f * f) ** 0.5
        note = f"{a:.5g} ± {e:.2g} and {b:.5g} ± {f:.2g}"
        figures.append(Figure(f"water.{name}.z", (a - b) / error, 1.0, gate=Gate(-Z, Z), note=note))
    return figures


def _bad(soft: Sequence[Bad], rejected: Sequence[Bad]) -> dict[str, dict[str, float]]:
    return {
        "springs.error": {f"{b.strength:g}": b.from_area for b in soft},
        "springs.residual": {f"{b.strength:g}": b.residual for b in soft},
        "springs.cost": {f"{b.strength:g}": b.cost for b in soft},
        "rejection.error": {f"{b.strength:g}": b.from_area for b in rejected},
        "rejection.acceptance": {f"{b.strength:g}": 1 / b.cost for b in rejected},
    }


def _table(found: dict[str, Marginal]) -> pd.DataFrame:
    rows = [
        (name, len(m.values), m.effective, m.p_value, m.residual, m.accepted, m.undone) for name, m in found.items()
    ]
    columns = ["case", "rows", "independent rows", "p", "largest residual", "accepted", "undone"]
    return pd.DataFrame(rows, columns=columns)


def _bad_table(soft: Sequence[Bad], rejected: Sequence[Bad]) -> pd.DataFrame:
    rows = [("spring", *_numbers(b)) for b in soft] + [("rejection", *_numbers(b)) for b in rejected]
    columns = ["way", "stiffness [kT] or tolerance", "rms constraint", "KS from area", "KS from stiff springs", "cost"]
    return pd.DataFrame(rows, columns=columns)


def _numbers(bad: Bad) -> tuple[float, float, float, float, float]:
    return bad.strength, bad.residual, bad.from_area, bad.from_stiff, bad.cost
