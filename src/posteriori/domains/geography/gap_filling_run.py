"""One run of gap filling: law chosen on the history, hidden cells filled and scored, real gaps filled."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.audit.rasters.splits import time_blocks, time_folds
from posteriori.audit.uniformity import ranks
from posteriori.core.errors import DataError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.geography.gap_filling import FEWEST_SEEN, Filler, Fold, Model, Trial, choose, fold
from posteriori.domains.geography.gap_filling_data import Asked, hidden_cells
from posteriori.domains.geography.gap_filling_diffusion import drawn, trained
from posteriori.domains.geography.gap_filling_peers import REFERENCE, Peers
from posteriori.domains.geography.gap_filling_scores import Judged, Terms, distance_to_seen, of_law, of_members
from posteriori.inference.residual_diffusion import ResidualDiffusion
from posteriori.learn.scale_covariance import Correlations, Scales

OURS, DIFFUSION = "filled", "diffusion"
TRAINING = 48
"""Fields of each fold that a diffusion model is trained on."""
DAY = 24.0


@dataclass(frozen=True)
class Masking:
    """Which cells are hidden: kind or file, share of random ones, masks a field, and most fields scored."""

    kind: str
    share: float
    draws: int
    fields: int


@dataclass(frozen=True)
class Effort:
    """Folds of the history, fields left out in each, members, gap [h], and whether a diffusion model is trained."""

    folds: int
    left_out: int
    members: int
    gap: float
    diffusion: bool


@dataclass(frozen=True, eq=False)
class Shown:
    """One case for the pictures: position of its field, masks (y, x), and members (n, y, x), NaN where not filled."""

    position: int
    seen: Tensor
    wanted: Tensor
    members: Tensor


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
        known: cells that the history knows, (y, x).
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
    known: Tensor

    @staticmethod
    def of(asked: Asked, masking: Masking, effort: Effort, model: Model | None, context: Context) -> Findings:
        """Learn from the history, hide cells of the fields, fill and score them.

        Raises:
            DataError: nothing can be hidden and scored.
        """
        began, rng = time.process_time(), context.rng
        space = asked.fields.space
        history, fields = (torch.from_numpy(raster.values) for raster in (asked.history, asked.fields))
        scored = _spread_out(len(fields), masking.fields)
        hidden = hidden_cells(asked, masking.kind, masking.share, masking.draws, scored, rng.child("hidden"))
        _refuse_unscorable(fields[scored], hidden)
        learnt = Correlations.of(space, history, rng.child("kernel"))
        known = space.unflat(torch.zeros(space.size, dtype=torch.bool).index_fill(0, learnt.cells, True))
        trials: list[Trial] = []
        if model is None:
            folds = left_out(space, history, asked.past, hidden, effort, effort.left_out, rng.child("folds"))
            model, trials = choose(folds, Scales(), effort.members, context.progress)
        filler, seconds = Filler.of(learnt, model), time.process_time() - began
        method = None
        if effort.diffusion:
            folds = left_out(space, history, asked.past, hidden, effort, TRAINING, rng.child("training"))
            method = trained(folds, model, context.child("diffusion"))
        cases = _Cases(filler, Peers.of(space, history, known), known, method, rng.child("fill"))
        for at, position in enumerate(context.progress(scored.tolist(), "fields")):
            for draw, hide in enumerate(hidden[at]):
                cases.add(int(position), draw, fields[position], hide)
        if cases.shown is None:
            raise DataError("no hidden cell is known in the data, so nothing can be scored; hide others with mask=.")
        blocks = _blocks(asked, torch.tensor(cases.positions))
        judged = Judged(dict(cases.terms), blocks, rng.child("scores"))
        gaps = _filled_gaps(filler, fields, known, rng.child("gaps"), context)
        inside = {name: (torch.cat(d), torch.cat(i)) for name, (d, i) in cases.inside.items()}
        rank = torch.cat(cases.ranks)
        return Findings(asked, masking, filler, trials, judged, rank, inside, cases.shown, gaps, seconds, known)


def left_out(
    space: Space, history: Tensor, past: NDArray[np.float64], hidden: Tensor, effort: Effort, most: int, rng: Rng
) -> list[Fold]:
    """Stretches of the history, up to ``most`` fields each, under masks such as ``hidden`` (field, draw, y, x)."""
    gap = min(effort.gap, float(np.ptp(past)) / (2 * effort.folds))
    splits = [(split.train, split.test) for split in time_folds(past, effort.folds, gap)]
    return fold(space, history, splits, hidden.flatten(0, 1), most, rng)


class _Cases:
    """What is gathered while cases are filled one after the other."""

    def __init__(self, filler: Filler, peers: Peers, known: Tensor, method: ResidualDiffusion | None, rng: Rng) -> None:
        self.filler, self.peers, self.known, self.method, self.rng = filler, peers, known, method, rng
        self.terms: dict[str, list[Terms]] = defaultdict(list)
        self.inside: dict[str, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
        self.ranks: list[Tensor] = []
        self.positions: list[int] = []
        self.shown: Shown | None = None

    def add(self, position: int, draw: int, field: Tensor, hide: Tensor) -> None:
        """One field under one mask, filled by everybody from the same cells."""
        there = ~torch.isnan(field) & self.known
        seen, wanted = there & ~hide, there & hide
        if not bool(wanted.any()) or int(seen.sum()) < FEWEST_SEEN:
            return
        rng, truth = self.rng.child(position, draw), field[wanted].double()
        law, members = self.filler.members(field, seen, wanted, rng.child("members"))
        distance = distance_to_seen(seen, wanted)
        self._note(OURS, *of_members(members, truth), distance)
        if self.method is not None:
            self._note(DIFFUSION, *of_members(drawn(self.method, self.filler, law, rng.child("net")), truth), distance)
        for name, peer in self.peers.laws(field, seen, wanted, rng.child("peers")).items():
            self._note(name, *of_law(peer, truth), distance)
        self.ranks.append(ranks(members, truth, rng.child("ranks")))
        self.positions.append(position)
        if self.shown is None:
            maps = torch.full((len(members), *field.shape), torch.nan, dtype=torch.float64)
            maps[:, wanted] = members
            self.shown = Shown(position, seen, wanted, maps)

    def _note(self, name: str, terms: Terms, inside: Tensor | None, distance: Tensor) -> None:
        self.terms[name].append(terms)
        if name in (OURS, REFERENCE) and inside is not None:
            self.inside[name][0].append(distance)
            self.inside[name][1].append(inside)


def _filled_gaps(
    filler: Filler, fields: Tensor, known: Tensor, rng: Rng, context: Context
) -> dict[int, tuple[Tensor, Tensor]]:
    """Members of the data's own gaps, layer by layer; a layer with too few cells stays as it is."""
    found = {}
    for position in context.progress(range(len(fields)), "gaps"):
        seen, wanted = ~torch.isnan(fields[position]) & known, torch.isnan(fields[position]) & known
        if bool(wanted.any()) and int(seen.sum()) >= FEWEST_SEEN:
            law, members = filler.members(fields[position], seen, wanted, rng.child(position))
            found[position] = law.rest, members
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
