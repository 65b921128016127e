"""What physics says a nucleus is like: the features that learners of mass residuals are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core.errors import DataError
from posteriori.core.space import Space
from posteriori.domains.nuclei.chart import MAGIC_NEUTRONS, MAGIC_PROTONS, protons_neutrons

Numbers = NDArray[np.float64]

# shells end at the closures of the chart; below lies an empty one, above those that shell models expect
PROTON_CLOSURES = (0, *MAGIC_PROTONS, 126)
NEUTRON_CLOSURES = (0, *MAGIC_NEUTRONS, 258, 308)
SHELL_REACH = 4.0
"""Nucleons from a closure over which its effect on a mass falls to 1/e."""


@dataclass(frozen=True)
class Shell:
    """Where a number of like nucleons stands in its shell; every field (n,).

    Attributes:
        index: closures passed, so that equal distances in different shells can be told apart.
        above: nucleons above the closure below.
        below: holes up to the closure above, counted negative: the signed distance.
        valence: nucleons or holes to the nearest closure, whichever are fewer.
    """

    index: Numbers
    above: Numbers
    below: Numbers
    valence: Numbers

    @staticmethod
    def of(count: NDArray[np.int64], closures: tuple[int, ...]) -> Shell:
        """Of each number of nucleons.

        Raises:
            DataError: a number outside the closures.
        """
        edges = np.asarray(closures)
        if count.size and not (edges[0] <= count.min() and count.max() < edges[-1]):
            raise DataError(
                f"{count.min()} to {count.max()} like nucleons reach beyond the shells from {edges[0]} to "
                f"{edges[-1] - 1}; take a smaller chart."
            )
        index = np.searchsorted(edges, count, side="right") - 1
        above, below = count - edges[index], count - edges[index + 1]
        fewer = np.minimum(above, -below)
        return Shell(*(a.astype(np.float64) for a in (index, above, below, fewer)))

    @property
    def nearest(self) -> Numbers:
        """Signed distance to the nearest closure, positive above it (and in the middle of a shell)."""
        return np.where(self.above <= -self.below, self.above, self.below)


def feature_table(cells: Space) -> Mapping[str, Numbers]:
    """Name → value of each nucleus of a chart, (n,), unscaled.

    * ``N``, ``Z``, ``A``, ``A_third`` = A^(1/3); ``I`` = (N - Z) / A, ``I2`` = I², ``excess`` = N - Z.
    * ``odd_N``, ``odd_Z`` (1 for odd), ``pairing`` = ((-1)^N + (-1)^Z) / 2.
    * for protons ``p_`` and neutrons ``n_``: ``shell`` (closures passed), ``above`` and ``below`` (signed distances to
      the closures on both sides), ``nearest`` (the smaller), ``valence`` (its size), ``closure`` =
      exp(-valence / 4), ``filling`` = sin(π above / shell size).
    * ``casten``: P = ν_p ν_n / (ν_p + ν_n), 0 at a double closure; ``bosons`` = ν_p + ν_n.
    * ``wigner`` = exp(-|N - Z| / 3).

    Reference: Casten, Brenner & Haustein (1987), Valence p-n interactions and the development of collectivity in heavy
    nuclei, Phys. Rev. Lett. 58, 658.
    """
    z, n = protons_neutrons(cells)
    a, excess = (z + n).astype(np.float64), (n - z).astype(np.float64)
    table: dict[str, Numbers] = {
        "N": n.astype(np.float64),
        "Z": z.astype(np.float64),
        "A": a,
        "A_third": np.cbrt(a),
        "I": excess / a,
        "I2": (excess / a) ** 2,
        "excess": excess,
        "odd_N": (n % 2).astype(np.float64),
        "odd_Z": (z % 2).astype(np.float64),
        "pairing": (1.0 - n % 2 - z % 2).astype(np.float64),
    }
    protons, neutrons = Shell.of(z, PROTON_CLOSURES), Shell.of(n, NEUTRON_CLOSURES)
    for letter, shell in (("p", protons), ("n", neutrons)):
        table |= {
            f"{letter}_shell": shell.index,
            f"{letter}_above": shell.above,
            f"{letter}_below": shell.below,
            f"{letter}_nearest": shell.nearest,
            f"{letter}_valence": shell.valence,
            f"{letter}_closure": np.exp(-shell.valence / SHELL_REACH),
            f"{letter}_filling": np.sin(np.pi * shell.above / (shell.above - shell.below)),
        }
    valence = protons.valence + neutrons.valence
    table["casten"] = protons.valence * neutrons.valence / np.maximum(valence, 1.0)
    table["bosons"] = valence
    table["wigner"] = np.exp(-np.abs(excess) / 3.0)
    return table


def features(cells: Space) -> Tensor:
    """All of :func:`feature_table` as columns, float64 (n, f); the first two are N and Z.

    Unscaled: trees need none, and nets standardise what they are given on their own training rows.
    """
    return torch.from_numpy(np.column_stack(list(feature_table(cells).values())))
