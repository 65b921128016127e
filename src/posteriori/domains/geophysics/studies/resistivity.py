"""A resistivity (and chargeability) section below a profile of electrodes, with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from posteriori.audit.calibration import Coverage, credible_coverage
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.electric_pictures import pseudosection_picture
from posteriori.domains.geophysics.electric_section import Belief, Section, pseudo_positions, spacing_of
from posteriori.domains.geophysics.pictures import Marks, sections_picture
from posteriori.domains.geophysics.resistivity_files import Floats, Survey, read_survey
from posteriori.domains.picture import Colours
from posteriori.domains.study import Outcome
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.exact import Exact
from posteriori.inference.laplace import Laplace
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.induced_polarisation import InducedPolarisation
from posteriori.physics.resistivity import Resistivity

if TYPE_CHECKING:
    from matplotlib import figure

LAPLACE = Laplace(curvature=GaussNewton(), tolerance=1e-4)
RESOLVED = 0.5
"""A cell is seen where the data take its standard deviation below this share of the prior's."""
SPACING, MANY = 5.0, 21
"""Electrodes of the simulated profile [m]."""
IP_ERROR, IP_SIGMA = 2e-3, 0.05
"""Standard deviation of an apparent chargeability [V/V], and of the chargeability before the data."""


@dataclass(frozen=True)
class Study:
    """Gauss-Newton to the mode of log resistivity under a smooth prior, and the Gaussian there (Laplace).

    Coverage of its 90 % intervals is measured on simulated sections drawn from the prior, with the profile's own layout
    and errors. Where no smooth section explains the data within their errors, these are widened until one does, and the
    factor is stated. Chargeability follows from the same sensitivities where the file holds it.
    """

    data: Path | None = None
    """A survey: unified data format (.ohm, .dat) or CSV; without it a simulated Wenner and dipole-dipole profile."""
    error: float = 0.03
    """Relative error of data that state none, and of the simulated ones."""
    floor: float = 0.01
    """Least relative error."""
    sigma: float = 0.5
    """Prior standard deviation of log10 resistivity [decades]."""
    across: float = 3.0
    """Prior correlation length along the profile [electrode spacings]."""
    down: float = 1.5
    """Prior correlation length with depth [electrode spacings]."""
    refinement: int = 4
    """Cells of the lattice per electrode spacing; 8 keeps its error below 1 % at contrasts of 100."""
    problems: int = 12
    """Simulated sections to measure coverage on; about 7 CPU seconds each for the default profile."""
    quick: bool = False
    """Fewer simulated sections."""

    def __call__(self, context: Context) -> Outcome:
        """Read or simulate, invert, check."""
        if not 2 <= self.problems <= 10_000:
            raise OptionError(f"problems={self.problems}; 2 to 10,000 are needed to measure coverage.")
        if not 0 < self.floor <= self.error < 1 or not 1 <= self.refinement <= 32:
            raise OptionError(
                f"floor={self.floor:g} and error={self.error:g} must lie in (0, 1), in this order, and "
                f"refinement={self.refinement} in 1 to 32."
            )
        belief = Belief(self.sigma, self.across, self.down)
        survey = _simulated(self.error, context) if self.data is None else read_survey(self.data)
        section, found, factor = _fitted(survey, belief, self, context)
        prior = section.target.prior
        assert isinstance(prior, Smoothness)
        share = found.spread() / section.target.space.unflat(prior.covariance.diagonal().sqrt())
        coverage = _coverage(section, min(self.problems, 4) if self.quick else self.problems, context)
        residual = (section.target.data - section.target.operator(found.location)) / section.sigma
        figures = [
            Figure("coverage90", coverage.value, coverage.standard_error, gate=Gate(0.82, 0.97), note="simulated"),
            Figure("residual_rms", float(residual.square().mean().sqrt()), note="in standard deviations"),
            Figure("error_factor", factor, note="errors were widened by this"),
            Figure("seen", float((share < RESOLVED).double().mean()), note="share of cells whose sd is halved"),
            Figure("data", len(survey.quadrupoles)),
        ]
        space, space_x = section.physics.domain, section.physics.domain.labels("x")
        panels: dict[str, Tensor] = {}
        if self.data is None:
            truth = torch.from_numpy(np.log10(_true(space)))
            known = (share < RESOLVED) & torch.from_numpy((space_x > 0) & (space_x < SPACING * (MANY - 1)))
            error = (found.location - truth)[known]
            low, high = found.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64))
            inside = ((low <= truth) & (truth <= high))[known].double().mean()
            figures += [
                Figure("rmse", float(error.square().mean().sqrt()), unit="decades", note="cells that are seen"),
                Figure("truth_inside90", float(inside), note="one section with sharp edges"),
            ]
            panels["Truth"] = 10**truth
        panels["Resistivity, posterior median"] = 10**found.location
        report = Report("Resistivity section", tuple(figures))
        view = _View(space, survey)
        pictures: dict[str, Callable[[], figure.Figure]] = {
            "Resistivity; electrodes on top": partial(view.sections, panels, Colours("resistivity [ohm m]", log=True)),
            "Uncertainty: standard deviation of log₁₀ resistivity, as a share of the prior's": partial(
                view.sections, {"Share of the prior's standard deviation left": share}, Colours("share", 0.0, 1.0)
            ),
            "Data and residuals": partial(view.pseudosection, residual),
        }
        if survey.chargeability is not None:
            charged = _chargeability(section, found, survey, belief, context)
            pictures["Chargeability"] = partial(
                view.sections,
                {"Chargeability, mean": 1e3 * charged.location, "Standard deviation": 1e3 * charged.spread()},
                Colours("chargeability [mV/V]"),
            )
            report = Report(
                report.title,
                (*report.figures, Figure("chargeability_max", 1e3 * float(charged.location.max()), unit="mV/V")),
            )
        return Outcome(
            scores={figure.name: figure.value for figure in report},
            report=report,
            pictures=pictures,
            posterior=found,
            data={} if self.data is None else {self.data.name: survey.digest},
            references=Resistivity.references + LAPLACE.references,
        )


@dataclass(frozen=True)
class _View:
    """What pictures of one profile share."""

    space: Space
    survey: Survey

    def sections(self, panels: dict[str, Tensor], colours: Colours) -> figure.Figure:
        electrodes = Marks(self.survey.electrodes[:, 1], self.survey.electrodes[:, 0], "electrode")
        shown = {title: values.numpy() for title, values in panels.items()}
        return sections_picture(shown, self.space.labels("z"), self.space.labels("x"), colours, [electrodes])

    def pseudosection(self, residual: Tensor) -> figure.Figure:
        panels = {"Apparent resistivity": self.survey.apparent, "Residual": residual.numpy()}
        colours = {
            "Apparent resistivity": Colours("[ohm m]", log=True),
            "Residual": Colours("[standard deviations]", -3.0, 3.0, centred=True),
        }
        return pseudosection_picture(panels, *pseudo_positions(self.survey), colours)


def _fitted(survey: Survey, belief: Belief, study: Study, context: Context) -> tuple[Section, Gaussian, float]:
    """The question and its answer, with errors wide enough that the residuals are as large as stated."""
    factor = 1.0
    section = Section.of(survey, belief, study.error, study.floor, study.refinement)
    stated, target = section.sigma, section.target
    for _ in range(4):
        sigma = factor * stated
        wider = Inverse(target.operator, target.prior, target.data, Normal(sigma))
        found = LAPLACE(wider, context.child("laplace"))
        rms = float(((target.data - target.operator(found.location)) / sigma).square().mean().sqrt())
        if rms < 1.2:
            break
        factor *= rms
    return Section(wider, section.physics, sigma), found, factor


def _coverage(section: Section, problems: int, context: Context) -> Coverage:
    """Of all cells of sections drawn from the prior."""
    truth, simulated = section.target.simulate(problems, context.rng.child("coverage"))
    tails = torch.tensor([0.05, 0.95], dtype=torch.float64)
    ends = []
    for k in context.progress(range(problems), "coverage", problems):
        answer = LAPLACE(section.target.given(simulated.data[k]), context.child("coverage", k))
        ends.append(answer.quantile(tails))
    low, high = torch.stack(ends, 1)
    blocks = torch.arange(problems)[:, None, None].expand_as(truth)
    return credible_coverage(low, high, truth, 0.9, blocks)


def _chargeability(section: Section, found: Gaussian, survey: Survey, belief: Belief, context: Context) -> Gaussian:
    """The linear question of chargeability [V/V], at the median resistivity."""
    operator = InducedPolarisation(section.physics, 10**found.location)
    spacing = spacing_of(survey)
    lengths = {"z": belief.down * spacing, "x": belief.across * spacing}
    prior = Smoothness(operator.domain, IP_SIGMA, lengths).requires_grad_(False)
    assert survey.chargeability is not None
    error = IP_ERROR + 0.05 * np.abs(survey.chargeability)
    target = Inverse(operator, prior, torch.from_numpy(survey.chargeability), torch.from_numpy(error))
    answer = Exact()(target, context.child("chargeability"))
    assert isinstance(answer, Gaussian)
    return answer


def _true(space: Space) -> Floats:
    """A resistive cover 3 m thick, a conductive chargeable body and a resistive one in 100 ohm m."""
    z, x = space.labels("z")[:, None], space.labels("x")
    rho = np.where(z < 3.0, 200.0, 100.0) * np.ones_like(x)
    rho = np.where((x > 25) & (x < 45) & (z > 4) & (z < 11), 15.0, rho)
    return np.where((x > 62) & (x < 80) & (z > 6), 500.0, rho)


def _simulated(error: float, context: Context) -> Survey:
    """Data of a finer lattice than the inversion's, on a finer section."""
    wenner = [[i, i + 3 * s, i + s, i + 2 * s] for s in range(1, 6) for i in range(MANY - 3 * s)]
    dipoles = [[i + 1, i, i + 1 + n, i + 2 + n] for n in range(1, 7) for i in range(MANY - n - 2)]
    quadrupoles = np.array(wenner + dipoles)
    electrodes = np.stack([np.zeros(MANY), SPACING * np.arange(MANY)], 1)
    z, x = np.arange(0.5, 25), np.arange(-9.5, SPACING * MANY + 5)
    space = Space("resistivity", {"z": z, "x": x}, "ohm m", Positive())
    physics = Resistivity(space, torch.from_numpy(electrodes), torch.from_numpy(quadrupoles), 6)
    truth = torch.from_numpy(_true(space))
    rng = context.rng.child("simulated")
    apparent = physics(truth) * (error * rng.normal((len(quadrupoles),))).exp()
    body = torch.where(truth == 15.0, 0.1, 0.0).double()
    seen = InducedPolarisation(physics, truth)(body) + IP_ERROR * rng.normal((len(quadrupoles),))
    stated = np.full(len(quadrupoles), error)
    return Survey(electrodes, quadrupoles, apparent.numpy(), stated, seen.numpy(), "")
