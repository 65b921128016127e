"""The generator of alanine dipeptide: a density of (φ, ψ), then flows of the methyl groups and of all that is stiff."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, log, pi
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Progress, silent
from posteriori.core.space import Space
from posteriori.domains.molecules import alanine_coordinates as parts
from posteriori.domains.molecules.alanine import ZMATRIX
from posteriori.domains.molecules.alanine_sampling import Frames
from posteriori.domains.molecules.ramachandran import CELLS, SurfaceLaw
from posteriori.learn.flow.internal_flow import InternalFlow
from posteriori.physics.internal_coordinates import InternalCoordinates

AT_ONCE = 4096
WAVES, METHYL_WAVES = 48, 15
"""Features of the surface and of the methyl groups."""
DEFENSIVE = 0.05
"""Share of draws whose (φ, ψ) come from the flat density, unless told otherwise."""


@dataclass(frozen=True)
class Training:
    """How the flows are trained by likelihood.

    Attributes:
        steps: gradient steps.
        batch: frames in each.
        rate: first learning rate; it falls as a half cosine.
        shares: how much of a batch comes from each level of the replicas, from no bias to all of it.
        average: decay of the average of the weights that is kept.
    """

    steps: int = 450
    batch: int = 1024
    rate: float = 3e-3
    shares: tuple[float, ...] = (0.4, 0.3, 0.15, 0.15)
    average: float = 0.995

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or not self.rate > 0 or not 0 < self.average < 1:
            raise OptionError(f"{self}: steps and batch at least 1, rate above 0, average in (0, 1).")


class Generator(nn.Module):
    """q of the 60 internal coordinates (bonds [nm], angles, torsions [rad]) of L-alanine dipeptide, trans amides.

    (φ, ψ) come from a :class:`SurfaceLaw`, of which a ``share`` is flat; the three methyl torsions from a flow given
    (φ, ψ); the 55 stiff coordinates from a flow given all five. The labels of methyl hydrogens are turned at random.

    Args:
        law: of (φ, ψ).
        centre, scale: of the stiff coordinates, (55,).
        rng: the stream of the first weights.
    """

    space: Space

    def __init__(self, law: SurfaceLaw, centre: Tensor, scale: Tensor, rng: Rng | None = None) -> None:
        super().__init__()
        rng = rng or Rng(0)
        self.space = InternalCoordinates(ZMATRIX).domain
        self.law, self.share = law, DEFENSIVE
        self.methyl = InternalFlow(3, WAVES, 24, 1, 12, 1, bounded=True, rng=rng.child("methyl"))
        self.stiff = InternalFlow(len(parts.STIFF), WAVES + METHYL_WAVES, rng=rng.child("stiff"))
        self.register_buffer("centre", centre.float())
        self.register_buffer("scale", scale.float())
        self.centre: Tensor
        self.scale: Tensor

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws, float64 (n, 60)."""
        return self.draw(n, rng)[0]

    def draw(self, n: int, rng: Rng, share: float | None = None) -> tuple[Tensor, Tensor]:
        """``n`` draws and their log-densities; of their (φ, ψ) a ``share`` is flat."""
        rng = rng.fresh()
        surface, density = self.law.draw(n, rng.child("surface"), self.share if share is None else share)
        methyl = self.methyl.base(n, rng.child("methyl"))
        stiff = self.stiff.base(n, rng.child("stiff"))
        m, log_q = self.push(surface, methyl, stiff)
        return parts.plain(parts.unfolded(m, rng.child("labels"))), density + log_q

    def push(self, surface: Tensor, methyl: Tensor, stiff: Tensor) -> tuple[Tensor, Tensor]:
        """(φ, ψ) and base points → folded, sheared coordinates and log q of them given (φ, ψ), the labels included."""
        found, total = [], []
        for s, a, b in zip(*(t.split(AT_ONCE) for t in (surface, methyl, stiff)), strict=True):
            waves = parts.surface_features(s.float())
            chi, first = self.methyl.push(a.float(), waves)
            turned = (chi + 1) * (parts.THIRD / 2)
            z, second = self.stiff.push(b.float(), torch.cat([waves, parts.methyl_features(turned)], -1))
            found.append(self._joined(s, turned, z))
            total.append(first.double() + second.double())
        return torch.cat(found), torch.cat(total) - self._constant

    def log_prob(self, m: Tensor) -> Tensor:
        """log q of internal coordinates (*batch, 60), float64."""
        return self.log_prob_of(m, self.share)

    def log_prob_of(self, m: Tensor, share: float) -> Tensor:
        """log q with a ``share`` of flat (φ, ψ)."""
        rows = parts.folded(parts.sheared(m.double())).reshape(-1, m.shape[-1])
        given = [self.given_surface(some) for some in rows.split(AT_ONCE)]
        density = self.law.log_prob(rows[:, parts.SURFACE_COLUMNS], share)
        return (density + torch.cat([*given, rows.new_zeros(0)])).reshape(m.shape[:-1])

    def given_surface(self, rows: Tensor) -> Tensor:
        """log q of folded, sheared coordinates (row, 60) given their (φ, ψ), the labels included."""
        chi, z, waves, all_waves = self._split(rows.float())
        return self.methyl.log_prob(chi, waves).double() + self.stiff.log_prob(z, all_waves).double() - self._constant

    def fit(
        self, frames: Tensor, levels: int, training: Training, rng: Rng, progress: Progress = silent
    ) -> list[float]:
        """Train on folded, sheared ``frames`` (row, 60), level after level; the mean log q of a batch at every step.

        Raises:
            OptionError: not one share for each level.
        """
        if len(training.shares) != levels or len(frames) % levels:
            raise OptionError(f"{len(training.shares)} shares for {len(frames)} rows of {levels} levels.")
        chi, z, waves, all_waves = self._split(frames)
        weights = [p for flow in (self.methyl, self.stiff) for p in flow.parameters()]
        kept = [p.detach().clone() for p in weights]
        optimiser = torch.optim.Adam(weights, lr=training.rate, betas=(0.9, 0.99))
        history: list[float] = []
        for i in progress(range(training.steps), "training", training.steps):
            rows = _batch(len(frames) // levels, training, rng.child("batch", i))
            rate = training.rate * min(1.0, (i + 1) / 100) * 0.5 * (1 + cos(pi * i / training.steps))
            optimiser.param_groups[0]["lr"] = rate
            log_q = self.methyl.log_prob(chi[rows], waves[rows]) + self.stiff.log_prob(z[rows], all_waves[rows])
            loss = -log_q.mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimiser.step()
            history.append(-float(loss.detach()))
            decay = min(training.average, (i + 1) / (i + 10))
            for mean, p in zip(kept, weights, strict=True):
                mean.lerp_(p.detach(), 1 - decay)
        with torch.no_grad():
            for mean, p in zip(kept, weights, strict=True):
                p.copy_(mean.half())
        return history

    @property
    def _constant(self) -> Tensor:
        """log of the volume that folding and whitening take away."""
        return self.scale.double().log().sum() + 3 * log(parts.THIRD / 2) + log(parts.FOLDS)

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Methyl torsions on [-1, 1], whitened stiff coordinates, features of either flow."""
        methyl = rows[..., parts.METHYL_COLUMNS].float()
        z = rows[..., parts.STIFF].float() - self.centre
        turns = len(parts.STIFF_TORSIONS)
        z = torch.cat([parts.wrapped(z[..., :turns]), z[..., turns:]], -1) / self.scale
        waves = parts.surface_features(rows[..., parts.SURFACE_COLUMNS].float())
        return methyl / parts.THIRD * 2 - 1, z, waves, torch.cat([waves, parts.methyl_features(methyl)], -1)

    def _joined(self, surface: Tensor, methyl: Tensor, z: Tensor) -> Tensor:
        m = torch.empty(len(surface), self.space.size, dtype=torch.float64)
        m[:, parts.SURFACE_COLUMNS] = surface.double()
        m[:, parts.METHYL_COLUMNS] = methyl.double()
        m[:, parts.STIFF] = (z * self.scale + self.centre).double()
        return m

    def save(self, path: Path) -> None:
        """All numbers in one safetensors file; the flows' weights as float16, to which training has rounded them."""
        state = {k: v.half() if k.startswith(("methyl", "stiff")) else v for k, v in self.state_dict().items()}
        save_file({k: v.contiguous() for k, v in state.items()}, path)

    @staticmethod
    def load(path: Path) -> Generator:
        """The generator that :meth:`save` kept.

        Raises:
            DataError: the file is missing, broken or of something else.
        """
        try:
            state = {k: v.float() for k, v in load_file(path).items()}
            made = blank()
            made.load_state_dict(state)
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            raise DataError(f"{path} holds no alanine generator ({error}); train one with retrain=true.") from error
        return made


def blank() -> Generator:
    """A generator that knows nothing."""
    n = len(parts.STIFF)
    flat = torch.full((CELLS, CELLS), -2 * log(2 * pi))
    return Generator(SurfaceLaw(flat, flat.clone()), torch.zeros(n), torch.ones(n))


def trained(frames: Frames, training: Training, rng: Rng, progress: Progress = silent) -> tuple[Generator, list[float]]:
    """A generator trained on what replicas have left behind, and the mean log q of its batches."""
    internal = InternalCoordinates(ZMATRIX)
    positions = frames.by_level(frames.positions)
    rows = torch.cat([parts.folded(parts.sheared(internal.coordinates(x.double()))) for x in positions.split(AT_ONCE)])
    free = rows[: len(rows) // len(frames.levels), parts.STIFF]
    turns = len(parts.STIFF_TORSIONS)
    angles = torch.atan2(free[:, :turns].sin().mean(0), free[:, :turns].cos().mean(0))
    centre = torch.cat([angles, free[:, turns:].mean(0)])
    off = free - centre
    scale = torch.cat([parts.wrapped(off[:, :turns]), off[:, turns:]], -1).std(0)
    surface = rows[:, parts.SURFACE_COLUMNS]
    law = SurfaceLaw.of(surface, frames.log_weights, surface[-(len(rows) // len(frames.levels)) :])
    generator = Generator(law, centre, scale, rng.child("weights"))
    history = generator.fit(rows.float(), len(frames.levels), training, rng.child("batches"), progress)
    return generator, history


def _batch(rows: int, training: Training, rng: Rng) -> Tensor:
    """Rows of one batch: of each level its share."""
    counts = [round(training.batch * share / sum(training.shares)) for share in training.shares]
    return torch.cat([level * rows + rng.integers(rows, (count,)) for level, count in enumerate(counts)])
