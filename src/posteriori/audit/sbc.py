"""Simulation-based calibration: over truths from the prior, a right method ranks them uniformly among its draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.uniformity import Histogram, Uniformity, rank_histogram, ranks, uniformity
from posteriori.core.errors import OptionError, ShapeError, UnanswerableError
from posteriori.core.infer import Method
from posteriori.core.prior import Density, Energy
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.core.threads import fixed_threads

FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class SBC:
    """Ranks of each test quantity, (problem,), and what the uniformity tests say of them.

    ``joint`` names the quantities that see all of the unknown at once (energy, misfit, mean), the others are single
    elements. ``p_value`` is the smallest p-value times the number of tests (Bonferroni), half of the false-alarm rate
    going to each group: a calibrated method has p_value <= a with probability at most a.
    """

    draws: int
    ranks: Mapping[str, Tensor]
    tests: Mapping[str, Uniformity]
    joint: frozenset[str]

    @property
    def problems(self) -> int:
        """Number of truths."""
        return next(iter(self.tests.values())).cases

    @property
    def p_values(self) -> dict[str, float]:
        """Of each test quantity (bias, spread and shape already joined)."""
        return {name: test.p_value for name, test in self.tests.items()}

    @property
    def p_value(self) -> float:
        """Of the whole; see the class."""
        groups = [[p for name, p in self.p_values.items() if (name in self.joint) is joint] for joint in (True, False)]
        smallest = [len(group) * min(group) for group in groups if group]
        return min(1.0, len(smallest) * min(smallest))

    @property
    def worst(self) -> str:
        """The quantity with the smallest p-value."""
        return min(self.p_values, key=self.p_values.__getitem__)

    def histogram(self, quantity: str, bins: int = 16) -> Histogram:
        """Rank histogram of one quantity."""
        return rank_histogram(self.ranks[quantity], self.draws, bins)

    def report(self, title: str = "simulation-based calibration") -> Report:
        """The p-value with its gate, and of each joint quantity and of the worst one, bias and spread of its z-scores.

        A spread above one means over-confidence. Both have the errors of a calibrated method.
        """
        n = self.problems
        names = sorted(self.joint | {self.worst})
        note = f"{n} problems, {self.draws} draws; worst is {self.worst}; false alarm {FALSE_ALARM:g}"
        figures = [Figure("sbc_p_value", self.p_value, gate=Gate(low=FALSE_ALARM), note=note)]
        for name in names:
            test = self.tests[name]
            figures.append(Figure(f"{name}.mean_z", test.mean_z, n**-0.5, note="0 if unbiased"))
            figures.append(Figure(f"{name}.spread_z", test.spread_z, (2 * n) ** -0.5, note="> 1 if over-confident"))
        return Report(title, tuple(figures))


def sbc(
    method: Method,
    target: Inverse,
    problems: int = 256,
    draws: int = 127,
    rng: Rng | None = None,
    elements: int = 64,
    at_once: int | None = None,
) -> SBC:
    """Draw truths from the prior and data from the truths, infer all, rank each truth among its posterior draws.

    Args:
        target: its prior must be drawn from and its noise must sample; its own data are not looked at.
        problems: truths, solved as leading dims of one target, ``at_once`` at a time (all without).
        draws: of each posterior. They must be nearly independent: to thin a chain, or run many, is the method's
            own responsibility, and autocorrelated draws are reported as what they are, ranks that are not uniform.
        rng: the stream of everything random; seed 0 without.
        elements: single elements to rank; more than that are chosen at random.

    The test quantities are single elements, their mean, the energy and the misfit. The last two depend on the data, so
    that a method which returns its prior, and ranks every element uniformly, is caught as well.

    Raises:
        UnanswerableError: the target cannot be simulated, or the method cannot answer it.
        ShapeError: the posterior does not keep the problems apart.

    Reference: Talts et al. (2018), validating Bayesian inference algorithms with simulation-based calibration;
    Modrák et al. (2023), SBC checking for Bayesian computation: the choice of test quantities.
    """
    if problems < 8 or draws < 1:
        raise OptionError(f"{problems} problems of {draws} draws say nothing; give at least 8 problems and 1 draw.")
    rng = rng or Rng(0)
    truth, question = target.simulate(problems, rng.child("truth"))
    cells = _cells(target, elements, rng.child("elements"))
    step = at_once or problems
    pieces = []
    for k, start in enumerate(range(0, problems, step)):
        part = question.given(question.data[start : start + step])
        key = rng.child("part", k)
        with fixed_threads():
            posterior = method(part, Context(key.child("method")))
            values = posterior.sample(draws, key.child("draws"))
        own = truth[start : start + step]
        if values.shape != (draws, *own.shape):
            raise ShapeError(
                f"{type(method).__name__} gave draws {tuple(values.shape)} for {len(own)} problems at once, not "
                f"{(draws, *own.shape)}; a method keeps the leading dims of the data."
            )
        pieces.append((_quantities(part, values, cells), _quantities(part, own, cells)))
    names = pieces[0][0].keys()
    among = {name: torch.cat([p[0][name] for p in pieces], dim=1) for name in names}
    own_values = {name: torch.cat([p[1][name] for p in pieces]) for name in names}
    return rank_truths(among, own_values, frozenset({"mean", "energy", "misfit"} & names), rng.child("ties"))


def rank_truths(draws: Mapping[str, Tensor], truth: Mapping[str, Tensor], joint: frozenset[str], rng: Rng) -> SBC:
    """Calibration from draws at hand: of each test quantity (draw, problem), against its truths (problem,)."""
    found = {name: ranks(draws[name], truth[name], rng.child(name)) for name in draws}
    m = len(next(iter(draws.values())))
    spread = {name: (rank + rng.child(name, "u").uniform(rank.shape)) / (m + 1) for name, rank in found.items()}
    return SBC(m, found, {name: uniformity(u) for name, u in spread.items()}, joint)


def _quantities(target: Inverse, x: Tensor, cells: Tensor) -> dict[str, Tensor]:
    """Every test quantity of x (*draw, problem, *space.shape), each (*draw, problem)."""
    flat = target.space.flat(x)
    found = {f"x[{int(i)}]": flat[..., i] for i in cells}
    if len(cells) > 1:
        found["mean"] = flat[..., cells].mean(-1)
    with torch.no_grad():
        found["misfit"] = target.misfit(x)
        if isinstance(target.prior, (Density, Energy)):
            found["energy"] = target.energy(x)
    return found


def _cells(target: Inverse, elements: int, rng: Rng) -> Tensor:
    """The defined elements that are ranked one by one."""
    mask = target.space.mask
    defined = torch.arange(target.space.size) if mask is None else target.space.flat(mask).nonzero()[:, 0]
    if not len(defined):
        raise UnanswerableError(f"{target.space} has no defined cell, so nothing can be calibrated.")
    return defined if len(defined) <= elements else defined[rng.permutation(len(defined))[:elements]].sort().values
