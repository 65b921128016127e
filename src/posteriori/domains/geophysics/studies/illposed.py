"""How ill-posed a linear problem is: what its data see, what they never will, and how strongly to damp."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.repeats import credible
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.algebra import Dense
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.run import Context, references
from posteriori.core.space import Space
from posteriori.core.target import Inverse
from posteriori.domains.geophysics import illposed_pictures as draw
from posteriori.domains.geophysics.illposed import PROBLEMS, Problem, silent_body
from posteriori.domains.geophysics.illposed_files import read_problem
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome
from posteriori.inference.damping import Choice, Discrepancy, GeneralisedCrossValidation, LCurve, MaximumEvidence
from posteriori.inference.exact import Exact
from posteriori.inference.existence import existence
from posteriori.inference.resolution import resolution, wavelengths
from posteriori.inference.spectrum import SingularSystem, Whitened, picard, singular_system
from posteriori.inference.tikhonov import Tikhonov, taken_apart
from posteriori.learn.penalty import roughness

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

RULES: dict[str, Choice] = {
    "cross-validation": GeneralisedCrossValidation(),
    "L-curve": LCurve(),
    "discrepancy": Discrepancy(),
    "evidence": MaximumEvidence(),
}


MOST = 100_000
"""Simulated problems at most."""
ENOUGH = 2000
"""Simulated problems from which coverage must hold within two points, its own error no excuse."""


@dataclass(frozen=True)
class Study:
    """Singular values, Picard's condition, bodies that change no datum, existence, resolution, wavelengths, damping.

    The posterior under a smooth prior is exact; it is held against the dense textbook answer, and its intervals against
    simulated problems. Damping without such a prior is shown with four rules for its strength.
    """

    problem: Literal["gravity", "traveltime", "deconvolution"] = "gravity"
    """Which problem: gravity of a section, straight rays between two boreholes, or deconvolution of a trace."""
    operator: Path | None = None
    """Your own matrix instead: .npz with matrix (data × cells) and cell positions z, x [m], or a CSV of numbers."""
    data: Path | None = None
    """Your own data for operator=: a CSV with the columns value and sigma."""
    sigma: float | None = None
    """Standard deviation of your own data where they have no column sigma."""
    amplitude: float | None = None
    """Standard deviation of your own unknown; none takes the one under which the data are as large as they are."""
    noise: float = 0.03
    """Standard deviation of simulated noise, as a share of the size of the anomaly."""
    penalty: Literal[0, 1, 2] = 1
    """What damping charges for: the values (0), their slopes (1) or their curvature (2)."""
    problems: int = 2000
    """Simulated problems over which the intervals are checked."""
    quick: bool = False
    """A tenth of the simulated problems."""

    def __call__(self, context: Context) -> Outcome:
        """Take the operator apart, invert, check."""
        if (self.operator is None) != (self.data is None):
            raise OptionError("operator= and data= go together: give both files, or neither for a simulated problem.")
        if not self.noise > 0 or not 100 <= self.problems <= MOST:
            raise OptionError(f"noise={self.noise}, problems={self.problems}: above 0, and 100 to {MOST:,}.")
        for name, value in {"sigma": self.sigma, "amplitude": self.amplitude}.items():
            if value is not None and not value > 0:
                raise OptionError(f"{name}={value:g} is a standard deviation and must be positive.")
        if self.operator is not None and self.data is not None:
            problem = read_problem(self.operator, self.data, self.sigma, self.amplitude)
        else:
            problem = PROBLEMS[self.problem](self.noise, context.rng.child(self.problem))
        return _Findings.of(problem, self, context).outcome()


@dataclass(frozen=True)
class _Findings:
    """All that is found about one problem."""

    problem: Problem
    white: Whitened
    system: SingularSystem
    posterior: Gaussian
    strengths: dict[str, float]
    damped: dict[str, Tensor]
    silent: dict[str, Tensor]
    figures: list[Figure]
    charged: Inverse

    @staticmethod
    def of(problem: Problem, study: Study, context: Context) -> _Findings:
        target = problem.target
        white = Whitened(target)
        system = singular_system(white)
        posterior = infer(target, Exact(), seed=context.rng.seed)
        assert isinstance(posterior, Gaussian)
        charged = Inverse(
            target.operator, roughness(problem.space, study.penalty, problem.prior.location), target.data, target.noise
        )
        with torch.no_grad():
            parts = taken_apart(charged)
            chosen = {name: rule(parts.filters) for name, rule in RULES.items()}
            damped = {name: problem.space.unflat(parts.means(strength)[0]) for name, strength in chosen.items()}
        strengths = {name: float(strength[0]) for name, strength in chosen.items()}
        many = study.problems // 10 if study.quick else study.problems
        silent = _silent(problem)
        figures = [*_seen(problem, system), *_silence(problem, silent), *_textbook(problem, posterior)]
        figures += _coverage(target, many, context)
        return _Findings(problem, white, system, posterior, strengths, damped, silent, figures, charged)

    def outcome(self) -> Outcome:
        report = Report(f"What {len(self.problem.across[1])} data tell about {self.problem.space}", tuple(self.figures))
        scores = {figure.name: figure.value for figure in report}
        errors = self._errors()
        return Outcome(
            scores={**scores, "strength": self.strengths, **({"rmse": errors} if errors else {})},
            report=report,
            pictures=self._pictures(),
            posterior=self.posterior,
            tables={"singular_values": self._values(), **self._depths()},
            references=references(Tikhonov(), *RULES.values(), self.problem.prior),
        )

    def _errors(self) -> dict[str, float]:
        truth = self.problem.truth
        if truth is None:
            return {}
        means = {**self.damped, "smooth prior": self.posterior.center(), "mean alone": self.problem.prior.location}
        return {name: float((mean - truth).square().mean().sqrt()) for name, mean in means.items()}

    def _values(self) -> pd.DataFrame:
        condition = picard(self.problem.target, self.system)
        return pd.DataFrame(
            {
                "direction": range(1, len(self.system.values) + 1),
                "signal [noise]": condition.values,
                "data [noise]": condition.seen[0],
            }
        )

    def _depths(self) -> dict[str, pd.DataFrame]:
        if self.problem.space.dims != ("z", "x"):
            return {}
        seen = wavelengths(self.problem.target)
        columns = {f"shortest wavelength {100 * s:.0f} % seen [m]": seen.shortest(s) for s in (0.25, 0.5, 0.75)}
        return {"wavelengths": pd.DataFrame({"depth [m]": seen.depth, **columns})}

    def _pictures(self) -> dict[str, Callable[[], Picture]]:
        problem, space = self.problem, self.problem.space
        middle, size = problem.prior.location.mean(), problem.prior.covariance.diagonal().mean().sqrt()
        ends = (float(middle - 2.5 * size), float(middle + 2.5 * size))
        colours = Colours(problem.label, *ends, centred=bool(middle == 0))
        spread = Colours(problem.label, 0.0)
        shown = {"posterior mean": self.posterior.center(), "posterior standard deviation": self.posterior.spread()}
        if problem.truth is not None:
            shown = {"truth": problem.truth, **shown}
        scales = {title: spread if "deviation" in title else colours for title in shown}
        which = [i for i in (0, 1, 3, 7, 15, 31) if i < len(self.system.values)]
        bodies = self.white.unknown(self.system.model.mT[which].reshape(-1, *self.white.domain.shape))
        sharp = resolution(problem.target)
        cells = _spread_cells(problem)
        points = {f"unit body at {_where(space, int(c))}": sharp.point_spread(c[None])[0] for c in cells}
        own = {title: Colours("share of a unit body", centred=True) for title in points}
        pictures: dict[str, Callable[[], Picture]] = {
            "The unknown, as far as the data tell": partial(
                draw.panels_picture, space, shown, scales, problem.label, problem.marks
            ),
            "Picard's condition: data against noise along each singular direction": partial(
                draw.picard_picture, picard(problem.target, self.system)
            ),
            "Singular directions: from well seen to never seen": partial(
                draw.vectors_picture, problem, bodies, which, self.system.values
            ),
            "Resolution: the share of a body in each cell that stays in its place": partial(
                draw.panels_picture, space, {"resolution": sharp.diagonal()}, Colours("share", 0.0), "share"
            ),
            "Point spread: what a single cell becomes": partial(draw.panels_picture, space, points, own, "share"),
            "Bodies that change no datum": partial(draw.silent_picture, problem, self.silent),
            "Damping: misfit, roughness, and what four rules choose": partial(
                draw.l_curve_picture, taken_apart(self.charged).filters, self.strengths
            ),
            "Damped solutions by the four rules": partial(
                draw.panels_picture, space, self.damped, colours, problem.label, problem.marks
            ),
        }
        if space.dims == ("z", "x"):
            title = "Which wavelengths the data see at each depth"
            pictures[title] = partial(draw.wavelengths_picture, wavelengths(problem.target))
        return pictures


def _seen(problem: Problem, system: SingularSystem) -> list[Figure]:
    sharp = resolution(problem.target)
    visible = int((system.values > 1).sum())
    note = f"of {problem.target.operator.codomain.size} data and {problem.space.size} cells"
    figures = [
        Figure("visible_directions", visible, note=f"signal above noise, {note}"),
        Figure("degrees_of_freedom", sharp.degrees, note="numbers that the data determine"),
        Figure("condition", float(system.values[0] / system.values[-1].clamp_min(1e-300))),
    ]
    with suppress(UnanswerableError):  # every combination of the data can be explained: nothing to test
        found = existence(problem.target)
        note = f"χ² of {found.degrees} directions out of reach"
        figures.append(Figure("existence_p", float(found.p_value.flatten()[0]), note=note))
    if problem.space.dims == ("z", "x"):
        shortest = wavelengths(problem.target).shortest()
        depth = problem.space.labels("z")
        for at in sorted({0, len(depth) // 4, len(depth) // 2}):
            name, note = f"shortest_wavelength_{depth[at]:g}m", "half of its variance removed; inf: none"
            figures.append(Figure(name, float(shortest[at]), unit="m", note=note))
    return figures


def _silent(problem: Problem) -> dict[str, Tensor]:
    """Bodies that change no datum: a wanted one less all that the data see of it, and gravity's own."""
    space = problem.space
    rows = Dense(space, problem.target.operator.codomain, problem.target.operator.rows(problem.prior.location))
    system = singular_system(rows)
    kept = system.values > 1e-12 * system.values[0]
    seen = replace(system, values=system.values[kept], data=system.data[:, kept], model=system.model[:, kept])
    size = problem.prior.covariance.diagonal().mean().sqrt()
    wanted = torch.zeros(space.size, dtype=torch.float64)
    wanted[_spread_cells(problem)[1]] = 1.0
    wanted = problem.prior.covariance.matmul(wanted)
    bodies = {"A smooth body less what the data see of it": space.unflat(seen.null(size * wanted / wanted.abs().max()))}
    if problem.datum.startswith("gravity"):
        z, x = (space.labels(dim) for dim in ("z", "x"))
        own = silent_body(space, float(z[len(z) // 2]), float(x.mean()), 0.4 * float(z[-1]), 0.25 * float(x[-1]))
        bodies["Gravity's annihilator, ∇² of a bump"] = size * own
    return bodies


def _silence(problem: Problem, bodies: dict[str, Tensor]) -> list[Figure]:
    operator = problem.target.operator
    figures = []
    for name, body in zip(("null_body", "laplacian_of_bump"), bodies.values(), strict=False):
        share = float(operator.matmul(body).norm() / operator.matmul(body.abs()).norm())
        figures.append(Figure(f"{name}.datum_share", share, note="of the data of its absolute value"))
    return figures


def _textbook(problem: Problem, posterior: Gaussian) -> list[Figure]:
    """Largest differences from H = K⁻¹ + JᵀR⁻¹J, in standard deviations."""
    target, prior = problem.target, problem.prior
    k, weights = prior.covariance.dense(), problem.errors.square().reciprocal()
    j = target.operator.rows(k)
    h = torch.cholesky_inverse(torch.linalg.cholesky(k)) + (j.mT * weights) @ j
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(h))
    residual = target.operator.codomain.flat(target.data - target.operator(prior.location))
    mean = target.space.flat(prior.location) + (residual * weights) @ j @ covariance
    std = covariance.diagonal().sqrt()
    away = float(((target.space.flat(posterior.center()) - mean).abs() / std).max())
    block = posterior.covariance.dense()
    apart = float(((block - covariance).abs() / (std[:, None] * std)).max())
    gate, note = Gate(high=1e-8), "largest difference from the dense textbook answer"
    return [
        Figure("textbook_mean", away, unit="sd", gate=gate, note=note),
        Figure("textbook_covariance", apart, unit="sd²", gate=gate, note=note),
    ]


def _coverage(target: Inverse, problems: int, context: Context) -> list[Figure]:
    found = credible(Exact(), target, problems, (0.5, 0.9), context.rng.child("coverage"), at_once=500)
    figures = []
    for name, level in (("coverage50", 0.5), ("coverage90", 0.9)):
        figure = found[name]
        slack = 0.02 + (0.0 if problems >= ENOUGH else 4 * (figure.standard_error or 0.0))
        figures.append(replace(figure, gate=Gate(level - slack, level + slack)))
    return figures


def _spread_cells(problem: Problem) -> Tensor:
    """A cell at a shallow, a middle and a great depth below the middle; of a line, its quarters."""
    shape = problem.space.shape
    if len(shape) == 1:
        return torch.tensor([shape[0] // 4, shape[0] // 2, 3 * shape[0] // 4])
    depths = torch.tensor([shape[0] // 10, shape[0] // 3, 7 * shape[0] // 10])
    return depths * shape[1] + shape[1] // 2


def _where(space: Space, cell: int) -> str:
    at = []
    for dim in reversed(space.dims):
        cell, i = divmod(cell, len(space.labels(dim)))
        at.append(f"{dim} = {space.labels(dim)[i]:g}")
    return ", ".join(reversed(at))
