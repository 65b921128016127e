"""Population Monte Carlo: annealed rows show where the target lies, densities fitted to weighted rows come closer."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import ClassVar

import torch
from torch import Tensor

from posteriori.core.draws import RAW_WEIGHT, Draws
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.core.support import Real
from posteriori.core.target import Boltzmann, Inverse, Target
from posteriori.core.weights import ess, log_mean_exp, pareto_smooth
from posteriori.inference.annealed import Annealed
from posteriori.inference.importance import Proposal
from posteriori.inference.stratified import Law, Stratified, wide_gaussian
from posteriori.learn.density_conditionals import ConditionalDensity
from posteriori.learn.density_mixture import MixtureDensity
from posteriori.physics.gaussian_mixture import GaussianMixture

HELD_OUT = 0.2
"""Share of the annealed rows on which densities are compared."""
FURTHER, WIDER = 2.0, 1.5
"""How much further out scouts and safety net lie."""
REMEMBERED = 3
"""Rounds whose rows are fitted together."""
BEHIND = 10.0
"""Log-likelihood a row [nat] by which a density may lag behind the best and still be fitted in every round."""
PATIENCE = 2
"""Rounds without a better density after which learning ends."""
USEFUL = 0.5
"""Effective share below which learning goes on for all its rounds; once a density has it, those without are dropped."""
GAIN = 2e-3
"""Effective share by which two densities must differ to count as one better than the other."""


@dataclass(frozen=True)
class Families:
    """Densities that are tried; the one of highest likelihood on weighted rows held out is taken.

    Args:
        parts: numbers of parts of the mixture of Gaussians, rising; the search ends where more are worse.
        conditionals: numbers of parts of the mixtures of the cell-by-cell density.

    Raises:
        OptionError: numbers that are not positive, or none.
    """

    parts: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 48, 64, 96)
    conditionals: tuple[int, ...] = (1, 12)

    def __post_init__(self) -> None:
        if not self.parts + self.conditionals or min(self.parts + self.conditionals) < 1:
            raise OptionError(f"{self}: one number of parts or more, all numbers positive.")

    def tried(self, space: Space, x: Tensor, weights: Tensor, lineages: Tensor, rng: Rng) -> list[Law]:
        """Those near the best for rows (n, *space.shape), the best first; of the mixtures one.

        Args:
            weights: of the rows, (n,).
            lineages: rows of equal numbers (n,) descend from one, and are learnt from or held out together.

        Raises:
            UnanswerableError: a single lineage.
        """
        (train, w), test = _split(x, weights, lineages, rng.child("held out"))
        mixtures: list[tuple[float, Law]] = []
        for parts in self.parts:
            seed = MixtureDensity.seeded(space, train, w, parts, rng.child("mixture", parts))
            law: Law = seed.fitted(train, w, rng)
            mixtures.append((_likelihood(law, *test), law))
            if len(mixtures) > 2 and mixtures[-1][0] < mixtures[-2][0] < mixtures[-3][0]:
                break
        found = [max(mixtures, key=lambda pair: pair[0])] if mixtures else []
        for parts in self.conditionals:
            first = ConditionalDensity.seeded(space, train, w, parts)
            law = first.fitted(train, w, rng.child("conditional", parts))
            found.append((_likelihood(law, *test), law))
        found.sort(key=lambda pair: -pair[0])
        return [law for likelihood, law in found if likelihood > found[0][0] - BEHIND]


def _split(
    x: Tensor, weights: Tensor, lineages: Tensor, rng: Rng
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Rows to learn from, and those held out, each with weights that sum to the number of lineages they are worth."""
    told = lineages[weights > 0].unique()
    if len(told) < 2:
        raise UnanswerableError(
            "all annealed rows descend from one: they tell nothing apart; give start more draws, islands or moves."
        )
    out = (rng.uniform((int(lineages.max()) + 1,)) < HELD_OUT)[lineages]
    if not 0 < float(weights[out].sum()) < float(weights.sum()):  # few lineages, and chance put all on one side
        out = lineages == told[0]
    return tuple((x[part], _worth(weights[part], lineages[part])) for part in (~out, out))  # type: ignore[return-value]


def _worth(weights: Tensor, lineages: Tensor) -> Tensor:
    """Weights (n,) scaled to sum to the effective number of lineages."""
    totals = torch.zeros(int(lineages.max()) + 1, dtype=torch.float64).index_add(0, lineages, weights)
    return weights * (totals.sum() / totals.square().sum())


def _likelihood(law: Law, x: Tensor, weights: Tensor) -> float:
    return float((weights * law.log_prob(x)).sum() / weights.sum())


@dataclass(frozen=True)
class PopulationMonteCarlo:
    """Rows of a learnt density, each with its exact weight; the density learns from the target's energy alone.

    ``start`` anneals rows from a wide law to the target. Densities are fitted to them, and the best few on rows held
    out are kept. Each round then draws from them, from wider forms of them and from the wide law, weighs the rows, asks
    how far the weights of each alone would vary, and fits all again, until the best no longer improves or ``rounds``
    are spent. The final rows are quasi-random, with fixed shares of the learnt density and of a safety net; their mean
    weight is an unbiased estimate of Z. Its error is stated as if rows were independent; quasi-random rows err less.
    What neither annealing nor scouts have met stays unseen. ``stats``: raw log-weights, log-densities, calls
    (of the energy, a gradient is one).

    Args:
        start: how the first rows are found; its proposal is the wide law, needed for targets without prior.
        draws: rows of the answer.
        rows: of each round.
        rounds: at most.
        families: densities that are tried.
        defensive: share of the safety net, in (0, 1).

    Reference: Cappé, Douc, Guillin, Marin & Robert (2008), Adaptive importance sampling in general mixture classes,
    Statistics and Computing 18, 447; Ionides (2008), Truncated importance sampling, J. Comput. Graph. Stat. 17, 295.
    """

    start: Annealed
    draws: int = 2000
    rows: int = 20_000
    rounds: int = 10
    families: Families = field(default_factory=Families)
    defensive: float = 0.02

    references: ClassVar[tuple[str, ...]] = (
        "Cappé, Douc, Guillin, Marin & Robert (2008), Adaptive importance sampling in general mixture classes, "
        "Statistics and Computing 18, 447.",
        "Ionides (2008), Truncated importance sampling, J. Comput. Graph. Stat. 17, 295.",
    )

    def __post_init__(self) -> None:
        if self.draws < 50 or self.rows < 100 or self.rounds < 1 or not 0 < self.defensive < 1:
            raise OptionError(
                f"draws={self.draws} is at least 50, rows={self.rows} at least 100, rounds={self.rounds} at least 1, "
                f"defensive={self.defensive} in (0, 1)."
            )

    def __call__(self, target: Target, context: Context) -> Draws:
        """Weighted rows and log Z.

        Raises:
            UnanswerableError: several problems, a Space with borders, no wide law, or no row that meets the target.
        """
        learnt = self.learnt(target, context)
        return learnt.draws(target, self.draws, context.rng.child("rows"))

    def learnt(self, target: Target, context: Context) -> Learnt:
        """The density that the rounds end in, from which any number of answers can be drawn."""
        if isinstance(target, Inverse) and target.batch:
            raise UnanswerableError("PopulationMonteCarlo learns one problem at a time; give them one by one, or HMC.")
        if not isinstance(target.space.support, Real) or target.space.parts:
            raise UnanswerableError(f"PopulationMonteCarlo fits real numbers without borders, not {target.space}: HMC.")
        return _Course(self, target, context).run()

    @staticmethod
    def example() -> tuple[PopulationMonteCarlo, Boltzmann]:
        """Two far modes in the plane, from a wide Gaussian."""
        means = torch.tensor([[-6.0, 0.0], [5.0, 4.0]])
        target = Boltzmann(GaussianMixture(means, 1.0, torch.tensor([1.0, 2.0])), 1.0)
        start = Annealed(wide_gaussian(target.space, 8.0), 400, 2, resample=0.5, share=0.5, pilot=100)
        return PopulationMonteCarlo(start, 2000, 500, 2, Families((1, 2), ())), target


@dataclass(frozen=True)
class Learnt:
    """What was learnt: the density with its safety net, and the effective share and calls round by round.

    Attributes:
        proposal: from which answers are drawn.
        law: the learnt density alone.
        history: (calls so far, effective share of that round's law, log Z, its error) of each round.
    """

    proposal: Stratified
    law: Law
    history: tuple[tuple[int, float, float, float], ...]

    @property
    def calls(self) -> int:
        """Energy calls that learning took."""
        return self.history[-1][0]

    def draws(self, target: Target, n: int, rng: Rng) -> Draws:
        """``n`` quasi-random rows with their exact weights, and log Z."""
        x, log_q = self.proposal.draw(n, rng, quasi=True)
        raw = log_weights(target, x, log_q)
        evidence, error = log_mean_exp(raw)
        calls = torch.full((n,), (self.calls + n) / n, dtype=torch.float64)
        stats = {RAW_WEIGHT: raw, "log_q": log_q, "calls": calls, "pareto_k": pareto_smooth(raw)[1].expand(n).clone()}
        found = Draws(target.space, x, raw, log_evidence=evidence, stats=stats)
        found.log_evidence_error = error
        return found


def log_weights(target: Target, x: Tensor, log_q: Tensor) -> Tensor:
    """-energy - log q of rows, float64 (n,).

    Raises:
        UnanswerableError: an energy that is NaN, or no row that meets the target.
    """
    with torch.no_grad():
        raw = -target.energy(x) - log_q
    if bool(raw.isnan().any()):
        raise UnanswerableError(
            f"the energy of row {int(raw.isnan().nonzero()[0])} is NaN: mend the potential; an impossible row is +inf."
        )
    if bool((raw == -torch.inf).all()):
        raise UnanswerableError("no row of the proposal meets the target; give a wider start.")
    return raw


class _Course:
    """The rounds as they go."""

    def __init__(self, method: PopulationMonteCarlo, target: Target, context: Context) -> None:
        self.method, self.target, self.context, self.rng = method, target, context, context.rng.child("rounds")
        self.wide: Proposal = method.start.wide(target, context)
        self.kept: list[tuple[Tensor, Tensor]] = []
        self.history: list[tuple[int, float, float, float]] = []
        self.calls = 0

    def run(self) -> Learnt:
        found = self.method.start(self.target, self.context.child("start"))
        assert found.log_weights is not None
        self.calls = round(float(found.stats["calls"].sum()))
        share = float(ess(found.log_weights)) / len(found.values)
        self.history.append((self.calls, share, *_evidence(found)))
        weights, islands = _truncated(found.log_weights), self.method.start.islands
        lineages = (found.stats["ancestor"] * islands + found.stats["island"]).long()
        space, rng = self.target.space, self.rng.child("families")
        laws = self.method.families.tried(space, found.values, weights, lineages, rng)
        best, since = (-1.0, laws[0]), 0
        for i in self.context.progress(range(self.method.rounds), "population Monte Carlo", self.method.rounds):
            shares = self._look(laws, i)
            share, law = max(zip(shares, laws, strict=True), key=lambda pair: pair[0])
            since = 0 if share > best[0] + GAIN else since + 1
            if share > best[0] - GAIN:  # of laws equally good, the later has learnt from more
                best = (max(share, best[0]), law)
            if since >= PATIENCE and best[0] > USEFUL:
                break
            useful = [law for share, law in zip(shares, laws, strict=True) if share > USEFUL]
            laws = self._fitted(useful or laws, self.rng.child("fit", i))
        net = self.method.defensive / 2
        parts: list[tuple[Proposal, float]] = [(best[1], 1 - 2 * net), (best[1].wider(WIDER), net), (self.wide, net)]
        return Learnt(Stratified(parts), best[1], tuple(self.history))

    def _look(self, laws: list[Law], i: int) -> list[float]:
        """Rows of this round, kept with their weights; the effective shares that rows of each law alone would have."""
        n, m, rng = self.method.rows, len(laws), self.rng.child("rows", i)
        own, scouts, strangers = (0.55, 0.4, 0.05) if i < REMEMBERED else (0.9, 0.08, 0.02)
        parts: list[tuple[Proposal, float]] = [(law, own / m) for law in laws]
        parts += [(law.wider(FURTHER), scouts / m) for law in laws]
        x, log_q = Stratified([*parts, (self.wide, strangers)]).draw(n, rng)
        raw = log_weights(self.target, x, log_q)
        self.calls += n
        self.kept = [*self.kept[1 - REMEMBERED :], (x, raw)]
        evidence, error = log_mean_exp(raw)
        # ∫ p²/q by rows of the mixture: what scouts found beyond a law counts against it
        squares = [log_mean_exp(raw + raw + log_q - law.log_prob(x))[0] for law in laws]
        shares = [float((2 * evidence - square).exp()) for square in squares]
        self.history.append((self.calls, max(shares), float(evidence), float(error)))
        return shares

    def _fitted(self, laws: list[Law], rng: Rng) -> list[Law]:
        """All fitted to the rows of the last rounds."""
        x = torch.cat([kept[0] for kept in self.kept])
        weights = torch.cat([_truncated(kept[1]) for kept in self.kept])
        return [law.fitted(x, weights, rng.child("law", i)) for i, law in enumerate(laws)]


def _truncated(raw: Tensor) -> Tensor:
    """Weights over their mean, none above √n, scaled to sum to the effective number of rows that this leaves."""
    clipped = (raw - log_mean_exp(raw)[0]).clamp_max(0.5 * log(len(raw)))
    return torch.softmax(clipped, 0) * ess(clipped)


def _evidence(found: Draws) -> tuple[float, float]:
    assert found.log_evidence is not None
    assert found.log_evidence_error is not None
    return float(found.log_evidence), float(found.log_evidence_error)
