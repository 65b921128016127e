"""What a leak is worth: the same formula, fitted with the answers and without."""

from __future__ import annotations

import numpy as np
import pandas as pd

from posteriori.core.errors import LeakError
from posteriori.domains.nuclei import data, law, models
from posteriori.physics.mass_conversions import ame_binding_energy

# 1. The package refuses a baseline that saw more than the training year.
try:
    law.choose("dz10+ws4", train=2003)
except LeakError as refusal:
    print(refusal)
print(f"free of leaks in 2003: {', '.join(models.leak_free(2003))}")


# 2. Semi-empirical formula, nine terms, by least squares on one evaluation.
def residual(table: pd.DataFrame, coefficients: np.ndarray) -> np.ndarray:
    """Binding energies less the formula [keV]."""
    z, n = table["Z"].to_numpy(), table["N"].to_numpy()
    columns = models.baseline("semf9").source.columns(z, n)
    return ame_binding_energy(z, n, table["mass_excess"].to_numpy()) - columns @ coefficients


def fitted(table: pd.DataFrame) -> np.ndarray:
    """Coefficients [keV]."""
    z, n = table["Z"].to_numpy(), table["N"].to_numpy()
    columns = models.baseline("semf9").source.columns(z, n)
    binding = ame_binding_energy(z, n, table["mass_excess"].to_numpy())
    return np.linalg.lstsq(columns, binding, rcond=None)[0]


def rms(values: np.ndarray) -> float:
    """Root mean square [keV]."""
    return float(np.sqrt((values**2).mean()))


later = data.measured(2020).merge(data.new_since(2003, 2020))
honest = rms(residual(later, fitted(data.measured(2003))))
leaky = rms(residual(later, fitted(data.measured(2020))))
print(f"{len(later)} new nuclei: {honest:.0f} keV without them in the fit, {leaky:.0f} keV with them")
print(f"share of the error that the leak hides [%] = {100 * (1 - leaky / honest):.1f}")
