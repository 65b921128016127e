"""S_n of 140Sn by hand: two variances and what they have in common."""

from __future__ import annotations

import numpy as np

import posteriori as po
from posteriori.domains.nuclei import data, problems
from posteriori.domains.nuclei.chart import chart
from posteriori.domains.nuclei.separation import separation_energy
from posteriori.inference.exact import Exact

known = data.measured(2016)
beyond = list(range(86, 94))  # neutrons of the tin isotopes that nobody had measured
cells = chart([*known["Z"], *(50 for _ in beyond)], [*known["N"], *beyond])
masses = po.infer(problems.masses(cells, known, "dz10", 2016), Exact())

# S_n(Z, N) = M(Z, N-1) + M(n) - M(Z, N), so Var S_n = Var M(N-1) + Var M(N) - 2 Cov.
block = masses.cov(["139Sn", "140Sn"]).values
joint = np.sqrt(block[0, 0] + block[1, 1] - 2 * block[0, 1])
ignored = np.sqrt(block[0, 0] + block[1, 1])
correlation = block[0, 1] / np.sqrt(block[0, 0] * block[1, 1])
print(f"masses known to {np.sqrt(block[0, 0]):.0f} and {np.sqrt(block[1, 1]):.0f} keV, correlation {correlation:.3f}")
print(f"S_n known to {joint:.0f} keV; {ignored:.0f} keV with the covariance ignored")

# The operator does the same for the whole chart at once.
by_map = masses.map(separation_energy(cells, "S_n").select("nuclide", ["140Sn"])).std().item()
assert abs(by_map / joint - 1) < 1e-6
print(f"joint over ignored = {joint / ignored:.3f}")
