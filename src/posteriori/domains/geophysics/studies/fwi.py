"""Full-waveform inversion of simulated or recorded waves, from a smooth section to its mode and an uncertainty."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.run import Context, digest
from posteriori.domains.geophysics.fwi import Stage, invert, pose, random_codes
from posteriori.domains.geophysics.fwi_experiment import Experiment, Layout, stages_for
from posteriori.domains.geophysics.fwi_pictures import FwiPictures
from posteriori.domains.geophysics.fwi_posterior import gauss_newton
from posteriori.domains.geophysics.fwi_recorded import Effort, invert_records, prior_about
from posteriori.domains.geophysics.fwi_recorded import figures as recorded_figures
from posteriori.domains.geophysics.fwi_recorded_pictures import RecordedPictures
from posteriori.domains.geophysics.fwi_records import Treatment, read_records
from posteriori.domains.geophysics.marmousi import (
    SHAPE,
    SPACING,
    Cut,
    coarsened,
    read_section,
    synthetic_section,
    water_depth,
)
from posteriori.domains.study import Outcome

BOUNDS = (1400.0, 5500.0)
"""Velocities [m/s] that a section keeps to."""
RESOLVED = 0.5
"""Cells count as resolved where the records took more than this share of the prior's variance."""
NORMAL90 = 1.6448536269514722
BLOCK = 4
"""Nodes averaged into one cell of the inversion of simulated records; those of a start are taken as they are."""
REFERENCES = (
    "Virieux & Operto (2009), An overview of full-waveform inversion in exploration geophysics, Geophysics 74, WCC1.",
    "Bunks et al. (1995), Multiscale seismic waveform inversion, Geophysics 60, 1457.",
)


@dataclass(frozen=True)
class Study:
    """A velocity section from recorded waves, low frequencies first, with a standard deviation for every cell.

    A true section is shot on its finest grid, noise is added, and the inversion starts from the section blurred by a
    Gaussian. The mode is found on coarser cells by L-BFGS; the posterior is a Gaussian with the Gauss-Newton curvature
    in the prior's strongest directions. The prior is learnt from other sections, made in code.

    With ``data=`` and ``start=`` a user's own records are inverted from his own smooth section: the wavelet is
    estimated from them, and one shot in eight is held out to tell whether the result predicts better than the start.
    """

    model: Path | None = None
    """True velocity: raw float32 as Marmousi's (x, z), .npy, netCDF, SEG-Y, UBC-GIF; none makes layers and faults."""
    data: Path | None = None
    """SEG-Y file of your own records, with their geometry; needs start=."""
    start: Path | None = None
    """Smooth velocity section that the inversion of your own records starts from, a file as for model=."""
    mesh: Path | None = None
    """Mesh file (.msh) where model= or start= is a UBC-GIF model."""
    shape: tuple[int, ...] = SHAPE
    """Nodes nx,nz of a raw file; Marmousi's without."""
    spacing: float = SPACING
    """Distance between the nodes of the file [m]."""
    window: tuple[float, ...] = ()
    """Part of the section, from,to in x [m]; all of it without."""
    block: int | None = None
    """Nodes averaged into one cell of the inversion, along each direction; 4 of a model, 1 of a start without."""
    blur: float = 300.0
    """Standard deviation of the Gaussian that makes the start, or that your own start is as smooth as [m]."""
    shots: int = 10
    """Number of shots, evenly spread."""
    receivers: int = 100
    """Number of receivers, evenly spread; all hear every shot."""
    seconds: float = 2.2
    """Length of the records [s]."""
    peak: float = 5.0
    """Frequency of the Ricker wavelet [Hz]."""
    snr: float = 20.0
    """Mean power of the records over that of the noise [dB]."""
    effort: float = 2.0
    """Factor on the iterations of every band."""
    rank: int = 300
    """Directions of the prior in which the records' information is counted."""
    supershots: int = 0
    """Random sums of all shots that the posterior's curvature is computed from; 0 takes every shot by itself."""
    spread: float = 1.3
    """Factor on the posterior's standard deviations, learnt on sections made in code; 1 leaves them as they are."""
    band: tuple[float, ...] = ()
    """Corners low,high [Hz] that your records are filtered to; what they hold and the cells carry without."""
    mute: tuple[float, ...] = ()
    """Velocity,delay [m/s, s] of a mute of your records: what comes before offset / velocity + delay does not count."""
    origin: tuple[float, ...] = ()
    """Easting, or easting,northing, of the start's x = 0 in your records' coordinates [m]; 0 without."""
    water: float | None = None
    """Depth down to which your start is known [m]; that of its flat layer of water (1500 m/s), if any, without."""
    noise: float | None = None
    """Standard deviation of the noise in the band, in your records' unit; from before the first arrivals without."""
    theory: float = 0.1
    """Share of a trace's root mean square that acoustic waves in a section are not expected to explain."""
    point_sources: bool = False
    """Correct your records from point sources in three dimensions to line sources in two."""
    surface: bool = False
    """The first row of your start is a free surface; otherwise all edges absorb."""
    quick: bool = False
    """A third of the iterations and directions."""

    def __call__(self, context: Context) -> Outcome:
        """Shoot, or read, and invert; hold the answer against the truth, or against shots that were held out."""
        treatment = self._treatment()
        share = 1 / 3 if self.quick else 1.0
        if self.data is not None and self.start is not None:
            return self._recorded(self.data, self.start, treatment, share, context)
        block = BLOCK if self.block is None else self.block
        layout = Layout(block, self.blur, self.shots, self.receivers, self.seconds, self.peak, self.snr)
        section = self._section(context)
        experiment = Experiment.simulate(section, layout, context.rng.child("experiment"), context)
        cell = block * float(section["x"][1] - section["x"][0])
        stages = stages_for(experiment.spread, cell, share * self.effort)
        begun = time.perf_counter()

        def watch(row: dict[str, float], m: Tensor) -> None:
            row["rmse"] = experiment.rmse(m)

        u, rows = invert(
            experiment.spread, experiment.data, experiment.sigma, experiment.prior, stages, context, BOUNDS, watch
        )
        seconds = time.perf_counter() - begun
        steps = pd.DataFrame(rows)
        final = pose(experiment.spread, experiment.data, experiment.sigma, experiment.prior, Stage(None, 1, 1), BOUNDS)
        with torch.no_grad():
            predicted = final.operator(final.coarse(final.section(u).float()))
        band = Stage(1.2 * self.peak, min(2, stages[1].coarser), 1)
        codes = random_codes(self.supershots, self.shots, context.rng.child("codes of the curvature"))
        question = pose(experiment.spread, experiment.data, experiment.sigma, experiment.prior, band, BOUNDS, codes)
        curvature = gauss_newton(question, u, max(1, round(share * self.rank)), context)
        posterior = curvature.posterior(self.spread)
        resolution = curvature.resolution(posterior)
        scores = score(experiment, posterior, resolution, predicted)
        scores["prior_strength"] = curvature.strength
        scores |= {"seconds_inversion": seconds, "gradients": int(steps.groupby("stage")["calls"].max().sum())}
        return Outcome(
            scores=scores,
            report=Report("Full-waveform inversion", figures(scores)),
            pictures=FwiPictures(experiment, posterior, resolution, steps, predicted).every(),
            posterior=posterior,
            tables={"steps": steps},
            data={} if self.model is None else {"model": digest(torch.from_numpy(section.values))},
            references=REFERENCES,
        )

    def _treatment(self) -> Treatment:
        """How recorded data are treated, after a look at all options together."""
        if len(self.shape) != 2 or len(self.window) not in (0, 2):
            raise OptionError(f"shape={self.shape} and window={self.window}: two numbers each, nx,nz and from,to.")
        if not (0 <= self.supershots <= 1000 and 1 <= self.rank <= 5000 and 0 < self.effort <= 100):
            raise OptionError(
                f"rank={self.rank} lies in 1 to 5000, effort={self.effort:g} in 0 to 100, "
                f"supershots={self.supershots} in 0 to 1000."
            )
        if not 0.1 <= self.spread <= 10:
            raise OptionError(f"spread={self.spread:g} multiplies standard deviations and lies in 0.1 to 10.")
        if (self.data is None) != (self.start is None):
            raise OptionError("your own records need both: data=FILE.sgy and start=FILE, a smooth velocity section.")
        if self.data is not None and (self.model is not None or self.supershots):
            raise OptionError("model= and supershots= are for simulated records; leave them out beside data=.")
        treatment = Treatment(
            self.band, self.mute, self.origin, self.noise, self.theory, self.point_sources, self.surface
        )
        if self.data is None and (treatment != Treatment() or self.water is not None):
            raise OptionError("band, mute, origin, water, noise, theory, … treat your own records; give data= too.")
        return treatment

    def _recorded(self, data: Path, start_file: Path, treatment: Treatment, share: float, context: Context) -> Outcome:
        """A user's own records: no truth to score against, but shots that were held out."""
        Layout(self.block or 1, self.blur)
        section = self._read(start_file)
        section = section if self.block in (None, 1) else coarsened(section, self.block)
        bounds = min(BOUNDS[0], 0.9 * float(section.min())), max(BOUNDS[1], 1.1 * float(section.max()))
        recording = read_records(data, section, treatment, bounds)
        water = water_depth(section) if self.water is None else self.water
        prior = prior_about(section, water, self.blur, context.rng.child("training"))
        effort = Effort(share * self.effort, max(1, round(share * self.rank)), self.spread)
        found = invert_records(recording, section, prior, bounds, effort, context)
        return Outcome(
            scores=found.scores,
            report=Report("Full-waveform inversion of recorded waves", recorded_figures(found.scores)),
            pictures=RecordedPictures(found).every(),
            posterior=found.posterior,
            tables={"steps": found.steps},
            data={"data": digest(recording.data), "start": digest(torch.from_numpy(section.values))},
            references=(
                *REFERENCES,
                "Pratt (1999), Seismic waveform inversion in the frequency domain, Geophysics 64.",
            ),
        )

    def _read(self, path: Path) -> xr.DataArray:
        return read_section(path, (self.shape[0], self.shape[1]), self.spacing, self.mesh)

    def _section(self, context: Context) -> xr.DataArray:
        if self.model is None:
            section = synthetic_section(context.rng.child("section"), 200, 400)
        else:
            section = self._read(self.model)
        return Cut(*self.window)(section) if self.window else section


def score(experiment: Experiment, posterior: Gaussian, resolution: Tensor, predicted: Tensor) -> dict[str, float]:
    """Errors [m/s] of start and mode, coverage of the 90 % intervals [shares], and the misfit that is left."""
    rock = experiment.rock
    error = (posterior.location.double().numpy() - experiment.truth.values)[rock]
    half = NORMAL90 * posterior.spread().double().numpy()[rock]
    resolved = resolution.numpy()[rock] > RESOLVED
    inside = np.abs(error) <= half
    left = (experiment.data - predicted).double()
    return {
        "rmse": float(np.sqrt(np.square(error).mean())),
        "rmse_start": experiment.rmse(experiment.start.values),
        "rmse_resolved": float(np.sqrt(np.square(error[resolved]).mean())) if resolved.any() else float("nan"),
        "coverage90": float(inside[resolved].mean()) if resolved.any() else float("nan"),
        "coverage90_all": float(inside.mean()),
        "resolved_share": float(resolved.mean()),
        "residual_over_sigma": float((left / experiment.sigma).square().mean().sqrt()),
        "sigma_over_records": float(experiment.sigma.median()) / float(experiment.clean.std()),
    }


def figures(scores: Mapping[str, float]) -> tuple[Figure, ...]:
    """The audit: the inversion must better its start, and its intervals hold where the records tell something."""
    note = f"cells whose resolution exceeds {RESOLVED:g}: {100 * scores['resolved_share']:.0f} % of the rocks"
    found = [
        Figure("rmse", scores["rmse"], unit="m/s", gate=Gate(high=scores["rmse_start"]), note="gate: the start's"),
        Figure("coverage90_all", scores["coverage90_all"], note="all cells below the water"),
        Figure("residual_over_sigma", scores["residual_over_sigma"], note="1 where the noise alone is left"),
    ]
    if scores["resolved_share"] > 0:
        found.insert(1, Figure("coverage90", scores["coverage90"], gate=Gate(0.80, 0.97), note=note))
    return tuple(found)
