"""First-arrival tomography: a section, its prior, the operator between, and what a posterior says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch import Tensor

from posteriori.core import memory
from posteriori.core.algebra import Sparse
from posteriori.core.covariance import DenseCovariance
from posteriori.core.errors import DataError, OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.infer import infer
from posteriori.core.noise import Normal
from posteriori.core.operator import Operator
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.traveltime_picks import Floats, Picks
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.laplace import Laplace
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.decades import PowerOfTen
from posteriori.physics.eikonal import Eikonal

FINER = 2
"""Steps of the march between two nodes of the unknown."""
STRETCH = 2.0
"""Layers reach further across than down."""
METHOD = Laplace(GaussNewton(), tolerance=0.05)
"""First arrivals switch between paths, so the energy has kinks where Newton's steps stall; a mode that a whole step
would lower by 0.05 nat lies well within one standard deviation of a law of hundreds of nodes."""
DENSE = 6
"""Matrices, nodes × nodes, that the inversion holds at once."""
NODES = (25, 60)
"""Nodes of an automatic section down and across, at most."""


@dataclass(frozen=True)
class Medium:
    """Velocity ``top`` + ``slope`` · depth: top [m/s] at z = 0, slope [1/s]."""

    top: float
    slope: float

    def __call__(self, z: Tensor) -> Tensor:
        """Velocity [m/s] at depths z [m]."""
        return (self.top + self.slope * z).clamp_min(0.25 * self.top)

    @staticmethod
    def of(picks: Picks) -> Medium:
        """The medium whose closed-form times come nearest to the picks: t = acosh(1 + g² R² / 2 v_s v_r) / g.

        Raises:
            DataError: no medium between 50 and 20,000 m/s fits; a unit must be wrong.

        Reference: Slotnick (1959), Lessons in Seismic Computing, SEG.
        """
        live = picks.live
        source, receiver = np.nonzero(live)
        zs, zr = picks.sources[source, 0], picks.receivers[receiver, 0]
        distance, time = picks.offset[live], picks.time[live]
        first = float(np.median(distance[distance > 0] / time[distance > 0])) if (distance > 0).any() else np.nan
        if not 50 < first < 20000:
            raise DataError(
                f"the picks mean an apparent velocity of {first:.4g} m/s, which no rock or soil has; check the units "
                "of times and positions."
            )
        deep = max(float(np.ptp(np.concatenate([zs, zr]))), 0.2 * float(distance.max()))

        def misfit(p: Floats) -> Floats:
            top, slope = first * np.exp(p[0]), first / deep * p[1]
            slope = slope if abs(slope) > 1e-9 * first / deep else 1e-9 * first / deep
            product = np.maximum(top + slope * zs, 0.1 * top) * np.maximum(top + slope * zr, 0.1 * top)
            found: Floats = np.arccosh(1 + np.square(slope * distance) / (2 * product)) / abs(slope) - time
            return found

        p = least_squares(misfit, np.array([0.0, 0.3]), loss="soft_l1", f_scale=float(np.std(time) / 5)).x
        return Medium(float(first * np.exp(p[0])), float(first / deep * p[1]))


def section(picks: Picks, cell: float | None = None, depth: float | None = None) -> tuple[Floats, Floats]:
    """Nodes z and x [m] of a section that holds all sources and receivers, ``cell`` [m] apart.

    It reaches ``depth`` [m]; without, the deepest position, or 0.22 of the widest offset below the highest where all
    lie at the surface.
    """
    points = np.concatenate([picks.sources, picks.receivers])
    low, high = points.min(0), points.max(0)
    wide = float(picks.offset[picks.live].max())
    bottom = depth if depth is not None else max(high[0], low[0] + 0.22 * wide)
    if bottom < high[0]:
        raise OptionError(f"depth={depth:g} m lies above the deepest position, {high[0]:g} m; go deeper.")
    step = cell or max((bottom - low[0]) / NODES[0], (high[1] - low[1]) / NODES[1])
    if not 0 < step < max(bottom - low[0], high[1] - low[1]):
        raise OptionError(f"cell={step:g} m does not divide a section of {bottom - low[0]:g} × {high[1] - low[1]:g} m.")
    nodes = float((bottom - low[0]) / step + 1) * float((high[1] - low[1]) / step + 3)
    memory.require(DENSE * 8.0 * nodes**2, f"a section of {nodes:.3g} nodes", "give a larger cell= or a smaller depth=")
    z = low[0] + step * np.arange(np.ceil((bottom - low[0]) / step) + 1)
    # across, one node beyond the outermost positions
    x = low[1] + step * np.arange(-1, np.ceil((high[1] - low[1]) / step) + 2)
    return z, x


def forward(
    z: Floats, x: Floats, sources: Floats, receivers: Floats, mask: NDArray[np.bool_] | None = None
) -> Operator:
    """log₁₀ velocity at the nodes (z, x) → times: read linearly on a grid twice as fine, which is marched through."""
    fine = [np.linspace(a[0], a[-1], FINER * (len(a) - 1) + 1) for a in (z, x)]
    velocity = Space("velocity", {"z": fine[0], "x": fine[1]}, "m/s", Positive())
    masked = None if mask is None else torch.from_numpy(mask)
    march = Eikonal(velocity, torch.from_numpy(sources), torch.from_numpy(receivers), masked)
    power = PowerOfTen(velocity)
    coarse = Space(power.domain.name, {"z": z, "x": x}, power.domain.unit)
    return march @ power @ between_nodes(coarse, power.domain)


def between_nodes(coarse: Space, fine: Space) -> Sparse:
    """Bilinear interpolation from nodes (z, x) to nodes among them."""
    rows, weights = [], []
    for dim in ("z", "x"):
        a, b = coarse.labels(dim).astype(float), fine.labels(dim).astype(float)
        at = np.interp(b, a, np.arange(len(a)))
        low = np.minimum(at.astype(int), len(a) - 2)
        rows.append(np.stack([low, low + 1], 1))
        weights.append(np.stack([1 - (at - low), at - low], 1))
    column = (rows[0][:, None, :, None] * coarse.shape[1] + rows[1][None, :, None, :]).reshape(fine.size, 4)
    value = (weights[0][:, None, :, None] * weights[1][None, :, None, :]).reshape(fine.size, 4)
    keep = value > 0
    row = np.broadcast_to(np.arange(fine.size)[:, None], column.shape)[keep]
    return Sparse(coarse, fine, *(torch.from_numpy(np.ascontiguousarray(v)) for v in (row, column[keep], value[keep])))


def prior(space: Space, medium: Medium, sd: float, length: float) -> Smoothness:
    """log₁₀ velocity about a medium: relative standard deviation ``sd``, ``length`` [m] down and twice that across."""
    mean = medium(torch.from_numpy(space.labels("z").astype(float))).log10()[:, None].expand(space.shape)
    return Smoothness(space, sd / log(10), {"z": length, "x": STRETCH * length}, mean=mean)


def question(operator: Operator, law: Smoothness, picks: Picks, sigma: float) -> Inverse:
    """The picks as data; gaps are masked, and ``sigma`` [s] stands where a pick has no error of its own."""
    data = torch.from_numpy(np.where(picks.live, picks.time, 0.0))
    errors = torch.from_numpy(np.where(np.isfinite(picks.sigma), picks.sigma, sigma))
    return Inverse(operator, law, data, Normal(errors.flatten()))


@dataclass(frozen=True)
class Fitted:
    """A question, its answer at the correlation length that the evidence prefers, and what was compared.

    ``evidence``: log-evidence [nat] of each length [m] tried.
    """

    target: Inverse
    law: Smoothness
    posterior: Gaussian
    evidence: dict[float, float]

    @property
    def length(self) -> float:
        """The length [m] of the largest evidence."""
        return max(self.evidence, key=self.evidence.__getitem__)

    def velocity(self, level: float = 0.9) -> tuple[Tensor, Tensor, Tensor]:
        """Median and the ends of the central interval of the velocity [m/s], each (z, x)."""
        tail = torch.tensor([0.5, (1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
        median, low, high = 10 ** self.posterior.quantile(tail)
        return median, low, high


def fit(operator: Operator, medium: Medium, picks: Picks, sigma: float, sd: float, lengths: list[float]) -> Fitted:
    """The posterior by Gauss-Newton and Laplace, under the prior length of the largest evidence."""
    tried = []
    for length in lengths:
        law = prior(operator.domain, medium, sd, length)
        target = question(operator, law, picks, sigma)
        answer = infer(target, METHOD)
        assert isinstance(answer, Gaussian)
        assert answer.log_evidence is not None
        tried.append((float(answer.log_evidence), length, target, law, answer))
    _, _, target, law, answer = max(tried, key=lambda found: found[0])
    return Fitted(target, law, answer, {length: evidence for evidence, length, *_ in tried})


def simulated(target: Inverse, sections: int, context: Context) -> Tensor:
    """Truth less mean over standard deviation, (sections, nodes), of ``sections`` drawn from the prior and inverted."""
    truth, questions = target.simulate(sections, context.rng.child("sections"))
    scores = []
    for k in context.progress(range(sections), "sections from the prior", sections):
        answer = infer(target.given(questions.data[k]), METHOD)
        scores.append(target.space.flat((truth[k] - answer.center()) / answer.spread()))
    return torch.stack(scores).detach()


def widening(scores: Tensor, level: float = 0.9) -> float:
    """The factor on all standard deviations that makes the intervals of ``level`` hold their share of ``scores``."""
    usual = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64))
    return float(scores.double().abs().quantile(level) / usual)


def widened(fitted: Fitted, factor: float) -> Fitted:
    """The same answer, all its standard deviations times ``factor``."""
    old = fitted.posterior
    spread = DenseCovariance(factor**2 * old.covariance.dense())
    new = Gaussian(old.space, old.location, spread, problems=old.problems, log_evidence=old.log_evidence)
    new.run = old.run
    return replace(fitted, posterior=new)
