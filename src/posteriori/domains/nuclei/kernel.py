"""The law of what a mass formula misses: smooth, shell, odd-even, Wigner and isospin parts on the (N, Z) lattice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from posteriori.learn.kernels import Kernel, PositiveNumbers, matern32, matern52
from posteriori.learn.lattice import Lattice, LatticePart, lattice_sum

LATTICE = Lattice(reach_x=300, reach_y=140)

SPEC: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        # amplitudes [keV] at A = 100 (Wigner: at A = 40), lengths [nucleons]: (median, spread of the logarithm),
        # centred where AME1995, the first evaluation at hand, puts them
        "smooth": (600.0, 0.5),
        "smooth_n": (13.0, 0.3),
        "smooth_z": (10.0, 0.3),
        "smooth_fall": (0.55, 0.3),
        "local": (250.0, 0.5),
        "local_n": (3.5, 0.3),
        "local_z": (5.5, 0.3),
        "fall": (0.75, 0.3),
        "isotone": (240.0, 0.5),
        "isotone_n": (2.5, 0.3),
        "isotone_z": (14.0, 0.3),
        "isotope": (400.0, 0.5),
        "isotope_n": (5.3, 0.3),
        "isotope_z": (2.8, 0.3),
        "far": (600.0, 0.5),
        "far_a": (95.0, 0.3),
        "far_i": (34.0, 0.3),
        "parity_n": (90.0, 0.5),
        "parity_z": (90.0, 0.5),
        "parity_nz": (40.0, 0.5),
        "parity_length": (4.6, 0.3),
        "parity_fall": (0.72, 0.3),
        "nugget": (20.0, 0.5),
        "wigner": (350.0, 0.5),
        "wigner_parity": (240.0, 0.5),
        "wigner_a": (10.0, 0.3),
        "wigner_range": (1.85, 0.3),
        "isospin": (150.0, 0.5),
        "isospin_length": (4.5, 0.3),
    }
)
WIGNER_FALL = 0.7
A_REFERENCE, A_WIGNER = 100.0, 40.0


class ResidualKernel(Kernel):
    """Covariance [keV²] of the error of a mass formula at points (N, Z), (n, 2).

    All parts but ``isospin`` see a nucleus and its mirror as one, since the nuclear force nearly does: they act on
    (larger, smaller) of N and Z. The parts, each stationary up to an amplitude that falls as a power of A:
    ``smooth`` (Matérn 5/2), ``far`` (squared exponential in A and N - Z, for what lies beyond the known region),
    ``local`` (Matérn 3/2), ``isotone`` and ``isotope`` ridges (short along one axis, long
    along the other: shell closures), ``parity`` (odd-even staggering), ``wigner`` (a cusp at N = Z), ``isospin``
    (what tells mirrors apart) and a ``nugget`` of each nucleus alone.
    """

    def __init__(self, spec: Mapping[str, tuple[float, float]] = SPEC) -> None:
        super().__init__()
        self.numbers = PositiveNumbers(spec)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        folded = _folded(x)
        views = (folded, folded if x is y else _folded(y)), (x, y)
        parts = [part.between(x, y) for part in self._parts()]
        return lattice_sum(LATTICE, views, parts)

    def diagonal(self, x: Tensor) -> Tensor:
        at = LATTICE.reach_x, LATTICE.reach_y
        return sum((part.table[at] * part.amplitude(x) ** 2 for part in self._parts()), torch.zeros(len(x)).to(x))

    def _parts(self) -> list[_Part]:
        p = self.numbers.values()
        dn, dz = LATTICE.grid
        sign_n, sign_z = 1 - 2 * (dn.abs() % 2), 1 - 2 * (dz.abs() % 2)

        def distance(ln: Tensor, lz: Tensor) -> Tensor:
            return ((dn / ln).square() + (dz / lz).square() + 1e-20).sqrt()

        shell = (
            p["local"] ** 2 * matern32(distance(p["local_n"], p["local_z"]))
            + p["isotone"] ** 2 * matern32(dn.abs() / p["isotone_n"]) * matern52(dz.abs() / p["isotone_z"])
            + p["isotope"] ** 2 * matern32(dz.abs() / p["isotope_z"]) * matern52(dn.abs() / p["isotope_n"])
            + p["far"] ** 2 * torch.exp(-0.5 * (((dn + dz) / p["far_a"]) ** 2 + ((dn - dz) / p["far_i"]) ** 2))
        )
        staggering = p["parity_n"] ** 2 * sign_n + p["parity_z"] ** 2 * sign_z + p["parity_nz"] ** 2 * sign_n * sign_z
        parity = staggering * matern32(distance(p["parity_length"], p["parity_length"]))
        wigner = (p["wigner"] ** 2 + p["wigner_parity"] ** 2 * sign_n) * matern32((dn + dz).abs() / p["wigner_a"])
        return [
            _Part(p["smooth"] ** 2 * matern52(distance(p["smooth_n"], p["smooth_z"])), _power(p["smooth_fall"])),
            _Part(shell, _power(p["fall"])),
            _Part(parity + p["nugget"] ** 2 * LATTICE.origin(), _power(p["parity_fall"])),
            _Part(wigner * torch.exp(-(dn - dz).abs()), _cusp(p["wigner_range"])),
            _Part(
                p["isospin"] ** 2 * matern32(distance(p["isospin_length"], p["isospin_length"])),
                _power(p["fall"]),
                folded=False,
            ),
        ]

    @staticmethod
    def example() -> ResidualKernel:
        """The kernel at its first numbers."""
        return ResidualKernel()


@dataclass(frozen=True)
class _Part:
    """A stationary table times an amplitude at either point."""

    table: Tensor
    amplitude: Callable[[Tensor], Tensor]
    folded: bool = True

    def between(self, x: Tensor, y: Tensor) -> LatticePart:
        at_x = self.amplitude(x)
        return LatticePart(self.table, at_x, at_x if x is y else self.amplitude(y), 0 if self.folded else 1)


def _folded(x: Tensor) -> Tensor:
    """(larger, smaller) of (N, Z): a nucleus and its mirror are one point."""
    return x.sort(-1, descending=True).values


def _power(exponent: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: (x.sum(-1) / A_REFERENCE) ** -exponent


def _cusp(reach: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.exp(-(x[:, 0] - x[:, 1]).abs() / reach) * (x.sum(-1) / A_WIGNER) ** -WIGNER_FALL
