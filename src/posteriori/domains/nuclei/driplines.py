"""Where nuclei stop holding together: P(bound), drip lines and the r-process path, from joint draws of all masses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.space import Space
from posteriori.domains.nuclei.chart import SYMBOLS, chart, nuclide_name, protons_neutrons
from posteriori.domains.nuclei.data import SMALLEST, evaluation
from posteriori.domains.nuclei.separation import QUANTITIES, separation_energy

TESTS = ("S_n", "S_2n", "S_p", "S_2p")
R_PROCESS = (2000.0, 3000.0)  # [keV] S_n at which neutron captures and their inverse balance in an r-process
QUANTILES = (0.05, 0.5, 0.95)


def closed(cells: Space, beyond: int = 4) -> Space:
    """``cells`` without holes: every chain of isotopes filled and ``beyond`` neutrons longer, and what losses leave.

    So every cell is judged, and a drip line that lies further out than the chart had thought still lies inside.
    """
    z, n = protons_neutrons(cells)
    nuclei = {
        (int(element), isotone)
        for element in np.unique(z)
        for isotone in range(int(n[z == element].min()), int(n[z == element].max()) + beyond + 1)
    }
    whole = nuclei | {left for nucleus in nuclei for left in _endangered(*nucleus) if min(left) >= SMALLEST}
    protons, neutrons = np.array(sorted(whole)).T
    return chart(protons, neutrons, cells.name, cells.unit)


def judged(cells: Space) -> Tensor:
    """Which cells can be told to be bound, booleans (nuclides,): what their losses leave is a cell too.

    A nucleus on the neutron-rich side of stability may lose one or two neutrons, one on the other side protons. What is
    left with fewer than eight of either need not be a cell: the lightest are endangered from the other side only.
    """
    nuclei = _nuclei(cells)
    here = [all(left in nuclei or min(left) < SMALLEST for left in _endangered(*nucleus)) for nucleus in _listed(cells)]
    return torch.tensor(here)


def bound(tables: Tensor, cells: Space) -> Tensor:
    """Whether S_n, S_2n, S_p and S_2p are all positive in each mass table (table, nuclides) [keV], booleans.

    A separation energy that needs a nucleus outside the chart counts as positive: ask :func:`judged`.
    """
    alive = torch.ones_like(tables, dtype=torch.bool)
    for name in TESTS:
        energy = separation_energy(cells, name)
        alive[:, cells.index("nuclide", energy.codomain.labels("nuclide"))] &= energy(tables) > 0
    return alive


def evaluators(year: int) -> pd.DataFrame:
    """What the signs of an evaluation's own separation energies say, extrapolated (#) ones included: Z, N, bound."""
    table = evaluation(year)
    cells = chart(table["Z"], table["N"])
    masses = torch.tensor(table["mass_excess"].to_numpy(np.float64))
    told = table[["Z", "N"]].assign(bound=bound(masses[None], cells)[0].numpy())
    nuclei = _nuclei(cells)
    whole = [all(left in nuclei for left in _endangered(*nucleus)) for nucleus in _listed(cells)]
    kept: pd.DataFrame = told[whole].reset_index(drop=True)
    return kept


def drip_lines(alive: Tensor, cells: Space, among: Tensor) -> pd.DataFrame:
    """First and last bound isotope of each element: one row a Z.

    Args:
        alive: ``bound`` of joint draws, (draw, nuclides).
        among: the cells that are judged.

    Columns ``proton drip N`` and ``neutron drip N``: medians over the draws of the N of the lightest and the heaviest
    bound isotope, with their 5 % and 95 % points; ``beyond the chart``: share of the draws in which the heaviest
    isotope of the chart is still bound, so that the line lies further out.
    """
    z, n = protons_neutrons(cells)
    rows = []
    for element in np.unique(z[among]):
        at = torch.from_numpy(np.flatnonzero((z == element) & among.numpy()))
        isotopes = torch.from_numpy(n)[at]
        here = alive[:, at]
        here = here[here.any(1)]
        if not len(here):
            continue
        first = torch.where(here, isotopes, isotopes.max() + 1).amin(1)
        last = torch.where(here, isotopes, -1).amax(1)
        row = {"Z": int(element), "element": SYMBOLS[element]}
        for name, line in (("proton drip N", first), ("neutron drip N", last)):
            low, middle, high = np.quantile(line.numpy(), QUANTILES, method="closest_observation")
            row |= {name: int(middle), f"{name} 5 %": int(low), f"{name} 95 %": int(high)}
        rows.append(row | {"beyond the chart": float((last == isotopes.max()).double().mean())})
    return pd.DataFrame(rows)


def on_path(
    tables: Tensor, cells: Space, quantity: str = "S_n", band: Sequence[float] = R_PROCESS
) -> tuple[Space, Tensor]:
    """P(low < ``quantity`` per neutron < high) of every nucleus that has it, (nuclides,), and their chart.

    ``quantity``: S_n, or S_2n, which no longer jumps between even and odd N.

    Raises:
        OptionError: an empty band.
    """
    low, high = band
    if not low < high:
        raise OptionError(f"the band of {quantity} from {low} to {high} keV is empty; give low < high.")
    energy = separation_energy(cells, quantity)
    neutrons = max(-dn for _, _, dn in QUANTITIES[quantity].terms)
    each = energy(tables) / neutrons
    return energy.codomain, ((each > low) & (each < high)).double().mean(0)


def path_table(probability: Tensor, cells: Space) -> pd.DataFrame:
    """The path through each element: its likeliest isotope, and how many isotopes the band holds on average, where."""
    z, n = protons_neutrons(cells)
    frame = pd.DataFrame({"Z": z, "N": n, "P": probability.numpy(), "NP": n * probability.numpy()})
    best = frame.loc[frame.groupby("Z")["P"].idxmax()].set_index("Z")
    sums = frame.groupby("Z")[["P", "NP"]].sum()
    crossed = sums.index[sums["P"] > 0]
    best, sums = best.loc[crossed], sums.loc[crossed]
    return pd.DataFrame(
        {
            "Z": crossed,
            "likeliest": [nuclide_name(int(a), int(b)) for a, b in zip(crossed, best["N"], strict=True)],
            "its probability": best["P"].to_numpy(),
            "isotopes in the band": sums["P"].to_numpy(),
            "mean N": (sums["NP"] / sums["P"]).to_numpy(),
        }
    )


def _endangered(z: int, n: int) -> list[tuple[int, int]]:
    """What is left of a nucleus after the one- and two-nucleon losses that threaten it."""
    neutron_rich = z < stable_protons(z + n)
    return [(z, n - 1), (z, n - 2)] if neutron_rich else [(z - 1, n), (z - 2, n)]


def stable_protons(nucleons: int) -> float:
    """Proton number of the most stable isobar, A / (1.98 + 0.0155 A^(2/3)), from the semi-empirical mass formula."""
    return nucleons / (1.98 + 0.0155 * nucleons ** (2 / 3))


def _listed(cells: Space) -> list[tuple[int, int]]:
    z, n = protons_neutrons(cells)
    return [(int(a), int(b)) for a, b in zip(z, n, strict=True)]


def _nuclei(cells: Space) -> set[tuple[int, int]]:
    return set(_listed(cells))
