"""A target as compiled samplers see it: flat numbers, one compiled energy, and the way back to its Space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import UnanswerableError
from posteriori.core.noise import Normal
from posteriori.core.operator import Compose, Operator
from posteriori.core.prior import GaussianLaw
from posteriori.core.space import Space
from posteriori.core.support import Real
from posteriori.core.target import Boltzmann, Inverse, Target
from posteriori.inference.curvature import gradient
from posteriori.physics.centred import Centred
from posteriori.physics.compiled import Compiled, CompiledEnergy, Floats, energy_jit


@dataclass(frozen=True)
class Moving:
    """One density exp(-beta U) of flat numbers.

    Attributes:
        space: of the target's values.
        energy: U, in compiled code.
        beta: 1 / kT.
        centred: from the target's values to positions that sum to zero; None where the values are what moves.
    """

    space: Space
    energy: CompiledEnergy
    beta: float
    centred: Centred | None = None

    @property
    def size(self) -> int:
        """Numbers that move."""
        return self.space.size if self.centred is None else self.centred.codomain.size

    @property
    def axes(self) -> int:
        """Numbers of one particle where the centre of mass rests; else 0."""
        return 0 if self.centred is None else self.centred.codomain.shape[1]

    def numbers(self, values: Tensor) -> Floats:
        """What moves (batch, n) for values (batch, *space.shape)."""
        x = values if self.centred is None else self.centred(values)
        return np.ascontiguousarray(x.detach().cpu().double().reshape(len(values), -1).numpy())

    def values(self, x: Floats) -> Tensor:
        """The target's values (batch, *space.shape) of what moves (batch, n)."""
        if self.centred is None:
            return self.space.unflat(torch.from_numpy(x))
        return self.centred.coordinates(self.centred.codomain.unflat(torch.from_numpy(x)))


def moving(target: Target, who: str) -> list[Moving]:
    """The compiled form of each problem of ``target``.

    That is a ``Boltzmann`` of a potential that is :class:`~posteriori.physics.compiled.Compiled`, or of such a
    potential of centred positions (``potential @ Centred(potential.domain)``), or a linear-Gaussian question.

    Raises:
        UnanswerableError: the target has no compiled form, or its temperature is not positive.
    """
    if isinstance(target, Boltzmann):
        return [_boltzmann(target, who)]
    if isinstance(target, Inverse) and _quadratic(target):
        return _problems(target)
    raise UnanswerableError(
        f"{who} moves in compiled energies, and {type(target).__name__} of this kind has none: give "
        "Boltzmann(potential, beta) of a potential with compiled(), or take HMC or ReplicaExchange."
    )


def offers_compiled(target: Target) -> bool:
    """Whether :func:`moving` has an answer."""
    if not isinstance(target, Boltzmann):
        return isinstance(target, Inverse) and _quadratic(target)
    return isinstance(_taken_apart(target.potential)[0], Compiled)


def _taken_apart(potential: Operator) -> tuple[Operator, Centred | None]:
    """The potential and the map onto centred positions before it, if there is one."""
    inner = potential.inner if isinstance(potential, Compose) else None
    if isinstance(potential, Compose) and isinstance(inner, Centred):
        return potential.outer, inner
    return potential, None


def _boltzmann(target: Boltzmann, who: str) -> Moving:
    potential, centred = _taken_apart(target.potential)
    if not isinstance(potential, Compiled):
        raise UnanswerableError(
            f"{who} moves in compiled energies and {type(potential).__name__} offers none; take HMC or "
            "ReplicaExchange, or give the potential a compiled()."
        )
    if not (target.beta > 0 and np.isfinite(target.beta)):
        raise UnanswerableError(f"beta = {target.beta:g} is no temperature that {who} can hold; it must be positive.")
    return Moving(target.space, potential.compiled(), float(target.beta), centred)


def _quadratic(target: Inverse) -> bool:
    return (
        target.operator.linear
        and isinstance(target.prior, GaussianLaw)
        and isinstance(target.noise, Normal)
        and isinstance(target.space.support, Real)
        and not target.space.parts
    )


def _problems(target: Inverse) -> list[Moving]:
    """½ xᵀ H x + bᵀ x of each problem; H and b from gradients, which are linear in x."""
    space, batch = target.space, target.batch
    n = space.size
    points = torch.cat([torch.zeros(1, n), torch.eye(n)]).double()
    flat = points.reshape(n + 1, *(1,) * len(batch), n).expand(n + 1, *batch, n).clone().requires_grad_()
    with torch.enable_grad():
        slope = space.flat(gradient(target.energy(space.unflat(flat)), flat)).detach().double()
    slope = slope.reshape(n + 1, -1, n).cpu()
    found = []
    for b, rows in zip(slope[0], (slope[1:] - slope[0]).transpose(0, 1), strict=True):
        symmetric = (rows + rows.mT) / 2
        found.append(Moving(space, CompiledEnergy(_bowl, torch.cat([b, symmetric.flatten()]).numpy()), 1.0))
    return found


@energy_jit
def _bowl(x: Floats, parameters: Floats, g: Floats) -> float:
    """½ xᵀ H x + bᵀ x; the parameters are b, then H row by row."""
    n = x.size
    energy = 0.0
    for i in range(n):
        pull = 0.0
        for j in range(n):
            pull += parameters[n + n * i + j] * x[j]
        energy += x[i] * (0.5 * pull + parameters[i])
        g[i] = pull + parameters[i]
    return energy
