"""First-arrival tomography: a velocity section with its uncertainty from picked travel times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.estimate import average
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import DataError, OptionError
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator
from posteriori.core.run import Context, digest
from posteriori.decide.linearised import Linearised
from posteriori.domains.geophysics import traveltime
from posteriori.domains.geophysics.traveltime import METHOD, Fitted, Medium
from posteriori.domains.geophysics.traveltime_picks import Floats, Picks, known_velocity, read_picks, survey
from posteriori.domains.geophysics.traveltime_pictures import (
    Panel,
    ends,
    panels_picture,
    picks_picture,
    residuals_picture,
)
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome
from posteriori.inference.curvature import dense_jacobian
from posteriori.physics.eikonal import Eikonal

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

FEWEST = 10
"""Picks of the smallest survey."""
SHARES = (0.06, 0.12, 0.24)
"""Correlation lengths tried, as shares of the section's smaller side."""
SEEN = 0.5
"""A node counts as seen where its posterior standard deviation is at most this share of the prior's."""


@dataclass(frozen=True)
class Study:
    """A velocity section, with the range in which each of its velocities lies, from first-arrival picks.

    The prior is a smooth Gaussian law of log velocity about the medium of constant gradient that fits the picks best;
    its length is the one of the largest evidence. The posterior is the Gauss-Newton Laplace approximation, its
    standard deviations times the one factor that sections drawn from the prior ask for. Intervals are checked three
    times: on such sections (the factor learnt on one half, tried on the other), on picks held out, and on the known
    section.
    """

    data: Path | None = None
    """Your picks: a CSV table (source_x [m], source_z [m], receiver_x, receiver_z, time [ms], sigma [ms]) or .sgt."""
    layout: str = "crosswell"
    """Survey to simulate where no data are given: crosswell or refraction."""
    sigma: float | None = None
    """Standard deviation [ms] of simulated picks, and of a file's that have none; 0.25 for crosswell, 1 otherwise."""
    cell: float | None = None
    """Distance of the section's nodes [m]; automatic without."""
    depth: float | None = None
    """How deep the section reaches [m]; without, what the survey can see."""
    sd: float | None = None
    """Relative standard deviation of the velocity before the picks; 0.1 for crosswell, 0.3 otherwise."""
    length: float | None = None
    """Vertical correlation length [m], half of the horizontal one; without, that of the largest evidence."""
    held_out: float = 0.1
    """Share of the picks kept aside to check the predictions."""
    truths: int = 40
    """Sections drawn from the prior to measure the coverage of the intervals and widen them by it; 0 leaves it out."""
    quick: bool = False
    """Fewer simulated sections and one length."""

    @property
    def _tidy(self) -> bool:
        """Between boreholes velocities vary little and picks are sharp."""
        return self.data is None and self.layout == "crosswell"

    @property
    def seconds(self) -> float:
        """Standard deviation of a pick [s]."""
        return 1e-3 * (self.sigma or (0.25 if self._tidy else 1.0))

    @property
    def spread(self) -> float:
        """Relative standard deviation of the velocity before the picks."""
        return self.sd or (0.1 if self._tidy else 0.3)

    def __call__(self, context: Context) -> Outcome:
        """Read or simulate the picks, invert, check."""
        self._check()
        picks, truth, (z, x) = self._picks(context)
        medium = Medium.of(picks)
        operator = traveltime.forward(z, x, picks.sources, picks.receivers, picks.live)
        lengths = [self.length] if self.length else [s * float(min(np.ptp(z), np.ptp(x))) for s in SHARES]
        lengths = lengths[1:2] if self.quick and len(lengths) > 1 else lengths
        fitted = traveltime.fit(operator, medium, picks, self.seconds, self.spread, lengths)
        figures: list[Figure] = []
        if many := min(self.truths, 20) if self.quick else self.truths:
            scores_of = traveltime.simulated(fitted.target, many, context.child("simulated"))
            figures += _coverage(scores_of)
            fitted = traveltime.widened(fitted, traveltime.widening(scores_of))
        figures = (
            _residuals(fitted, picks) + _held_out(context, self, fitted, picks) + _against(fitted, truth) + figures
        )
        report = Report(f"Velocities from {int(picks.live.sum())} first arrivals", tuple(figures))
        drawn = _Drawn(fitted, picks, z, x, truth)
        scores = {figure.name: figure.value for figure in report}
        scores |= {"length_m": fitted.length, "medium.top_m_per_s": medium.top, "medium.slope_per_s": medium.slope}
        return Outcome(
            scores=scores | {"log_evidence": {f"{k:.3g} m": v for k, v in fitted.evidence.items()}},
            report=report,
            posterior=fitted.posterior,
            pictures={
                "Velocity: what the picks tell and how sure it is": drawn.velocity,
                "What the rays see": drawn.sensitivity,
                "Residuals": partial(residuals_picture, picks, drawn.residual, drawn.sigma),
                "Picked and predicted times": partial(picks_picture, picks, drawn.predicted),
            },
            data={"picks": digest(torch.from_numpy(np.nan_to_num(picks.time)))},
            references=[*METHOD.references, *Eikonal.references, *fitted.law.references],
        )

    def _check(self) -> None:
        positive = {"sigma": self.sigma, "sd": self.sd, "cell": self.cell, "depth": self.depth, "length": self.length}
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise OptionError(f"{name}={value:g} must be positive.")
        if not 0 <= self.held_out <= 0.5:
            raise OptionError(f"held_out={self.held_out:g} lies in 0 to 0.5.")
        if self.truths and not 2 <= self.truths <= 10_000:
            raise OptionError(f"truths={self.truths}; 0 leaves the check out, which takes 2 to 10,000.")
        if self.data is None and (self.cell or self.depth):
            raise OptionError("cell= and depth= are for your own picks, data=FILE; a simulated survey has its section.")

    def _picks(self, context: Context) -> tuple[Picks, Tensor | None, tuple[Floats, Floats]]:
        """The picks, the known log₁₀ velocity at the nodes (None for a file), and the nodes."""
        if self.data is not None:
            picks = read_picks(self.data)
            if (live := int(picks.live.sum())) < FEWEST:
                raise DataError(f"{self.data.name} holds {live} picks; a section needs {FEWEST} or more.")
            return picks, None, traveltime.section(picks, self.cell, self.depth)
        sources, receivers, z, x = survey(self.layout)
        # the picks come from a grid that is twice as fine as the one they are inverted on
        down, across = (np.linspace(a[0], a[-1], 2 * len(a) - 1) for a in (z, x))
        section = torch.from_numpy(known_velocity(self.layout, down, across)).log10()
        exact = traveltime.forward(down, across, sources, receivers)(section)
        noise = self.seconds * context.rng.child("picks").normal(exact.shape).double()
        time = (exact + noise).numpy()
        time[context.rng.child("dead").uniform(exact.shape).numpy() < 0.03] = np.nan
        return Picks(sources, receivers, time, np.full(time.shape, self.seconds)), section[::2, ::2], (z, x)


@dataclass(frozen=True)
class _Drawn:
    """What the pictures show."""

    fitted: Fitted
    picks: Picks
    z: Floats
    x: Floats
    truth: Tensor | None

    @property
    def predicted(self) -> Floats:
        with torch.no_grad():
            found: Floats = self.fitted.target.operator(self.fitted.posterior.location).numpy()
        return found

    @property
    def residual(self) -> Floats:
        return self.predicted - self.picks.time

    @property
    def sigma(self) -> Floats:
        return _errors(self.fitted).reshape(self.picks.time.shape)

    def velocity(self) -> Picture:
        median, low, high = (v.numpy() for v in self.fitted.velocity(0.9))
        known = None if self.truth is None else (10**self.truth).numpy()
        least, most = np.quantile(median if known is None else known, [0.01, 0.99])
        scale = Colours("velocity [m/s]", float(least), float(most))
        panels = [] if known is None else [Panel("known section", known, scale)]
        half = 50 * (high - low) / median
        panels += [
            Panel("posterior median", median, scale),
            Panel("half the 90 % interval", half, Colours("[% of the velocity]", 0.0)),
        ]
        return panels_picture(panels, self.z, self.x, ends(self.picks))

    def sensitivity(self) -> Picture:
        rows = dense_jacobian(self.fitted.target.operator, self.fitted.posterior.location)
        seen = rows[torch.from_numpy(self.picks.live).flatten()].abs().sum(0) / np.log(10)
        area = float((self.z[1] - self.z[0]) * (self.x[1] - self.x[0]))
        density = (1e3 * seen / area).reshape(len(self.z), len(self.x)).numpy()
        known = 1 - (_spread(self.fitted) / _prior_spread(self.fitted)).square().numpy()
        panels = [
            Panel("sensitivity of all picks", density, Colours("|∂t/∂ ln v| per area [ms/m²]", 0.0)),
            Panel("share of the variance resolved", known, Colours("1 - posterior / prior", 0.0, 1.0)),
        ]
        return panels_picture(panels, self.z, self.x, ends(self.picks))


def _errors(fitted: Fitted) -> Floats:
    noise = fitted.target.noise
    assert isinstance(noise, Normal)
    found: Floats = noise.sigma.numpy()
    return found


def _spread(fitted: Fitted) -> Tensor:
    return fitted.posterior.spread()


def _prior_spread(fitted: Fitted) -> Tensor:
    return fitted.target.space.unflat(fitted.law.covariance.diagonal().detach().sqrt())


def _residuals(fitted: Fitted, picks: Picks) -> list[Figure]:
    with torch.no_grad():
        residual = fitted.target.operator(fitted.posterior.location).numpy() - picks.time
    live = picks.live
    z = residual[live] / _errors(fitted).reshape(live.shape)[live]
    return [
        Figure("picks", float(live.sum()), note=f"{int((~live).sum())} gaps are masked"),
        Figure("residual_rms", 1e3 * float(np.sqrt(np.mean(residual[live] ** 2))), unit="ms"),
        Figure("chi2_per_pick", float(np.mean(z**2)), note="near 1 where errors and prior are right"),
    ]


def _held_out(context: Context, study: Study, fitted: Fitted, picks: Picks) -> list[Figure]:
    """Picks that the inversion has not seen: the error of their prediction, and how often its interval holds them.

    The mean medium and the correlation length are found anew without them.
    """
    live = picks.live
    out = live & (context.rng.child("held out").uniform(live.shape).numpy() < study.held_out)
    if not 3 <= out.sum() < live.sum() - 3:
        return []
    z, x = (fitted.target.space.labels(d).astype(float) for d in ("z", "x"))
    operator: Operator = traveltime.forward(z, x, picks.sources, picks.receivers, live & ~out)
    rest = replace(picks, time=np.where(out, np.nan, picks.time))
    again = traveltime.fit(operator, Medium.of(rest), rest, study.seconds, study.spread, list(fitted.evidence))
    law = again.posterior.map(Linearised(operator, again.posterior.location))
    mean, sd = (a.detach().numpy() for a in (law.center(), law.spread()))
    errors = _errors(fitted).reshape(live.shape)
    wrong, width = (mean - picks.time)[out], np.sqrt(sd**2 + errors**2)[out]
    hit = np.abs(wrong) <= 1.6449 * width
    n = int(out.sum())
    share = float(hit.mean())
    return [
        Figure("held_out.rms", 1e3 * float(np.sqrt(np.mean(wrong**2))), unit="ms", note=f"{n} picks left out"),
        Figure("held_out.coverage90", share, float(np.sqrt(max(share * (1 - share), 0.9 * 0.1) / n))),
    ]


def _against(fitted: Fitted, truth: Tensor | None) -> list[Figure]:
    """The known section: error of the median and coverage, over all nodes and over those that the picks resolve."""
    if truth is None:
        return []
    known = 10**truth
    median, low, high = fitted.velocity(0.9)
    before = 10 ** fitted.law.location.detach()
    seen = _spread(fitted) <= SEEN * _prior_spread(fitted)
    hit = ((known >= low) & (known <= high)).double()
    note = f"one section, not from the prior; {int(seen.sum())} of {seen.numel()} nodes are resolved"
    return [
        Figure("velocity_rmse", float((median - known).square().mean().sqrt()), unit="m/s"),
        Figure("velocity_rmse_seen", float((median - known)[seen].square().mean().sqrt()), unit="m/s", note=note),
        Figure("velocity_rmse_before", float((before - known).square().mean().sqrt()), unit="m/s", note="prior mean"),
        Figure("section.coverage90", float(hit.mean()), note="share of nodes, one section"),
        Figure("section.coverage90_seen", float(hit[seen].mean()), note="share of resolved nodes, one section"),
    ]


def _coverage(scores: Tensor) -> list[Figure]:
    """Coverage over simulated sections as the method states it, and as widened by what the other half of them asks."""
    many = len(scores)
    blocks = torch.arange(many)[:, None].expand_as(scores)
    halves = (torch.arange(many) % 2 == 0, torch.arange(many) % 2 == 1)
    mended = scores.clone()
    for here, other in (halves, halves[::-1]):
        mended[here] = scores[here] / traveltime.widening(scores[other])
    figures = [
        Figure("widening", traveltime.widening(scores), note="factor on all standard deviations, from all sections")
    ]
    for name, z in (("simulated", scores), ("widened", mended)):
        for level, within in ((50, 0.6745), (90, 1.6449)):
            found = average((z.abs() <= within).double(), blocks)
            gate = Gate(0.85, 0.95) if (name, level) == ("widened", 90) and many >= 20 else None
            note = f"{many} sections from the prior"
            figures.append(Figure(f"{name}.coverage{level}", found.value, found.standard_error, gate=gate, note=note))
    return figures
