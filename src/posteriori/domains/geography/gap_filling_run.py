"""One run of gap filling: law chosen on the history, hidden cells filled and scored, real gaps filled."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.audit.rasters.splits import time_blocks, time_folds
from posteriori.audit.uniformity import ranks
from posteriori.core import memory
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geography.gap_filling import FEWEST_SEEN, Filler, Fold, Model, Past, Trial, choose, fold
from posteriori.domains.geography.gap_filling_data import Asked, hidden_cells
from posteriori.domains.geography.gap_filling_diffusion import drawn, trained
from posteriori.domains.geography.gap_filling_peers import KRIGING, REFERENCE, Peers
from posteriori.domains.geography.gap_filling_scores import Judged, Terms, distance_to_seen, of_law, of_members
from posteriori.domains.geography.neighbours import narrowed, stacked
from posteriori.inference.residual_diffusion import ResidualDiffusion
from posteriori.learn.scale_covariance import Correlations, Scales
from posteriori.learn.window_covariance import Window

OURS, DIFFUSION = "filled", "diffusion"
ALONE, BESIDE = ".alone", ".neighbours"
"""What a peer was told, behind its name: the field alone, or with its neighbours."""
TRAINING = 48
"""Fields of each fold that a diffusion model is trained on."""
DAY = 24.0
LEARNT, COVARIANCES = 3, 8
"""Matrices that are kept of each fold beside those between layers, and of all layers while a field is filled."""


@dataclass(frozen=True)
class Masking:
    """Which cells are hidden: kind or file, share of random ones, masks a field, and most fields scored."""

    kind: str
    share: float
    draws: int
    fields: int


@dataclass(frozen=True)
class Effort:
    """Folds of the history, fields left out in each, members, gap [h], layers tried to each side, and diffusion."""

    folds: int
    left_out: int
    members: int
    gap: float
    neighbours: int
    diffusion: bool


@dataclass(frozen=True, eq=False)
class Shown:
    """One case for the pictures.

    Attributes:
        position: of its field.
        window: that field with the layers beside it, (layer, y, x).
        used: cells of those that it is filled from, of the same shape.
        wanted: cells hidden, (y, x).
        members: (n, y, x), NaN where not filled.
    """

    position: int
    window: Tensor
    used: Tensor
    wanted: Tensor
    members: Tensor

    @property
    def seen(self) -> Tensor:
        """Observed cells of the field itself, (y, x)."""
        return self.used[len(self.used) // 2]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that was learnt and measured.

    Attributes:
        asked: the question.
        masking: how cells were hidden.
        filler: the chosen law, ready to fill.
        trials: laws that were tried.
        judged: scores of every filling.
        ranks: of the truths among the members, (cell,).
        inside: distance [cells] and whether the 90 % interval held the truth, by filling, for every hidden cell.
        shown: the first case.
        gaps: members of the real gaps by layer: cells (h,) and values (n, h).
        seconds: CPU seconds of choosing.
    """

    asked: Asked
    masking: Masking
    filler: Filler
    trials: Sequence[Trial]
    judged: Judged
    ranks: Tensor
    inside: Mapping[str, tuple[Tensor, Tensor]]
    shown: Shown
    gaps: Mapping[int, tuple[Tensor, Tensor]]
    seconds: float

    @staticmethod
    def of(asked: Asked, masking: Masking, effort: Effort, model: Model | None, context: Context) -> Findings:
        """Learn from the history, hide cells of the fields, fill and score them.

        Raises:
            DataError: nothing can be hidden and scored.
            MemoryBudgetError: more cells than the covariances of all layers can be kept of.
        """
        began, rng = time.process_time(), context.rng
        space = asked.fields.space
        history, layers = (torch.from_numpy(raster.values) for raster in (asked.history, asked.layers))
        scored = _spread_out(len(asked.picked), masking.fields)
        hidden = hidden_cells(asked, masking.kind, masking.share, masking.draws, scored, rng.child("hidden"))
        _refuse_unscorable(layers[asked.picked[scored]], hidden)
        steps, beside = asked.neighbours(effort.neighbours if model is None else model.reach)
        past = Past(space, history, asked.past, steps, beside.shape[1] // 2)
        _require_memory(space.size, effort.folds, past.reach)
        model, trials = (model, []) if model is not None else _chosen(past, hidden, effort, context)
        spread = replace(model.spread, members=effort.members)
        model = replace(model, spread=spread, reach=min(model.reach, past.reach))
        past, beside = replace(past, reach=model.reach), narrowed(beside, model.reach)
        learnt = Correlations.of(space, history, rng.child("kernel"))
        filler = Filler.of(Window.of(learnt, history, steps, model.reach), model)
        seconds = time.process_time() - began
        method = None
        if effort.diffusion:
            training = left_out(past, hidden, effort, TRAINING, rng.child("training"))
            method = trained(training, model, context.child("diffusion"))
        peers = [Peers.of(space, history, filler.known, steps, reach) for reach in sorted({0, model.reach})]
        cases = _Cases(filler, peers, method, rng.child("fill"))
        for at, position in enumerate(context.progress(scored.tolist(), "fields")):
            window = stacked(layers, beside[position][None])[0]
            for draw, hide in enumerate(hidden[at]):
                cases.add(int(position), draw, window, hide)
        if cases.shown is None:
            raise DataError("no hidden cell is known in the data, so nothing can be scored; hide others with mask=.")
        blocks = _blocks(asked, torch.tensor(cases.positions))
        judged = Judged(cases.stronger(), blocks, rng.child("scores"))
        gaps = _filled_gaps(filler, layers, beside, rng.child("gaps"), context)
        inside = {name: (torch.cat(d), torch.cat(i)) for name, (d, i) in cases.inside.items()}
        rank = torch.cat(cases.ranks)
        return Findings(asked, masking, filler, trials, judged, rank, inside, cases.shown, gaps, seconds)


def left_out(past: Past, hidden: Tensor, effort: Effort, most: int, rng: Rng) -> list[Fold]:
    """Stretches of the history, up to ``most`` fields each, under masks such as ``hidden`` (field, draw, y, x)."""
    gap = min(effort.gap, float(np.ptp(past.times)) / (2 * effort.folds))
    splits = [(split.train, split.test) for split in time_folds(past.times, effort.folds, gap)]
    return fold(past, splits, hidden.flatten(0, 1), most, rng)


def _chosen(past: Past, hidden: Tensor, effort: Effort, context: Context) -> tuple[Model, list[Trial]]:
    """The law of the lowest score on stretches left out, and those that were tried."""
    folds = left_out(past, hidden, effort, effort.left_out, context.rng.child("folds"))
    return choose(folds, Scales(), effort.members, context.progress)


def _require_memory(size: int, folds: int, reach: int) -> None:
    """Before anything is learnt: correlations of each fold, and some covariances of all layers side by side."""
    layers = 2 * reach + 1
    need = 8 * size**2 * (folds * (LEARNT + 2 * reach) + COVARIANCES * layers**2)
    cheaper = "give cells=, or every=2" if not reach else "give neighbours=0, cells=, or every=2"
    memory.require(need, f"gap filling of {size} cells from {layers} layer(s)", cheaper)


class _Cases:
    """What is gathered while cases are filled one after the other."""

    def __init__(self, filler: Filler, peers: Sequence[Peers], method: ResidualDiffusion | None, rng: Rng) -> None:
        self.filler, self.peers, self.method, self.rng = filler, peers, method, rng
        self.known = filler.known
        self.terms: dict[str, list[Terms]] = defaultdict(list)
        self.inside: dict[str, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
        self.ranks: list[Tensor] = []
        self.positions: list[int] = []
        self.shown: Shown | None = None

    def add(self, position: int, draw: int, window: Tensor, hide: Tensor) -> None:
        """One field with the layers beside it (layer, y, x) under one mask, filled by everybody from the same cells."""
        reach = len(window) // 2
        there = ~torch.isnan(window) & self.known
        wanted = there[reach] & hide
        used = self.filler.used(there & ~hide, wanted)
        if not bool(wanted.any()) or int(used[reach].sum()) < FEWEST_SEEN:
            return
        rng, truth = self.rng.child(position, draw), window[reach][wanted].double()
        law, members = self.filler.members(window, used, wanted, rng.child("members"))
        distance = distance_to_seen(used[reach], wanted)
        self._note(OURS, *of_members(members, truth), distance)
        if self.method is not None:
            self._note(DIFFUSION, *of_members(drawn(self.method, self.filler, law, rng.child("net")), truth), distance)
        for peers in self.peers:
            cut = slice(reach - peers.reach, reach + peers.reach + 1)
            laws = peers.laws(window[cut], used[cut], wanted, rng.child("peers"))
            for name, peer in laws.items():
                self._note(f"{name}{BESIDE}" if peers.reach else name, *of_law(peer, truth), distance)
        self.ranks.append(ranks(members, truth, rng.child("ranks")))
        self.positions.append(position)
        if self.shown is None:
            maps = torch.full((len(members), *wanted.shape), torch.nan, dtype=torch.float64)
            maps[:, wanted] = members
            self.shown = Shown(position, window, used, wanted, maps)

    def stronger(self) -> dict[str, Sequence[Terms]]:
        """All terms; a peer told of the neighbours and told of the field alone goes by its own name where it is better.

        The other one is kept under its name and what it was told.
        """
        found: dict[str, Sequence[Terms]] = dict(self.terms)
        for name in (REFERENCE, KRIGING):
            if f"{name}{BESIDE}" not in found:
                continue
            alone, beside = found.pop(name), found.pop(f"{name}{BESIDE}")
            ahead = sum(term.crps for term in beside) < sum(term.crps for term in alone)
            found |= {name: beside, f"{name}{ALONE}": alone} if ahead else {name: alone, f"{name}{BESIDE}": beside}
            if name == REFERENCE:
                other = self.inside.pop(f"{REFERENCE}{BESIDE}")
                self.inside[REFERENCE] = other if ahead else self.inside[REFERENCE]
        return found

    def _note(self, name: str, terms: Terms, inside: Tensor | None, distance: Tensor) -> None:
        self.terms[name].append(terms)
        if inside is not None and name.startswith((OURS, REFERENCE)):
            self.inside[name][0].append(distance)
            self.inside[name][1].append(inside)


def _filled_gaps(
    filler: Filler, layers: Tensor, beside: Tensor, rng: Rng, context: Context
) -> dict[int, tuple[Tensor, Tensor]]:
    """Members of the data's own gaps, layer by layer; a layer with too few cells about it stays as it is."""
    found, size = {}, filler.window.learnt.space.size
    for position in context.progress(range(len(beside)), "gaps"):
        window = stacked(layers, beside[position][None])[0]
        there = ~torch.isnan(window)
        wanted = ~there[len(window) // 2] & filler.known
        if bool(wanted.any()) and int(filler.used(there, wanted).sum()) >= FEWEST_SEEN:
            law, members = filler.members(window, there, wanted, rng.child(position))
            found[position] = law.rest % size, members
    return found


def _refuse_unscorable(fields: Tensor, hidden: Tensor) -> None:
    """Before anything is learnt: some field (n, y, x) must keep cells and hold hidden ones that are known."""
    there = ~torch.isnan(fields)[:, None]
    usable = ((there & ~hidden).sum((-2, -1)) >= FEWEST_SEEN) & (there & hidden).any(-1).any(-1)
    if not bool(usable.any()):
        raise DataError(
            f"no field to fill has {FEWEST_SEEN} observed cells beside known ones that are hidden, so nothing can be "
            "filled and scored; give other fields, or hide others with mask=."
        )


def _spread_out(n: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _blocks(asked: Asked, positions: Tensor) -> Tensor:
    """Days of timed fields, else the fields themselves."""
    if not asked.timed:
        return positions
    days: Tensor = time_blocks(asked.fields.times, DAY)[positions]
    return days
