"""How far AME1995 had been off where AME2003 knew better, in units of the errors quoted then."""

from __future__ import annotations

import numpy as np

from posteriori.domains.nuclei import data

both = data.measured(1995).merge(data.measured(2003), on=["Z", "N"], suffixes=("_old", "_new"))

# Values that were measured anew: the error fell to less than half, so that the change is mostly the old value's fault.
again = both[both["sigma_new"] < 0.5 * both["sigma_old"]]
z = ((again["mass_excess_new"] - again["mass_excess_old"]) / again["sigma_old"]).to_numpy()
moved = {(int(Z), int(N)): value for Z, N, value in zip(again["Z"], again["N"], z)}


def together(step: int) -> float:
    """Correlation of z between nuclei that are ``step`` protons and as many neutrons apart."""
    pairs = [(value, moved[Z - step, N - step]) for (Z, N), value in moved.items() if (Z - step, N - step) in moved]
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


print(f"{len(z)} values measured anew; half of them moved by more than {np.median(np.abs(z)):.2f} sigma (0.67 is due)")
print(f"a tenth moved by more than {np.quantile(np.abs(z), 0.9):.1f} sigma (1.64 is due)")
print(f"correlation between nuclei one α decay apart {together(2):.2f}, one proton and one neutron {together(1):.2f}")
print(f"rms of the change in quoted sigma = {np.sqrt((z**2).mean()):.2f}")
