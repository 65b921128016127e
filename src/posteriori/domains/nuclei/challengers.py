"""Learners of what a mass model misses, held to the same rules as the Gaussian process: the challengers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from posteriori.core.correlated import CorrelatedNoise
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.prior import GaussianLaw
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.target import Inverse, Target
from posteriori.domains.nuclei import data, models
from posteriori.domains.nuclei.bayesian_net import BayesianNet
from posteriori.domains.nuclei.chart import points
from posteriori.domains.nuclei.error_growth import ErrorGrowth, HeldOut, remoteness
from posteriori.domains.nuclei.evaluation_errors import EvaluationErrors
from posteriori.domains.nuclei.features import features
from posteriori.domains.nuclei.frontier import frontier_folds
from posteriori.domains.nuclei.law import Question, names_of
from posteriori.learn.classical import BoostedTrees, OddEvenRidge
from posteriori.learn.graph import GraphNetwork
from posteriori.learn.hidden import HiddenValues
from posteriori.learn.masked_convolution import MaskedConvolution
from posteriori.learn.members import Each, Learner, Nets, Rows
from posteriori.learn.network import Layers
from posteriori.learn.plan import Cosine, Plan

INTERIOR_SHARE = 0.1
MODEL_ERROR = 100.0
"""Standard deviation [keV] added to every measured value's own, so that no learner follows a few precise ones alone."""


@dataclass(frozen=True, eq=False)
class Guess:
    """What one learner made of one question.

    Attributes:
        cells: the chart.
        mean: predicted masses [keV], (cells,).
        own: variance within and between its members [keV²], (cells,).
        known, masses, variance: positions, values and error variances of the measured cells, (m,).
        quoted: standard deviations [keV] that the evaluation gives, (m,); what held-out errors have beyond them counts
            as the learner's, also where the errors are believed to be larger than quoted.
        held: of each fold, the rows held out.
        said: what it said of them [keV] without having seen them, and its own variance.
    """

    cells: Space
    mean: Tensor
    own: Tensor
    known: Tensor
    masses: Tensor
    variance: Tensor
    quoted: Tensor
    held: Sequence[Tensor]
    said: Sequence[tuple[Tensor, Tensor]]

    def law(self) -> Gaussian:
        """The masses with the errors that the held-out nuclei teach."""
        at = points(self.cells)
        folds = []
        for rows, (mean, own) in zip(self.held, self.said, strict=True):
            cells = self.known[rows]
            shown = torch.ones(len(self.known), dtype=torch.bool).index_fill(0, rows, False)
            remote = remoteness(at[cells], at[self.known[shown]])
            folds.append(HeldOut(at[cells], remote, mean - self.masses[rows], self.quoted[rows], own))
        growth = ErrorGrowth.learnt(folds)
        return growth.law(self.cells, self.mean, self.own, self.known, self.masses, self.variance)


@dataclass(frozen=True, eq=False)
class Challenger:
    """A learner of the residual of a mass model, whose error law is learnt from nuclei that it was not shown.

    The learner is trained on all measured masses, and again without each fold: the ends of isotopic chains, nuclei
    picked at random, and each of the lists in ``later``. What the folds' errors teach (size, growth with the distance
    from the known, correlation) becomes the covariance of the prediction; see :class:`ErrorGrowth`. A measured cell
    keeps its measured value, weighed against the prediction.

    Of the target's prior only the mean is used, of its noise the variances.

    Args:
        learner: of rows with features (:func:`features`; the first two are N and Z).
        bias: what the learner takes for granted, as one sentence.
        members: nets of each fold; one for learners that draw nothing.
        later: names of nuclei to hold out together, such as those measured since an earlier evaluation.
        describe: features of the cells of a chart.
        chain_ends: folds of held-out chain ends.
        interior: folds of nuclei held out at random.
    """

    learner: Learner
    bias: str
    members: int = 1
    later: tuple[tuple[str, ...], ...] = ()
    describe: Callable[[Space], Tensor] = features
    chain_ends: int = 4
    interior: int = 2

    def __call__(self, target: Target, context: Context) -> Gaussian:
        """The masses of all cells, jointly."""
        return self.guess(target, context).law()

    def guess(self, target: Target, context: Context) -> Guess:
        """Train on everything, and without each fold.

        Raises:
            UnanswerableError: the target is not a chart measured cell by cell, with a Gaussian prior and errors.
        """
        inverse, mean, variance = _read(target)
        noise = inverse.noise
        quoted = noise.sigma if isinstance(noise, EvaluationErrors) else variance.sqrt()
        operator = inverse.operator
        assert isinstance(operator, Selection)
        folds = self._folds(operator.codomain, context)
        weight = torch.ones(len(operator.index), (len(folds) + 1) * self.members, dtype=torch.float64)
        for k, fold in enumerate(folds):
            weight[fold, k * self.members : (k + 1) * self.members] = 0.0
        x = self.describe(inverse.space)
        masses = inverse.data.double()
        y = (masses - mean[operator.index])[:, None].expand(-1, weight.shape[1]).contiguous()
        rows = Rows(x[operator.index], y, variance + MODEL_ERROR**2, weight, x)
        found = self.learner(rows, context.child("learner"))
        said = []
        for k, fold in enumerate(folds):
            nets = slice(k * self.members, (k + 1) * self.members)
            value, own = _pooled(found.rows[nets][..., fold], found.row_variance[nets][..., fold])
            said.append((mean[operator.index[fold]] + value, own))
        value, own = _pooled(found.cells[-self.members :], found.cell_variance[-self.members :])
        return Guess(inverse.space, mean + value, own, operator.index, masses, variance, quoted, folds, said)

    def _folds(self, known: Space, context: Context) -> list[Tensor]:
        """Rows that each fold holds out."""
        names = known.labels("nuclide")
        chosen = [np.isin(names, fold) for fold in frontier_folds(known, context.rng)[: self.chain_ends]]
        chosen += [np.isin(names, fold) for fold in self.later]
        count = max(1, round(INTERIOR_SHARE * len(names)))
        order = context.rng.child("interior").permutation(len(names)).numpy()
        chosen += [np.isin(np.arange(len(names)), order[k * count : (k + 1) * count]) for k in range(self.interior)]
        return [torch.from_numpy(fold.nonzero()[0]) for fold in chosen if fold.any() and not fold.all()]


def _pooled(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the equal mixture of members and passes (k, t, n), both (n,)."""
    return mean.mean((0, 1)), variance.mean((0, 1)) + mean.flatten(0, 1).var(0, correction=0)


def _read(target: Target) -> tuple[Inverse, Tensor, Tensor]:
    """The target without gaps, its prior mean (cells,) and the variances of its data (m,)."""
    if not isinstance(target, Inverse) or not isinstance(target.operator, Selection) or target.batch:
        raise UnanswerableError("a challenger learns one chart of which single nuclei were measured (Selection).")
    if "Z" not in target.space.extra:
        raise UnanswerableError(f"a challenger needs a chart of nuclides, not {target.space}; use Exact.")
    inverse = target.seen()
    prior, noise = inverse.prior, inverse.noise
    if not isinstance(prior, GaussianLaw):
        raise UnanswerableError(f"a challenger learns what is left of a mean, and {type(prior).__name__} has none.")
    m = inverse.operator.codomain.size
    with torch.no_grad():
        if isinstance(noise, Normal):
            variance = noise.variance(m)
        elif isinstance(noise, CorrelatedNoise):
            variance = noise.matrix().diagonal()
        else:
            raise UnanswerableError(f"a challenger needs Gaussian errors, not {type(noise).__name__}; use Exact.")
    return inverse, prior.location.detach().double(), variance.double()


TRAINING = Plan(epochs=120, batch=64, rate=6e-3, schedule=Cosine(0.05), weight_decay=1e-2)

LATTICE_TRAINING = Plan(epochs=14, batch=1, rate=6e-3, schedule=Cosine(0.1), weight_decay=0.1, clip=5.0)

CHALLENGERS: Mapping[str, Challenger] = {
    "lightgbm": Challenger(
        Each(BoostedTrees()), "Piecewise constant in each feature; what lies beyond the data is like the last of them."
    ),
    "krr": Challenger(
        OddEvenRidge(), "Near nuclei of one parity class are alike; a few nucleons beyond the data nothing is learnt."
    ),
    "mlp": Challenger(
        Nets(Layers(48, 2), TRAINING),
        "Smooth in the scaled features, shell distances and parities included; goes on as straight lines beyond them.",
        members=2,
    ),
    "cnn": Challenger(
        HiddenValues(MaskedConvolution(24), LATTICE_TRAINING),
        "One local rule for the whole chart, which tells hidden residuals from the visible ones around them.",
    ),
    "gnn": Challenger(
        HiddenValues(GraphNetwork(24), LATTICE_TRAINING),
        "Neighbours on the chart are alike whichever way they lie, the unmeasured ones too.",
    ),
    "bnn": Challenger(
        BayesianNet(8),
        "A few smooth steps in the scaled features; what the weights leave free widens the prediction.",
        chain_ends=2,
        interior=1,
    ),
}


def challenger(name: str, later: tuple[tuple[str, ...], ...] = ()) -> Challenger:
    """One of the challengers by its name.

    Raises:
        OptionError: there is none of this name; the message lists them.
    """
    if name not in CHALLENGERS:
        raise OptionError(f"there is no method {name!r}; choose gp, {', '.join(CHALLENGERS)}.")
    return replace(CHALLENGERS[name], later=later)


def law(question: Question, method: str, cells: Space, context: Context) -> Gaussian:
    """The joint masses that a challenger gives on the cells that every baseline of the question reaches.

    The predictions of all baselines are averaged, on all cells and on every fold alike, and the error law is that of
    the average. Held out are also the nuclei measured since each of the two evaluations before, if no baseline has
    seen later ones.

    Raises:
        OptionError: an unknown method; the message lists them.
    """
    return averaged(guesses(question, method, cells, context)).law()


def guesses(question: Question, method: str, cells: Space, context: Context) -> list[Guess]:
    """What a challenger makes of each baseline of a question, on the cells that all of them reach and the same folds.

    Raises:
        OptionError: an unknown method; the message lists them.
    """
    chosen = challenger(method, measured_since(question))
    for name in question.baselines:
        cells = question.target(cells, name).space
    return [chosen.guess(question.target(cells, name), context) for name in question.baselines]


def averaged(members: Sequence[Guess]) -> Guess:
    """The mean of guesses about the same cells and folds; what they disagree on is their own variance."""
    first = members[0]
    mean, own = _mean([(guess.mean, guess.own) for guess in members])
    said = [_mean([guess.said[k] for guess in members]) for k in range(len(first.held))]
    return replace(first, mean=mean, own=own, said=said)


def _mean(laws: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    means, own = torch.stack([m for m, _ in laws]), torch.stack([v for _, v in laws])
    return means.mean(0), own.mean(0) + means.var(0, correction=0)


def measured_since(question: Question) -> tuple[tuple[str, ...], ...]:
    """Names of the nuclei measured since each of the two evaluations before, none that a baseline's fit had seen."""
    saw = max(models.baseline(name).saw for name in question.baselines)
    earlier = [year for year in data.YEARS if saw <= year < question.year]
    return tuple(tuple(names_of(data.only_in(question.masses, data.measured(year))).tolist()) for year in earlier[-2:])
