"""What one wants to know beyond the measured region, written as text: ``Sn``, ``N82``, ``S_n@N82``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from posteriori.core.errors import OptionError
from posteriori.core.operator import Operator, Selection
from posteriori.core.space import Space
from posteriori.domains.nuclei.chart import SYMBOLS, distance_to, nuclide_name, protons_neutrons, whole_chart
from posteriori.domains.nuclei.separation import QUANTITIES, separation_energy

MASS = "mass"


@dataclass(frozen=True)
class Wanted:
    """One quantity of the unmeasured nuclei that continue one chain on its neutron-rich side.

    Args:
        quantity: ``mass`` or one of ``separation.QUANTITIES``.
        Z: the element, for isotopes of growing N; or
        N: the neutron number, for isotones of falling Z (where the r-process runs).
        span: how many nuclei.
    """

    quantity: str
    Z: int | None
    N: int | None
    span: int = 8

    @staticmethod
    def parse(text: str, span: int = 8) -> Wanted:
        """The goal that ``[quantity@]element`` or ``[quantity@]N82`` names.

        Raises:
            OptionError: the text names none.
        """
        quantity, at, chain = text.rpartition("@")
        quantity = quantity if at else MASS
        isotones = re.fullmatch(r"N(\d{1,3})", chain)
        if quantity in (MASS, *QUANTITIES) and span > 0:
            if isotones:
                return Wanted(quantity, None, int(isotones[1]), span)
            if chain in SYMBOLS[1:]:
                return Wanted(quantity, SYMBOLS.index(chain), None, span)
        raise OptionError(
            f"goal {text!r} with span {span} names nothing; write an element (Sn) or a neutron number (N82), with "
            f"one of {', '.join(QUANTITIES)} and @ in front for another quantity than the mass, and a span above 0."
        )

    def nuclei(self, known: Space) -> list[tuple[int, int]]:
        """(Z, N) of the nuclei meant, from the edge of the ``known`` region outwards.

        Raises:
            OptionError: no known nucleus, or none beyond that may be bound, on this chain.
        """
        z, n = protons_neutrons(known)
        chart = set(zip(*(a.tolist() for a in protons_neutrons(whole_chart())), strict=True))
        chain = (z == self.Z) if self.N is None else (n == self.N)
        if chain.any():
            steps = range(1, 200)
            if self.N is None:
                cells = [(int(z[chain][0]), int(n[chain].max()) + k) for k in steps]
            else:
                cells = [(int(z[chain].min()) - k, self.N) for k in steps]
            found = [cell for cell in cells if cell in chart][: self.span]
            if found:
                return found
        raise OptionError(f"{self} has no measured nucleus, or nothing beyond that may be bound; name another chain.")

    def cells(self, known: Space) -> list[tuple[int, int]]:
        """(Z, N) of every mass that the quantity is made of."""
        if self.quantity == MASS:
            return self.nuclei(known)
        terms = QUANTITIES[self.quantity].terms
        return sorted({(z + dz, n + dn) for z, n in self.nuclei(known) for _, dz, dn in terms})

    def operator(self, masses: Space, known: Space) -> Operator:
        """The map from ``masses``, which hold ``cells``, to the quantity at each of the nuclei whose partners exist."""
        names = [nuclide_name(z, n) for z, n in self.nuclei(known)]
        if self.quantity == MASS:
            return Selection.along(masses, "nuclide", [name for name in names if name in masses.labels("nuclide")])
        whole = separation_energy(masses, self.quantity)
        offered = set(whole.codomain.labels("nuclide"))
        return whole.select("nuclide", [name for name in names if name in offered])

    def __str__(self) -> str:
        chain = SYMBOLS[self.Z] if self.Z is not None else f"N{self.N}"
        return chain if self.quantity == MASS else f"{self.quantity}@{chain}"


def reachable(known: Space, steps: int) -> list[tuple[int, int]]:
    """(Z, N) of the unmeasured nuclei of the chart within ``steps`` of a known one."""
    whole = whole_chart()
    distance = distance_to(whole, known)
    z, n = protons_neutrons(whole)
    near = (distance > 0) & (distance <= steps)
    return list(zip(z[near].tolist(), n[near].tolist(), strict=True))
