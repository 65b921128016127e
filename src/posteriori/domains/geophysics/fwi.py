"""Full-waveform inversion: from a smooth start to the mode of the posterior, low frequencies first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Noise, Normal
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.geophysics.fwi_prior import SeparableCovariance
from posteriori.domains.geophysics.fwi_spread import Recorded, Spread
from posteriori.inference.lbfgs import Descent, minimise

Row = dict[str, float]
Watch = Callable[[Row, Tensor], object]
Retune = Callable[["Stage", Tensor], Spread]
MEMORY = 8
"""Pairs of steps and changes of the gradient that L-BFGS remembers."""
FIRST = 0.5
"""Largest change of any coordinate in the very first step, in standard deviations of the prior."""
TOLERANCE = 1e-12
"""A stage ends early where a whole step promises less than this share of its energy."""


@dataclass(frozen=True)
class Stage:
    """One band of the data, and how finely it is simulated.

    Args:
        high: corner [Hz] of the zero-phase low-pass that data and wavelet are filtered with; None takes all.
        coarser: cells of the model that one cell of the simulation spans.
        iterations: L-BFGS steps.
        supershots: simulate this many random sums of all shots instead of each shot; none with 0.
    """

    high: float | None
    coarser: int
    iterations: int
    supershots: int = 0


class Coarser(TorchOperator):
    """A section (z, x) on cells ``factor`` times larger: means weighted by a triangle of that half-width.

    The edges of the coarse section reach at least as far as those of the fine one.
    """

    linear = True

    def __init__(self, domain: Space, factor: int) -> None:
        super().__init__()
        axes = {d: np.asarray(domain.labels(d), float) for d in domain.dims}
        made = {d: _triangles(a, factor) for d, a in axes.items()}
        self.domain = domain
        coords = {d: label for d, (label, _) in made.items()}
        self.codomain = Space(domain.name, coords, domain.unit, domain.support)
        self.register_buffer("down", made["z"][1])
        self.register_buffer("across", made["x"][1])
        self.down: Tensor
        self.across: Tensor

    def forward(self, m: Tensor) -> Tensor:
        """The weighted means."""
        return self.down.to(m.dtype) @ m @ self.across.to(m.dtype).mT

    @staticmethod
    def example() -> Coarser:
        """A section of 5 × 7 cells, halved."""
        return Coarser(Space("velocity", {"z": 10.0 * np.arange(5), "x": 10.0 * np.arange(7)}, "m/s"), 2)


class Question:
    """The energy of a section in coordinates u where the prior is standard normal, for one band of the data.

    m(u) = location + root(u), held inside ``bounds``; energy(u) = misfit(m(u)) + ½ ‖u‖². The prior's root is what
    smooths the gradient, and its standard deviation, which grows with depth, what preconditions it.

    Args:
        prior: Gaussian over the section with a ``SeparableCovariance``.
        coarse: the section → that of the simulation. operator: its velocity → traces of this band.
        data: traces of this band. noise: their law, or a misfit.
        bounds: lowest and highest velocity [m/s].
    """

    def __init__(
        self,
        prior: Gaussian,
        coarse: Coarser,
        operator: Recorded,
        data: Tensor,
        noise: Noise,
        bounds: tuple[float, float],
    ) -> None:
        if not isinstance(prior.covariance, SeparableCovariance):
            raise OptionError("full-waveform inversion needs a prior with a SeparableCovariance (see fwi_prior).")
        self.prior, self.covariance = prior, prior.covariance
        self.coarse, self.operator, self.data, self.noise, self.bounds = coarse, operator, data, noise, bounds

    def section(self, u: Tensor) -> Tensor:
        """m(u), (nz, nx) of flat u."""
        return (self.prior.location + self.covariance.root(self._shaped(u))).clamp(*self.bounds)

    def origin(self) -> Tensor:
        """The coordinates of the start, flat zeros."""
        return torch.zeros(prod(self.covariance.coordinates), dtype=torch.float64)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energy () and gradient (n,) at u (n,): one forward and one adjoint run of every shot."""
        free = (self.prior.location + self.covariance.root(self._shaped(u))).detach()
        m = free.clamp(*self.bounds)
        cost, slope = self.misfit(m)
        inside = (free >= self.bounds[0]) & (free <= self.bounds[1])
        pulled = self.covariance.root_transposed(torch.where(inside, slope, 0.0))
        return cost + 0.5 * u.square().sum(), pulled.flatten() + u

    def misfit(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """-log p(data | m) and its gradient (nz, nx)."""
        traces, back = self.operator.pull(self.coarse(m.float()))
        space = self.operator.codomain
        with torch.enable_grad():
            predicted = traces.detach().requires_grad_()
            cost = self.noise.energy(space.flat(self.data).to(predicted), space.flat(predicted))
            (residual,) = torch.autograd.grad(cost, predicted)
        return cost.detach(), self.coarse.adjoint(back(residual)).double()

    def _shaped(self, u: Tensor) -> Tensor:
        return u.reshape(self.covariance.coordinates)


def invert(
    spread: Spread,
    data: Tensor,
    sigma: Tensor,
    prior: Gaussian,
    stages: Sequence[Stage],
    context: Context,
    bounds: tuple[float, float] = (1400.0, 5500.0),
    watch: Watch | None = None,
    retune: Retune | None = None,
) -> tuple[Tensor, list[Row]]:
    """Coordinates u of the mode, and one row for each step: stage, step, energy, gradient evaluations.

    ``Question.section(u)`` is the section, for any question with this prior.

    Every step is kept in ``context.store``; an interrupted inversion goes on from there, to the same bits.

    Args:
        spread: where and how the data were recorded.
        data: traces (shot, receiver, time) as recorded.
        sigma: standard deviation of the noise of each recorded sample; any shape that broadcasts to ``data``.
        prior: of the section.
        stages: bands in the order of use; each starts where the one before it ended.
        bounds: lowest and highest velocity [m/s].
        watch: called after every step with its row, to which it may add, and the section; True ends the inversion.
        retune: gives the spread anew before each stage, from the section as it then is: for an unknown wavelet.
    """
    if not stages:
        raise OptionError("an inversion needs at least one stage.")
    rows: list[Row] = []
    u: Tensor | None = None
    section = prior.location
    for number, stage in enumerate(stages):
        if retune is not None:
            spread = retune(stage, section)
        codes = random_codes(stage.supershots, len(spread.sources), context.rng.child("codes", number))
        question = pose(spread, data, sigma, prior, stage, bounds, codes)
        part = _Part(question, number, len(stages), context)
        u, stopped = part.descend(stage.iterations, u, watch)
        section = question.section(u)
        rows = rows + part.rows
        if stopped:
            break
    assert u is not None
    return u, rows


class _Part:
    """One stage under way: its progress, its rows, what the store holds of it."""

    def __init__(self, question: Question, number: int, stages: int, context: Context) -> None:
        self.question, self.number, self.progress = question, number, context.progress
        self.label = f"band {number + 1} of {stages}"
        self.store = None if context.store is None else context.store.child("band", number)
        self.rows: list[Row] = []

    def descend(self, iterations: int, u: Tensor | None, watch: Watch | None) -> tuple[Tensor, bool]:
        """Coordinates at the end, and whether ``watch`` asked for it."""
        held = None if self.store is None else self.store.load("descent")
        begun = Descent.of(held[0]) if held is not None else self.question.origin() if u is None else u
        self.rows = [] if held is None else list(held[1]["rows"])
        ticks = self.progress(range(iterations), self.label, iterations)
        for _ in range(1 + len(self.rows)):
            next(ticks, None)
        stopped = False

        def after(state: Descent) -> bool:
            nonlocal stopped
            row = {"stage": self.number, "step": state.steps, "energy": float(state.energy), "calls": state.calls}
            stopped = watch is not None and watch(row, self.question.section(state.x)) is True
            self.rows.append(row)
            if self.store is not None:
                self.store.save("descent", state.tensors(), {"rows": self.rows})
            next(ticks, None)
            return stopped

        found = minimise(self.question, begun, iterations, MEMORY, callback=after, tolerance=TOLERANCE, first=FIRST)
        for _ in ticks:
            pass
        return found.x, stopped


def pose(
    spread: Spread,
    data: Tensor,
    sigma: Tensor,
    prior: Gaussian,
    stage: Stage,
    bounds: tuple[float, float],
    codes: Tensor | None = None,
) -> Question:
    """The question of one stage: data and wavelet in its band, the simulation on its grid.

    White noise of ``sigma`` a sample has the same density at all frequencies, so that what is left in the band still
    counts by ``sigma``: filtering throws data away, it does not make them better. With ``codes`` (supershots, shots)
    sums of shots are fitted, so that the misfit is right on average over the codes, if all shots are equally noisy.

    Reference: Krebs et al. (2009), Fast full-wavefield seismic inversion using encoded sources, Geophysics 74, WCC177.
    """
    coarse = Coarser(prior.space, stage.coarser)
    operator = spread.operator(coarse.codomain, stage.high, codes)
    kept, wide = spread.filtered(data, stage.high), sigma.expand(data.shape)
    if codes is not None:
        kept = torch.einsum("ks,srt->krt", codes.to(kept.dtype), kept)
        wide = wide.square().mean(0).sqrt().expand(kept.shape)
    return Question(prior, coarse, operator, kept, Normal(wide.flatten()), bounds)


def random_codes(supershots: int, shots: int, rng: Rng) -> Tensor | None:
    """Random signs / √supershots, (supershots, shots): E[codesᵀ codes] is the identity. None for no supershots."""
    if supershots == 0:
        return None
    return (2.0 * rng.integers(2, (supershots, shots)) - 1.0).double() / supershots**0.5


def _triangles(axis: np.ndarray, factor: int) -> tuple[np.ndarray, Tensor]:
    """Labels of the coarse axis and the weights (coarse, fine) of its means; rows sum to one."""
    if factor < 1 or len(axis) < 2 * factor:
        raise OptionError(f"cells {factor} times larger leave too few of {len(axis)}; simulate finer.")
    step = axis[1] - axis[0]
    wide = factor * step
    count = ceil((axis[-1] - axis[0]) / wide - 1e-9) + 1
    labels = axis[0] + wide * np.arange(count)
    weights = np.clip(1 - np.abs(np.minimum(labels, axis[-1])[:, None] - axis) / wide, 0.0, None)
    return labels, torch.from_numpy(weights / weights.sum(1, keepdims=True))
