"""Seismics and gravity over one section: what they find together that neither finds alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geophysics.joint import Survey
from posteriori.domains.geophysics.joint_line_fit import Wishes
from posteriori.domains.geophysics.joint_own import Asked, outcome
from posteriori.domains.geophysics.joint_pictures import pairs_picture, sections_of, strengths_picture
from posteriori.domains.geophysics.joint_trial import Trial, gain, trial
from posteriori.domains.picture import Floats
from posteriori.domains.study import Outcome, Score
from posteriori.physics.eikonal import Eikonal
from posteriori.physics.petrophysics import Gardner
from posteriori.physics.section_gravity import SectionGravity

PARTS = {"velocity": 0, "density": 1}
SHOWN_METHODS = ("joint", "seismic", "gravity")
DRAWS = 100
OWN = ("depth", "cell", "surface", "gradient", "velocity_sd", "density_sd", "length", "time_error", "gravity_error")
SPREAD, ROUNDS = 6000.0, 2
"""Longest offset [m] and Gauss-Newton steps of the random models."""


@dataclass(frozen=True)
class Study:
    """Random sections 20 km long and 4 km deep, each inverted from first arrivals, from gravity, and from both.

    Rays of a spread of 6 km turn at 1.4 km: seismics see the upper third, gravity sees everything and cannot tell how
    deep it lies. Density follows Gardner's curve but for a scatter that is as smooth as the structure itself. No
    inversion knows how strong the link is: the joint one averages over strengths by their evidence, the others, for
    which all strengths are equally likely, by none. Errors are root mean squares below ``deep``, in prior standard
    deviations, of velocity and density together; a gain is over the better single inversion. ``told`` gains are over
    single inversions that know the true strength.

    The same number of models without any link shows what the average costs where the link is false.

    With ``picks`` and ``gravity`` of your own it is that line instead: no truth is known, so the joint inversion is
    judged by its fits and by picks and stations held out, beside the picks alone and gravity alone.
    """

    picks: Path | None = None
    """Your first arrivals: a CSV (source_x [m], source_z, receiver_x, receiver_z, time [ms], sigma [ms]) or .sgt."""
    gravity: Path | None = None
    """Your stations along the same line: a CSV table (x [m], height [m], anomaly [mGal], sigma [mGal])."""

    models: int = 52
    """Random models with a link, and as many without."""
    scatter: float = 0.3
    """Share of the density's standard deviation that the velocity does not explain, in (0, 1)."""
    spread: float | None = None
    """Longest offset of a seismic trace [m]; without, 6000 for random models, all of your picks."""
    deep: float = 1500.0
    """Depth [m] below which errors count."""
    rounds: int | None = None
    """Gauss-Newton steps by which the rays are found; without, 2 for random models, until they settle for yours."""
    depth: float | None = None
    """How deep the section of your line reaches [m]; without, 0.6 of the widest offset."""
    cell: float | None = None
    """Width of its cells [m]; without, a sixtieth of the line."""
    surface: float | None = None
    """Velocity at depth 0 of the mean model [m/s], with ``gradient``; without, the medium that fits the picks best."""
    gradient: float | None = None
    """Rise of its velocity with depth [1/s]."""
    velocity_sd: float | None = None
    """Standard deviation of the velocity, as a share of its mean; without, that of the largest evidence."""
    density_sd: float | None = None
    """Standard deviation of the density [kg/m³]; without, Gardner's times a factor of the largest evidence."""
    length: float | None = None
    """Vertical correlation length [m], a third of the horizontal one; without, that of the largest evidence."""
    trend: int = 1
    """Degree of gravity's regional trend, left to the data; -1: none."""
    time_error: float | None = None
    """Standard deviation of picks [s] where your file gives none."""
    gravity_error: float | None = None
    """Standard deviation of stations [mGal] where your file gives none."""
    quick: bool = False
    """Eight models of each kind."""

    def __call__(self, context: Context) -> Outcome:
        """Simulate, invert thrice, compare in pairs; or invert the user's line."""
        if self.models < 2 or (self.rounds is not None and self.rounds < 1):
            raise OptionError(f"models={self.models}, rounds={self.rounds}; give at least two models and one round.")
        if self.picks is not None or self.gravity is not None:
            return outcome(self._asked(), context)
        if given := [name for name in OWN if getattr(self, name) is not None]:
            raise OptionError(f"{given[0]}= speaks of your own line; give picks= and gravity= with it.")
        spread, rounds = self.spread if self.spread is not None else SPREAD, self.rounds or ROUNDS
        survey = Survey(spread=spread, scatter=self.scatter, deep=self.deep)
        models = 8 if self.quick else self.models
        linked = trial(survey, models, survey.correlation, rounds, context.child("linked"))
        apart = trial(survey, models, 0.0, rounds, context.child("apart"))
        rng = context.rng.child("bootstrap")
        value, low, high = gain(linked.errors("joint", None), _better(linked, None), rng)
        figures = [
            Figure("gain", value, (high - low) / 3.92, gate=Gate(0.0), note=_NOTE),
            *(_gain_of(linked, name, told, rng) for told in ("", "told") for name in ("", *PARTS) if name or told),
            Figure("false_link_loss", _loss(apart, None), gate=Gate(high=0.05), note=_LOST),
            *(Figure(f"false_link_loss.{name}", _loss(apart, part)) for name, part in PARTS.items()),
            *_coverages(linked, ""),
            *_coverages(apart, ".false_link"),
            Figure("strength", float(linked.strength.mean()), note=f"posterior mean; {survey.correlation:.3f} is true"),
            Figure("strength.false_link", float(apart.strength.mean()), note="0 is true"),
        ]
        measured = {f.name: f.value for f in figures} | _errors(linked, "") | _errors(apart, ".false_link")
        scores: dict[str, Score] = {**measured, "gain_ci": [low, high], "models": models, "scatter": self.scatter}
        return Outcome(
            scores=scores,
            report=Report("Joint inversion of first arrivals and gravity", tuple(figures)),
            pictures={
                "One model: truth, each method alone, and both; errors count below the dotted line": partial(
                    sections_of, survey, _means(linked), linked.answers["joint"][0].std
                ),
                "Error at depth, model by model": partial(pairs_picture, _pairs(linked, apart)),
                "The link that the data find": partial(
                    strengths_picture,
                    {"true link": linked.strength.numpy(), "no link": apart.strength.numpy()},
                ),
            },
            posterior=Draws(survey.space, linked.shown.sample(DRAWS, context.rng.child("shown"))),
            tables={"models": pd.concat([_table(linked, "true link"), _table(apart, "no link")])},
            references=[*Eikonal.references, *SectionGravity.references, *Gardner.references],
        )

    def _asked(self) -> Asked:
        if self.picks is None or self.gravity is None:
            raise OptionError(
                "a joint inversion needs both picks= and gravity=; geophysics/traveltimes takes picks alone."
            )
        return Asked(
            picks=self.picks,
            gravity=self.gravity,
            spread=self.spread,
            depth=self.depth,
            cell=self.cell,
            surface=self.surface,
            gradient=self.gradient,
            wishes=Wishes(self.velocity_sd, self.density_sd, self.length),
            trend=self.trend,
            time_error=self.time_error,
            gravity_error=self.gravity_error,
            rounds=self.rounds,
        )


_NOTE = "share by which the error at depth falls below that of the better single inversion; velocity and density"
_LOST = "share by which the error at depth rises over the single inversions', each judged by its own property"


def _better(found: Trial, part: int | None, told: str = "") -> Tensor:
    """Errors of the single inversion that is better on average."""
    suffix = ", told" if told else ""
    singles = [found.errors(method + suffix, part) for method in ("seismic", "gravity")]
    return min(singles, key=lambda errors: float(errors.mean()))


def _gain_of(found: Trial, name: str, told: str, rng: Rng) -> Figure:
    part = PARTS.get(name)
    value, low, high = gain(found.errors("joint", part), _better(found, part, told), rng)
    return Figure(".".join(word for word in ("gain", name, told) if word), value, (high - low) / 3.92)


def _own(found: Trial, part: int | None) -> Tensor:
    """Errors of the single inversions, the seismics judged by velocity and gravity by density."""
    own = [found.errors("seismic", 0), found.errors("gravity", 1)]
    return 0.5 * (own[0] + own[1]) if part is None else own[part]


def _loss(found: Trial, part: int | None) -> float:
    """Where no link exists the seismics alone are the best for velocity, gravity alone for density."""
    return float((found.errors("joint", part).mean() / _own(found, part).mean()).sqrt() - 1)


def _errors(found: Trial, suffix: str) -> dict[str, float]:
    scores = {}
    for method in SHOWN_METHODS:
        for name in ("", *PARTS):
            error = found.errors(method, PARTS.get(name)).mean().sqrt()
            scores[".".join(word for word in ("error", method, name) if word) + suffix] = float(error)
    return scores


def _coverages(found: Trial, suffix: str) -> list[Figure]:
    each = {"coverage90": found.coverage(), "coverage90_deep": found.coverage(deep=True)}
    many = len(found.truth) ** 0.5
    return [Figure(name + suffix, float(c.mean()), float(c.std()) / many) for name, c in each.items()]


def _means(found: Trial) -> dict[str, Tensor]:
    titles = {"seismic": "seismics alone", "gravity": "gravity alone", "joint": "joint"}
    return {"truth": found.truth[0]} | {title: found.answers[m][0].mean for m, title in titles.items()}


def _pairs(linked: Trial, apart: Trial) -> dict[str, tuple[Floats, Floats]]:
    pairs = {
        "true link": (_better(linked, None), linked),
        "no link, each by its own property": (_own(apart, None), apart),
    }
    return {
        title: (single.sqrt().numpy(), one.errors("joint", None).sqrt().numpy())
        for title, (single, one) in pairs.items()
    }


def _table(found: Trial, kind: str) -> pd.DataFrame:
    columns: dict[str, object] = {"model": range(len(found.truth)), "kind": kind}
    for method in SHOWN_METHODS:
        for name, part in PARTS.items():
            errors = found.errors(method, part).sqrt().numpy()
            columns[f"{method} {name} error at depth [prior s.d.]"] = errors.round(4)
    return pd.DataFrame(columns | {"correlation found": found.strength.numpy().round(3)})
