"""Alanine dipeptide from its two backbone torsions: every other angle and torsion drawn, every bond exact."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from posteriori.core.errors import StoreError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.molecules.alanine import ZMATRIX
from posteriori.domains.molecules.alanine_coordinates import (
    METHYL_COLUMNS,
    STIFF_TORSIONS,
    SURFACE_COLUMNS,
    THIRD,
    methyl_features,
    plain,
    surface_features,
    wrapped,
)
from posteriori.learn.fit import fit
from posteriori.learn.flow.internal_flow import InternalFlow
from posteriori.learn.plan import Plan
from posteriori.physics.internal_coordinates import InternalCoordinates
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics

BONDS, ANGLES = ZMATRIX.atoms - 1, ZMATRIX.atoms - 2
COLUMNS = STIFF_TORSIONS + list(range(BONDS, BONDS + ANGLES))
"""Stiff torsions and all angles among 60 internal coordinates."""
PLACES = 400
"""Pairs φ, ψ that a mapper carries along: of the molecule in equilibrium, and from all over its surface."""
WEIGHTS = Path(__file__).parent / "weights" / "backmapping_alanine.safetensors"
WAVES, METHYL_WAVES = 48, 15
"""Features of the two torsions, and of the three methyl groups."""


class AlanineMapper(nn.Module):
    """q(fine | φ, ψ) of alanine dipeptide with rigid bonds: three methyl torsions, then 34 stiff angles and torsions.

    Stiff coordinates are what a linear regression on features leaves over, in units of its spread, by an autoregressive
    flow. Coarse torsions and bond lengths are put in as they are, so that both are exact.
    """

    def __init__(self, width: int = 5, mixed: int = 16, rng: Rng | None = None) -> None:
        super().__init__()
        rng = rng or Rng(0)
        n = len(COLUMNS)
        features = WAVES + METHYL_WAVES
        self.methyl = InternalFlow(3, WAVES, bins=6, mixed=4, bounded=True, rng=rng.child("methyl"))
        self.stiff = InternalFlow(n, features, width, bins=6, mixed=mixed, rng=rng.child("stiff"))
        self.register_buffer("regression", torch.zeros(features + 1, n))
        self.register_buffer("spread", torch.ones(n))
        self.register_buffer("rest", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("lengths", torch.ones(BONDS, dtype=torch.float64))
        self.regression: Tensor
        self.spread: Tensor
        self.rest: Tensor
        self.register_buffer("visited", torch.zeros(PLACES, 2))
        self.register_buffer("reached", torch.zeros(PLACES, 2))
        self.lengths: Tensor
        self.visited: Tensor
        self.reached: Tensor

    def regressed(self, m: Tensor) -> AlanineMapper:
        """The same with its regression fitted to folded internal coordinates (row, 60)."""
        one = self._one(self._features(m)).double()
        self.rest = torch.atan2(m[:, COLUMNS].double().sin().mean(0), m[:, COLUMNS].double().cos().mean(0))
        y = self._near(m)
        ridge = 1e-4 * len(m) * torch.eye(one.shape[1], dtype=torch.float64)
        self.regression = torch.linalg.solve(one.mT @ one + ridge, one.mT @ y).float()
        self.spread = (y - one @ self.regression.double()).std(0).float()
        return self

    def log_prob(self, m: Tensor) -> Tensor:
        """log q of folded internal coordinates (*batch, 60) given their φ and ψ, in their own units, (*batch,)."""
        features = self._features(m)
        z = (self._near(m).float() - self._one(features) @ self.regression) / self.spread
        bounded = 2 * torch.remainder(m[..., METHYL_COLUMNS], 2 * torch.pi) / THIRD - 1
        methyl = self.methyl.log_prob(bounded.float(), features[..., :WAVES])
        return methyl + self.stiff.log_prob(z.float(), features) + self._unit()

    @torch.no_grad()
    def draw(self, surface: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Internal coordinates (n, 60) for (φ, ψ) (n, 2), folded, float64, and log q (n,)."""
        waves = surface_features(surface).float()
        bounded, log_methyl = self.methyl.draw(waves, rng.child("methyl"))
        m = torch.zeros(len(surface), 3 * ZMATRIX.atoms - 6, dtype=torch.float64)
        m[:, :BONDS] = self.lengths
        m[:, SURFACE_COLUMNS] = surface.double()
        m[:, METHYL_COLUMNS] = (bounded.double() + 1) * THIRD / 2
        features = self._features(m)
        z, log_stiff = self.stiff.draw(features, rng.child("stiff"))
        m[:, COLUMNS] = (self._one(features) @ self.regression + z * self.spread).double() + self.rest
        return m, (log_methyl + log_stiff + self._unit()).double()

    def _features(self, m: Tensor) -> Tensor:
        waves = surface_features(m[..., SURFACE_COLUMNS])
        methyl = methyl_features(torch.remainder(m[..., METHYL_COLUMNS], 2 * torch.pi))
        return torch.cat([waves, methyl], -1).float()

    def _near(self, m: Tensor) -> Tensor:
        """Stiff coordinates as differences from their usual values."""
        return wrapped(m[..., COLUMNS].double() - self.rest)

    def _one(self, features: Tensor) -> Tensor:
        return torch.cat([features, torch.ones_like(features[..., :1])], -1)

    def _unit(self) -> Tensor:
        return -self.spread.log().sum() - 3 * log(THIRD / 2)


def shipped_mapper() -> AlanineMapper:
    """The mapper whose weights come with the package: 300 K, Amber ff14SB in vacuum.

    Raises:
        StoreError: the file is damaged.
    """
    net = AlanineMapper()
    try:
        net.load_state_dict(load_file(WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise StoreError(f"{WEIGHTS} cannot be read ({error}); retrain=true makes new weights.") from error
    return net.eval()


def kept(net: AlanineMapper, path: Path) -> None:
    """Write the weights to a ``.safetensors`` file."""
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path)


@dataclass(frozen=True)
class RowLoss:
    """-log q of folded internal coordinates, for :func:`posteriori.learn.fit.fit`."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        assert isinstance(net, AlanineMapper)
        return -net.log_prob(rows[0])


def trained_mapper(m: Tensor, epochs: int, context: Context) -> AlanineMapper:
    """A mapper that has learnt folded internal coordinates (row, 60) of simulated frames; bonds of rest come later."""
    net = AlanineMapper(rng=context.rng.child("weights")).regressed(m)
    plan = Plan(epochs=epochs, batch=512, rate=3e-3, clip=5.0)
    fitted = fit(net, RowLoss(), (m.float(),), plan, context.child("fit")).net
    assert isinstance(fitted, AlanineMapper)
    return fitted


@dataclass(frozen=True)
class RigidAlanine:
    """The fine energy of alanine dipeptide with bonds at their lengths of rest.

    Attributes:
        terms: the force field.
        beta: 1 / RT [mol/kJ].
    """

    terms: ForceField
    beta: float

    def lengths(self) -> Tensor:
        """Lengths of rest [nm] in the order of the Z-matrix, (21,)."""
        rest = {frozenset((int(i), int(j))): r for i, j, _, r in self.terms.bonds}
        return torch.tensor([rest[frozenset(row[:2])] for row in ZMATRIX.rows[1:]], dtype=torch.float64)

    def energy(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """Energy in kT of folded internal coordinates (n, 60), volume element counted, and positions (n, 22, 3)."""
        internal = InternalCoordinates(ZMATRIX)
        coordinates = plain(m)
        x = internal(coordinates)
        return self.beta * MolecularMechanics(self.terms)(x) - internal.log_jacobian(coordinates), x
