"""Energy differences that a later evaluation measured first: what separation energies are scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.core.covariance import DiagonalCovariance, SumCovariance
from posteriori.core.gaussian import Gaussian
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.domains.nuclei import data
from posteriori.domains.nuclei.law import names_of
from posteriori.domains.nuclei.separation import QUANTITIES, separation_energy


def later_pairs(quantity: str, train: int, test: int) -> pd.DataFrame:
    """Nuclei (Z, N) whose ``quantity`` the ``test`` evaluation measured and the ``train`` one had not.

    Column ``unmeasured``: how many of the nuclei that the quantity is made of ``train`` had not measured, at least 1.
    """
    data.ordered(train, test)
    before, after = (_nuclei(data.measured(year)) for year in (train, test))
    rows = []
    for z, n in sorted(after):
        made_of = {(z + dz, n + dn) for _, dz, dn in QUANTITIES[quantity].terms}
        if made_of <= after and not made_of <= before:
            rows.append((z, n, len(made_of - before)))
    return pd.DataFrame(rows, columns=["Z", "N", "unmeasured"])


def made_of(pairs: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """All nuclei (Z, N) that the ``quantity`` of the given ones is made of."""
    terms = QUANTITIES[quantity].terms
    shifted = [pd.DataFrame({"Z": pairs["Z"] + dz, "N": pairs["N"] + dn}) for _, dz, dn in terms]
    return pd.concat(shifted).drop_duplicates().reset_index(drop=True)


@dataclass(frozen=True)
class Held:
    """A law of masses beside the later values of the same nuclei.

    Args:
        law: of the true masses [keV].
        masses: the later values (n,) [keV] in the order of the law's cells.
        sigma: their standard deviations [keV].
    """

    law: Gaussian
    masses: Tensor
    sigma: Tensor

    @staticmethod
    def against(law: Gaussian, test: int) -> Held:
        """``law`` beside what the ``test`` evaluation measured; every cell must be measured there."""
        table = data.measured(test)
        found = table.set_index(names_of(table)).loc[law.space.labels("nuclide")]
        mass, sigma = (torch.tensor(found[name].to_numpy(np.float64)) for name in ("mass_excess", "sigma"))
        with torch.no_grad():
            whole = Gaussian(law.space, law.location, law.dense())
        return Held(whole, mass, sigma)

    def ignoring_covariance(self) -> Held:
        """The same with independent masses of the same spread."""
        alone = DiagonalCovariance(self.law.covariance.diagonal())
        return Held(Gaussian(self.law.space, self.law.location, alone), self.masses, self.sigma)

    def energies(self, quantity: str, pairs: pd.DataFrame) -> Energies:
        """The law of the ``quantity`` of ``pairs`` (those all of whose nuclei are cells), beside the later values."""
        operator = of_pairs(self.law.space, quantity, pairs)
        later = Gaussian(
            self.law.space, self.law.location, SumCovariance(self.law.covariance, DiagonalCovariance(self.sigma**2))
        )
        law, seen = self.law.map(operator), later.map(operator)
        assert isinstance(law, Gaussian)
        assert isinstance(seen, Gaussian)
        return Energies(law, seen, operator(self.masses))


@dataclass(frozen=True)
class Energies:
    """The law of true energies, that of measured ones (pairs share errors of masses), the later values [keV]."""

    law: Gaussian
    seen: Gaussian
    values: Tensor


def of_pairs(masses: Space, quantity: str, pairs: pd.DataFrame) -> Operator:
    """The operator from masses to the ``quantity`` of those ``pairs`` all of whose nuclei are cells."""
    whole = separation_energy(masses, quantity)
    names = names_of(pairs)
    return whole.select("nuclide", names[np.isin(names, whole.codomain.labels("nuclide"))])


def _nuclei(table: pd.DataFrame) -> set[tuple[int, int]]:
    return {(int(z), int(n)) for z, n in zip(table["Z"], table["N"], strict=True)}
