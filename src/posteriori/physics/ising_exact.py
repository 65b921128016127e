"""What is known exactly of the Ising model: the finite torus, the ring, and every state of a small lattice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import asinh, atanh, log, pi, tanh

import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.physics.ising import Ising

CRITICAL = asinh(1.0) / 2
"""The coupling J / kT at which the infinite square lattice orders: ln(1 + √2) / 2."""
MOST_STATES = 2**20


@dataclass(frozen=True)
class Thermodynamics:
    """log Z, mean energy U [J] and heat capacity K² Var U [k], each per site, at one coupling."""

    log_z: float
    energy: float
    heat_capacity: float


def torus(rows: int, columns: int, coupling: float) -> Thermodynamics:
    """Kaufman's solution of the rows × columns torus at ``coupling`` K = J / kT > 0.

    Reference: Kaufman (1949), Crystal statistics II, Phys. Rev. 76, 1232; Ferdinand & Fisher (1969), Phys. Rev. 185,
    832.
    """
    _require(coupling)
    return _derived(lambda k: _kaufman(rows, columns, k), coupling, rows * columns)


def ring(sites: int, coupling: float) -> Thermodynamics:
    """The ring of ``sites`` spins: Z = (2 cosh K)ⁿ + (2 sinh K)ⁿ."""
    _require(coupling)
    return _derived(lambda k: sites * _log_2cosh(k) + (1 + k.tanh() ** sites).log(), coupling, sites)


def decimated(coupling: float) -> float:
    """The coupling of every second spin of a chain: tanh K' = tanh² K."""
    return atanh(tanh(coupling) ** 2)


def states(sites: int) -> Tensor:
    """All 2ⁿ configurations of ``sites`` spins ±1, float64 (2ⁿ, n); of state i, spin j follows bit j.

    Raises:
        OptionError: more states than can be listed.
    """
    if 2**sites > MOST_STATES:
        raise OptionError(f"{sites} spins have 2^{sites} states; at most 20 spins can be enumerated.")
    bits = torch.arange(2**sites)[:, None] >> torch.arange(sites) & 1
    return 2.0 * bits.double() - 1


def enumerated(shape: Sequence[int], coupling: float) -> tuple[Tensor, Tensor, float]:
    """All states (2ⁿ, n) of a small lattice, their probabilities (2ⁿ,) and log Z, not per site."""
    _require(coupling)
    model = Ising(shape)
    spins = states(model.domain.size)
    energy = coupling * model(model.domain.unflat((spins + 1) / 2))
    log_z = torch.logsumexp(-energy, 0)
    return spins, (-energy - log_z).exp(), float(log_z)


def _require(coupling: float) -> None:
    if not 0 < coupling < 5:
        raise OptionError(f"coupling J / kT = {coupling:g}; it lies between 0 and 5, the temperature above 0.2 J / k.")


def _derived(log_z: Callable[[Tensor], Tensor], coupling: float, sites: int) -> Thermodynamics:
    """log Z and its first two derivatives."""
    k = torch.tensor(coupling, dtype=torch.float64, requires_grad=True)
    value = log_z(k)
    (slope,) = torch.autograd.grad(value, k, create_graph=True)
    (bend,) = torch.autograd.grad(slope, k)
    found = [float(number.detach()) / sites for number in (value, slope, bend)]
    return Thermodynamics(found[0], -found[1], coupling**2 * found[2])


def _kaufman(rows: int, columns: int, k: Tensor) -> Tensor:
    """log Z; γ₀ = 2K + ln tanh K keeps its sign, which changes at the critical coupling."""
    first = 2 * k + k.tanh().log()
    angle = pi * torch.arange(2 * columns, dtype=torch.float64) / columns
    gamma = torch.acosh((2 * k).cosh() / (2 * k).tanh() - angle[1:].cos())
    odd, even = gamma[0::2], gamma[1::2]
    half = rows / 2
    terms = [
        _log_2cosh(half * odd).sum(),
        _log_2sinh(half * odd).sum(),
        _log_2cosh(half * even).sum() + _log_2cosh(half * first),
        _log_2sinh(half * even).sum() + _log_2cosh(half * first),
    ]
    top = terms[0].detach()
    total = sum((term - top).exp() for term in terms[:3]) + (half * first).tanh() * (terms[3] - top).exp()
    return -log(2) + rows * columns / 2 * _log_2sinh(2 * k) + top + torch.as_tensor(total).log()


def _log_2cosh(x: Tensor) -> Tensor:
    return torch.logaddexp(x, -x)


def _log_2sinh(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-2 * x))
