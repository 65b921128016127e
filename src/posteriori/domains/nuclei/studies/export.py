"""Joint mass tables of the whole chart for astrophysics codes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains import picture
from posteriori.domains.nuclei import data, law, models, pictures
from posteriori.domains.nuclei.chart import whole_chart
from posteriori.domains.nuclei.export import JointTables
from posteriori.domains.nuclei.joint_tables import far_reaching, joint_tables
from posteriori.domains.study import Outcome

FORMATS = ("csv", "netcdf", "talys")
WHOLE = 120  # Z up to which a chart counts as whole
FEWEST = 7000  # nuclei of a whole chart
AFFORDABLE = 30.0  # [CPU s] a baseline
SMALLEST_ZMAX = 20


@dataclass(frozen=True)
class Study:
    """Draws of all masses at once: each table is one world that could be true, with its correlated errors.

    A reaction network that runs on many of the tables carries the whole uncertainty of masses, since separation and
    decay energies of one table belong together. Written as CSV, netCDF and TALYS mass files; the CPU time is that of
    the covariance of the whole chart and its draws, the learnt numbers given.
    """

    train: int = 2020
    """Evaluation that everything is learnt from: 1995, 2003, 2012, 2016 or 2020."""
    baseline: str = "mix"
    """Known physics: a baseline's name, several joined by +, or mix (all that saw nothing later and reach far)."""
    draws: int = 1000
    """Number of joint tables."""
    zmax: int = 120
    """Largest proton number."""
    format: str = "all"
    """What to write: csv, netcdf, talys, several joined by +, or all."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Fit, draw, hand the files over."""
        formats = self._formats()
        cells = whole_chart(self.zmax)
        question = law.Question(self.train, law.choose(self.baseline, self.train, self.tables), self.tables)
        question = far_reaching(question, cells) if self.baseline == "mix" else question
        fitted = law.fit(question, context)
        started = time.process_time()
        masses = fitted.law(cells, context)
        draws = joint_tables(masses, self.draws, context.rng.child("tables"))
        seconds = (time.process_time() - started) / len(question.baselines)
        source = f"posteriori, AME{self.train}, {'+'.join(question.baselines)}, seed {context.rng.seed}"
        tables = JointTables(masses.space, draws.numpy(), source)
        return Outcome(
            scores={
                "nuclei": masses.space.size,
                "draws": self.draws,
                "cpu_seconds_per_baseline": seconds,
                "baselines": list(question.baselines),
            },
            report=self._audit(masses.space.size, seconds, _agreement(draws, masses.location, masses.spread())),
            pictures={
                "Standard deviation over the joint tables; outlined: masses known": partial(
                    pictures.chart_picture,
                    masses.space,
                    draws.std(0).numpy() / 1e3,
                    picture.Colours("standard deviation [MeV]", 0.02, log=True),
                    law.cells_of(question.masses),
                )
            },
            files=_files(tables, formats),
            data=question.fingerprints,
            references=[data.citation(self.train), *(models.baseline(name).citation for name in question.baselines)],
        )

    def _formats(self) -> tuple[str, ...]:
        data.known_year(self.train)
        if not SMALLEST_ZMAX <= self.zmax <= WHOLE:
            raise OptionError(f"zmax={self.zmax}; give a proton number from {SMALLEST_ZMAX} to {WHOLE}.")
        if self.draws < 2:
            raise OptionError(f"draws={self.draws}; ask for two or more.")
        chosen = FORMATS if self.format == "all" else tuple(self.format.split("+"))
        if unknown := [name for name in chosen if name not in FORMATS]:
            raise OptionError(f"format {unknown[0]!r} is none of {', '.join(FORMATS)} and all.")
        return chosen

    def _audit(self, nuclei: int, seconds: float, agreement: tuple[float, float]) -> Report:
        whole = self.zmax == WHOLE
        count = self.draws * nuclei
        means, spreads = agreement
        return Report(
            f"joint tables of AME{self.train}, {self.baseline}",
            (
                Figure("nuclei", nuclei, gate=Gate(low=FEWEST) if whole else None),
                Figure(
                    "cpu_seconds_per_baseline",
                    seconds,
                    unit="s",
                    gate=Gate(high=AFFORDABLE) if whole and self.draws <= 1000 else None,
                    note=f"covariance and {self.draws} joint tables",
                ),
                Figure("mean_z_rms", means, note="means of the tables against the law, in standard errors; about 1"),
                Figure("sd_ratio", spreads, note=f"spread of the tables over that of the law; {count} numbers"),
            ),
        )


def _agreement(draws: torch.Tensor, mean: torch.Tensor, sd: torch.Tensor) -> tuple[float, float]:
    """Root mean square of the error of the draws' means in standard errors, and the mean ratio of the spreads."""
    mean, sd = mean.detach(), sd.detach()
    z = (draws.mean(0) - mean) / sd * len(draws) ** 0.5
    return float(z.square().mean().sqrt()), float((draws.std(0) / sd).mean())


def _files(tables: JointTables, formats: tuple[str, ...]) -> dict[str, Callable[[Path], None]]:
    written = {
        "csv": ("masses.csv.gz", tables.write_csv),
        "netcdf": ("masses.nc", tables.write_netcdf),
        "talys": ("talys.zip", tables.write_talys),
    }
    return dict(written[name] for name in formats)
