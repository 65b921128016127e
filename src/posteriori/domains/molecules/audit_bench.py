"""How good the audit is: planted failures caught, sound rows doubted, intervals that hold the exact values."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
import torch

from posteriori.audit.weighted_draws import Verdict
from posteriori.core.run import Context
from posteriori.domains.molecules.planted import Planter
from posteriori.domains.molecules.planted_case import reported, truths

STRENGTHS = 20
INTERVAL = 1.959964
"""Half-width of a 95 % interval in standard errors."""
WEAKEST = 3
"""Strengths from the weakest on over which bias and error are averaged, to show that they matter."""


@dataclass(frozen=True)
class Bench:
    """What the benchmark found.

    Attributes:
        planted: one row for each planted case: kind, strength, verdict, reason.
        gaps: one row for each figure that a planted case would report: its gap from the truth in standard errors.
        sound: one row for each sound case: source, verdict, reason.
        intervals: one row for each interval with a known truth: source, quantity, gap in standard errors.
    """

    planted: pd.DataFrame
    gaps: pd.DataFrame
    sound: pd.DataFrame
    intervals: pd.DataFrame

    @property
    def caught(self) -> float:
        """Share of planted failures that were not accepted."""
        return float((self.planted["verdict"] != "accept").mean())

    @property
    def alarms(self) -> float:
        """Share of sound cases that were not accepted."""
        return float((self.sound["verdict"] != "accept").mean())

    @property
    def covered(self) -> float:
        """Share of 95 % intervals that hold the truth."""
        return float((self.intervals["gap [s.e.]"].abs() <= INTERVAL).mean())

    @property
    def covered_error(self) -> float:
        """Standard error of the coverage; the intervals of one case count as one block."""
        inside = (self.intervals["gap [s.e.]"].abs() <= INTERVAL) - self.covered
        blocks = inside.groupby(self.intervals["case"]).sum()
        return float(sqrt((blocks**2).sum()) / len(inside))

    def by_kind(self) -> pd.DataFrame:
        """Share caught, and the bias at the weakest strengths, of each kind."""
        rows = []
        for kind, part in self.planted.groupby("kind", sort=False):
            weak = part[part["level"] < WEAKEST]
            gaps = self.gaps[(self.gaps["kind"] == kind) & (self.gaps["level"] < WEAKEST)]
            bias = gaps.groupby("quantity")["gap [s.e.]"].mean().abs().max()
            rows.append(
                {
                    "kind": kind,
                    "caught [%]": 100 * float((part["verdict"] != "accept").mean()),
                    "caught at the weakest [%]": 100 * float((weak["verdict"] != "accept").mean()),
                    "weakest": float(part["strength"].min()),
                    "strongest": float(part["strength"].max()),
                    "of": part["unit"].iloc[0],
                    "bias at the weakest [s.e.]": float(bias),
                    "error at the weakest [s.e.]": float((gaps["gap [s.e.]"] ** 2).mean() ** 0.5),
                }
            )
        return pd.DataFrame(rows)

    def grid(self) -> tuple[list[str], list[int], np.ndarray]:
        """Kinds, levels of strength, and the share caught of each at each, (kind, level)."""
        caught = self.planted.assign(caught=self.planted["verdict"] != "accept")
        table = caught.pivot_table(index="kind", columns="level", values="caught", sort=False)
        return [str(k) for k in table.index], [int(level) for level in table.columns], table.to_numpy(float)


def bench(repeats: int, sound: int, context: Context, every: int = 1) -> Bench:
    """Audit ``repeats`` cases of each kind at ``every``-th strength, and ``sound`` sound ones; one stream for each."""
    planter = Planter(context.rng.seed)
    cases = [
        (kind, level, i)
        for kind in planter.kinds
        for level in range(every // 2, STRENGTHS, every)
        for i in range(repeats)
    ]
    planted, apart = [], []
    for kind, level, i in context.progress(cases, "planted failures", len(cases)):
        strength = kind.strengths(STRENGTHS)[level]
        rng = context.rng.child("planted", kind.name, level, i)
        case = kind.plant(strength, rng)
        audit = case.audited(rng)
        mean, error = reported(case, audit)
        gaps = (mean - truths(case)) / error.clamp_min(1e-300)
        known = torch.isfinite(gaps).nonzero()[:, 0].tolist()
        apart += [{"kind": kind.name, "level": level, "quantity": j, "gap [s.e.]": float(gaps[j])} for j in known]
        planted.append(
            {
                "kind": kind.name,
                "level": level,
                "strength": strength,
                "unit": kind.unit,
                "verdict": audit.verdict.value,
                "reason": audit.reason,
            }
        )
    found, intervals = _sound(planter, sound, context)
    return Bench(pd.DataFrame(planted), pd.DataFrame(apart), found, intervals)


def _sound(planter: Planter, n: int, context: Context) -> tuple[pd.DataFrame, pd.DataFrame]:
    found, intervals = [], []
    for i in context.progress(range(n), "sound rows", n):
        rng = context.rng.child("sound", i)
        name, case = planter.sound(i, rng)
        audit = case.audited(rng)
        found.append({"source": name, "verdict": audit.verdict.value, "reason": audit.reason})
        if case.source.log_z is None or audit.verdict is not Verdict.ACCEPT:
            continue
        mean, error = reported(case, audit)
        gaps = (mean - truths(case)) / error.clamp_min(1e-300)
        known = torch.isfinite(gaps)
        intervals += [
            {"case": i, "source": name, "quantity": int(j), "gap [s.e.]": float(gaps[j])} for j in known.nonzero()[:, 0]
        ]
    return pd.DataFrame(found), pd.DataFrame(intervals)
