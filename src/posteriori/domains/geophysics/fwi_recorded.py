"""The inversion of a user's records: wavelet and section in turn, shots held out, what they say of the result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from posteriori.audit.report import Figure, Gate
from posteriori.core import memory
from posteriori.core.errors import DataError
from posteriori.core.gaussian import Gaussian
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geophysics.fwi import Coarser, Question, Stage, invert, pose
from posteriori.domains.geophysics.fwi_experiment import TRAINING, stages_for
from posteriori.domains.geophysics.fwi_posterior import gauss_newton
from posteriori.domains.geophysics.fwi_prior import SectionPrior
from posteriori.domains.geophysics.fwi_records import Recording
from posteriori.domains.geophysics.fwi_spread import Spread
from posteriori.domains.geophysics.marmousi import SPACING
from posteriori.domains.geophysics.source_wavelet import fit_taps, taps_matrix
from posteriori.physics.acoustic_shots import Shots

FULL = Stage(None, 1, 1)
TURNED = 0.9
"""Share of its shots in which a channel must look turned over to be refused."""
DEEPEST = 400
"""Most cells each way of the sections that the prior is learnt from; beyond, correlations are zero."""


@dataclass(frozen=True)
class Effort:
    """Iterations and directions spent, and the posterior's widening."""

    iterations: float
    rank: int
    spread: float


@dataclass(frozen=True)
class Found:
    """What an inversion of records found.

    Attributes:
        recording: all shots. held: positions of those that were not fitted.
        start: section (z, x). posterior: over it. resolution: 1 - posterior / prior variance.
        steps: rows of :func:`fwi.invert`. before, after: predictions of start and mode, each with its own wavelet.
        wavelet: of the mode, one for every recorded interval.
        scores: of the study.
    """

    recording: Recording
    held: np.ndarray
    start: xr.DataArray
    posterior: Gaussian
    resolution: Tensor
    steps: pd.DataFrame
    before: Tensor
    after: Tensor
    wavelet: Tensor
    scores: Mapping[str, float]


def prior_about(start: xr.DataArray, water: float, blur: float, rng: Rng) -> Gaussian:
    """What sections made in code differ from their own blur by, around ``start``."""
    cell = float(start["x"][1] - start["x"][0])
    block = max(1, round(cell / SPACING))
    node = cell / block
    rows, columns = (block * min(start.sizes[d], DEEPEST) for d in ("z", "x"))
    below_water = int(np.ceil(200.0 / node)) + block
    learnt = SectionPrior.learn(rng, rows + below_water, max(columns, 8 * block), block, blur, TRAINING, node)
    return learnt.about(start, water)


def invert_records(
    recording: Recording,
    start: xr.DataArray,
    prior: Gaussian,
    bounds: tuple[float, float],
    effort: Effort,
    context: Context,
) -> Found:
    """Mode and posterior from all shots but those held out; the wavelet is estimated anew before every band."""
    held = recording.held()
    fitted = np.setdiff1d(np.arange(len(recording.names)), held)
    part = recording.part(fitted)
    cell = float(start["x"][1] - start["x"][0])
    planned = stages_for(part.spread, cell, effort.iterations, bounds[0])
    stages = [s for s in planned if s.high is None or s.high > 1.2 * recording.band[0]]
    band = Stage(min(1.2 * part.spread.peak, recording.band[1]), min(2, stages[0].coarser), 1)
    require_memory(pose(part.spread, part.data, part.wide, prior, FULL, bounds))
    before = predicted(recording, prior, tuned(part, prior, FULL, prior.location), prior.location)
    require_one_polarity(recording, before)

    def retune(stage: Stage, section: Tensor) -> Spread:
        return tuned(part, prior, stage, section)

    begun = time.perf_counter()
    u, rows = invert(part.spread, part.data, part.wide, prior, stages, context, bounds, retune=retune)
    seconds = time.perf_counter() - begun
    section = pose(part.spread, part.data, part.wide, prior, FULL, bounds).section(u)
    last = tuned(part, prior, FULL, section)
    after = predicted(recording, prior, last, section)
    question = pose(retune(band, section), part.data, part.wide, prior, band, bounds)
    curvature = gauss_newton(question, u, min(effort.rank, len(u)), context)
    posterior = curvature.posterior(effort.spread)
    resolution = curvature.resolution(posterior)
    steps = pd.DataFrame(rows)
    scores = score(recording, held, before, after)
    scores |= {
        "resolved_share": float(
            (resolution[prior.covariance.diagonal().reshape(resolution.shape) > 0] > 0.5).double().mean()
        ),
        "prior_strength": curvature.strength,
        "seconds_inversion": seconds,
        "gradients": int(steps.groupby("stage")["calls"].max().sum()),
    }
    assert last.response is not None
    wavelet = last.response @ last.recorder(cell) @ last.wavelet(cell)
    return Found(recording, held, start, posterior, resolution, steps, before, after, wavelet, scores)


def tuned(recording: Recording, prior: Gaussian, stage: Stage, section: Tensor) -> Spread:
    """The spread with the wavelet that explains the records best, in the stage's band, if ``section`` (z, x) is true.

    Reference: Pratt (1999), Seismic waveform inversion in the frequency domain, Geophysics 64, 888 (in turn with the
    model); in time here, for the sake of mutes and gaps.
    """
    spread, lags = recording.spread, recording.lags
    traces = _simulated(spread, prior, stage, section)
    taps = fit_taps(spread.filtered(recording.data, stage.high), traces, recording.weight, lags)
    assert spread.response is not None
    return replace(spread, response=taps_matrix(taps, lags, spread.samples) @ spread.response)


def predicted(recording: Recording, prior: Gaussian, spread: Spread, section: Tensor) -> Tensor:
    """Records of all shots with the wavelet of ``spread``, whose own shots may be fewer."""
    return _simulated(replace(recording.spread, response=spread.response), prior, FULL, section)


def _simulated(spread: Spread, prior: Gaussian, stage: Stage, section: Tensor) -> Tensor:
    coarse = Coarser(prior.space, stage.coarser)
    with torch.no_grad():
        traces: Tensor = spread.operator(coarse.codomain, stage.high)(coarse(section.float()))
    return traces


def require_memory(question: Question) -> None:
    """Refuse, before any run, shots whose tapes would not fit together.

    Raises:
        MemoryBudgetError: they do not.
    """
    simulated = question.operator.simulated
    shots = Shots(simulated.section, simulated.survey, np.dtype(np.float32))
    need = simulated.survey.size * (shots.tape_bytes + 2 * shots.field_bytes) + 20 * shots.field_bytes
    memory.require(
        need, f"the waves of {simulated.survey.size} shots", "lower the band, cut the records, or take fewer shots"
    )


def require_one_polarity(recording: Recording, start: Tensor) -> None:
    """Refuse channels that are turned over against all others; the sign of all together is the wavelet's.

    Raises:
        DataError: naming the channels.
    """
    d, p = (recording.window * t for t in (recording.data, start))
    n = 2 * d.shape[-1]
    lagged = torch.fft.irfft(torch.fft.rfft(d, n) * torch.fft.rfft(p, n).conj(), n)
    reach = max(1, round(0.5 / recording.spread.peak / recording.spread.interval))
    near = torch.cat([lagged[..., : reach + 1], lagged[..., -reach:]], -1)
    live = recording.window.amax(-1) > 0
    turned = (-near.amin(-1) > near.amax(-1)) & live
    share = turned.sum(0) / live.sum(0).clamp_min(1)
    wrong = ((share >= TURNED) & (live.sum(0) >= 3)).nonzero()[:, 0]
    if len(wrong) and float(turned.sum() / live.sum()) < 0.25:
        raise DataError(
            f"receivers {wrong.tolist()} (ranks of the channel) are turned over against all others in nearly every "
            "shot: multiply their traces by -1, or mark them dead."
        )


def score(recording: Recording, held: np.ndarray, before: Tensor, after: Tensor) -> dict[str, float]:
    """Residuals of fitted and of held-out shots under start and mode: in standard deviations, as shares of energy."""
    shots = np.arange(len(recording.names))
    found: dict[str, float] = {}
    for name, at in (("residual_over_sigma", np.setdiff1d(shots, held)), ("held_out", held)):
        if len(at) == 0:
            continue
        part, chosen = recording.part(at), torch.from_numpy(at)
        energy = (part.data * part.weight).double().square().sum()
        for suffix, traces in (("", after), ("_start", before)):
            left = ((part.data - traces[chosen]) * part.weight).double().square().sum()
            found[name + suffix] = float((left / part.window.double().square().sum()).sqrt())
            if name == "held_out":
                found[f"held_out_unexplained{suffix}"] = float(left / energy)
    return found | {
        "shots_held_out": len(held),
        "noise": recording.quiet,
        "band_low": recording.band[0],
        "band_high": recording.band[1],
        "dead_share": float((recording.window.amax(-1) == 0).double().mean()),
    }


def figures(scores: Mapping[str, float]) -> tuple[Figure, ...]:
    """The audit: shots that were not fitted must be predicted better than the start predicts them."""
    found = [
        Figure("residual_over_sigma", scores["residual_over_sigma"], note="1 where noise and theory alone are left")
    ]
    if "held_out" in scores:
        gate = Gate(high=scores["held_out_start"])
        note = "residual / σ of shots that were held out; gate: the start's"
        found += [
            Figure("held_out", scores["held_out"], gate=gate, note=note),
            Figure("held_out_unexplained", scores["held_out_unexplained"], note="share of their energy"),
        ]
    return tuple(found)
