"""One isotopic chain of nuclear masses: what AME2016 knew, and what AME2020 measured first.

Known physics is the ten-term Duflo-Zuker formula with uncertain coefficients; what it misses is a Gaussian process over
the chart of nuclides whose numbers were set on AME1995. Nothing is fitted here but the linear coefficients, and nothing
later than 2016 is used. The study ``nuclei/masses`` fits the numbers too, and calibrates the law.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import posteriori as po
from posteriori.core.operator import Selection
from posteriori.domains.nuclei import data, problems
from posteriori.domains.nuclei.chart import SYMBOLS, nuclide_name
from posteriori.domains.nuclei.law import cells_of, names_of
from posteriori.inference.exact import Exact

# Measured masses of one evaluation, and the nuclei that a later one measured first.
before = data.measured(2016)
later = data.evaluation(2020).merge(data.new_since(2016, 2020))
cells = cells_of(before, later)

# The whole chart in one question: 2400 data, one Cholesky factor.
posterior = po.infer(problems.masses(cells, before, "dz10", 2016), Exact())
new = posterior.map(Selection.along(cells, "nuclide", names_of(later)))
error = new.mean().values - later["mass_excess"].to_numpy()
z = error / np.hypot(new.std().values, later["sigma"].to_numpy())
print(f"{len(error)} new nuclei, root mean square of z {np.sqrt((z**2).mean()):.2f}")

# The element with most new masses, less a parabola through its mean so that something is to be seen.
element = int(later["Z"].mode().iloc[0])
chain = np.sort(cells.extra["N"][1][cells.extra["Z"][1] == element])
labels = [nuclide_name(element, int(n)) for n in chain]
mean, sd = (array.sel(nuclide=labels).values for array in (posterior.mean(), posterior.std()))
parabola = np.polyfit(chain, mean, 2)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
trend = np.polyval(parabola, chain)
axes.fill_between(chain, *((mean + k * sd - trend) / 1e3 for k in (-1.64, 1.64)), color="C0", alpha=0.25, lw=0)
axes.plot(chain, (mean - trend) / 1e3, color="C0", label="posterior mean, 90 % band")
for table, style, name in ((before, "k.", "AME2016"), (later, "rs", "first measured in AME2020")):
    own = table[table["Z"] == element]
    heights = (own["mass_excess"] - np.polyval(parabola, own["N"])) / 1e3
    axes.errorbar(own["N"], heights, own["sigma"] / 1e3, fmt=style, ms=5, label=name)
axes.set(xlabel=f"neutrons in {SYMBOLS[element]}", ylabel="mass excess less a parabola [MeV]")
axes.legend(frameon=False)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "isotopic_chain.png", dpi=150)

print(f"rms error of the new masses [keV] = {np.sqrt((error**2).mean()):.1f}")
