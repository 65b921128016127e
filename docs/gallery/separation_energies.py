"""Neutron separation energies, with the covariance of the masses and without.

S_n is a difference of two masses. Errors of neighbouring unmeasured nuclei go together, so that much of them cancels;
adding their variances as if they were independent, as is done with tables that print one error a nucleus, throws that
away. ``posterior.map(operator)`` keeps it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import posteriori as po
from posteriori.core.covariance import DiagonalCovariance
from posteriori.domains.nuclei import data, problems
from posteriori.domains.nuclei.chart import chart, nuclide_name
from posteriori.domains.nuclei.separation import separation_energy
from posteriori.inference.exact import Exact

# Tin from AME2016, twelve isotopes beyond the last measured one included.
known = data.measured(2016)
last = int(known.loc[known["Z"] == 50, "N"].max())
beyond = [(50, n) for n in range(last + 1, last + 13)]
cells = chart([*known["Z"], *(z for z, _ in beyond)], [*known["N"], *(n for _, n in beyond)])
masses = po.infer(problems.masses(cells, known, "dz10", 2016), Exact())

# The same masses with the same errors, as if these were independent.
alone = po.Gaussian(masses.space, masses.location, DiagonalCovariance(masses.covariance.diagonal()))

n = np.arange(last - 7, last + 13)
operator = separation_energy(cells, "S_n").select("nuclide", [nuclide_name(50, int(k)) for k in n])
energies = masses.map(operator)
energy, joint, ignored = energies.mean() / 1e3, energies.std() / 1e3, alone.map(operator).std() / 1e3
unmeasured = n > last + 1  # both nuclei of the difference
narrower = 1 - float(joint[unmeasured].mean() / ignored[unmeasured].mean())

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.fill_between(n, energy - ignored, energy + ignored, color="C1", alpha=0.3, lw=0, label="covariance ignored")
axes.fill_between(n, energy - joint, energy + joint, color="C0", alpha=0.5, lw=0, label="joint law")
axes.plot(n, energy, color="C0")
axes.axvline(last + 0.5, color="black", lw=1)
axes.text(last + 0.7, 7.7, "not measured in 2016")
axes.axhline(0, color="black", lw=0.5)
axes.set(xlabel="neutrons in tin", ylabel="S_n [MeV], one standard deviation", xticks=np.arange(n.min(), 97, 2))
axes.legend(frameon=False, loc="lower left")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "separation_energies.png", dpi=150)

bound = energies.probability(lambda s: s > 0)["probability"].sel(nuclide="144Sn")
print(f"P(144Sn holds its last neutron) {float(bound):.2f}")
print(f"joint S_n intervals are narrower by [%] = {100 * narrower:.1f}")
