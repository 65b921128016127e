"""Rigid molecules in heat, by their centres and orientations."""

from __future__ import annotations

from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.target import Target


class RigidBoltzmann(Target):
    """exp(-beta · potential(bodies(y))) over centres and quaternions y, each quaternion weighted by a standard normal.

    The normal weight makes rotations uniform where the potential does not speak: the law of the positions is that of
    the surface of rigid molecules, without any constraint to keep.

    Args:
        potential: an Operator onto a scalar energy.
        bodies: coordinates with a part ``turn`` → positions: :class:`~posteriori.physics.rigid_body.RigidBodies`.
        beta: 1 / (k T) in the inverse unit of the potential.
    """

    def __init__(self, potential: Operator, bodies: Operator, beta: float) -> None:
        super().__init__()
        if not 0 < beta < float("inf"):
            raise OptionError(f"beta={beta:g} must be positive and finite: a temperature above zero.")
        if potential.codomain.size != 1 or "turn" not in [part.name for part in bodies.domain.parts]:
            raise ShapeError(f"{potential} must give one number, and {bodies} take quaternions as its part 'turn'.")
        self.potential, self.bodies, self.beta = potential @ bodies, bodies, beta
        self.space = bodies.domain

    def energy(self, x: Tensor) -> Tensor:
        """beta · U + ½ |q|², float64 (*batch,)."""
        turn = self.space.split(x)["turn"]
        heat = self.beta * self.potential.codomain.flat(self.potential(x))[..., 0].double()
        return heat + 0.5 * turn.double().square().sum((-2, -1))
