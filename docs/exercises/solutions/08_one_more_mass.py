"""One more measured mass: what it does to its neighbours, without a refit."""

from __future__ import annotations

import torch

import posteriori as po
from posteriori.core.operator import Selection
from posteriori.domains.nuclei import data, problems
from posteriori.domains.nuclei.law import cells_of
from posteriori.inference.exact import Exact

# Tin and its neighbours as AME2016 knew them, without 134Sn and 135Sn; then 134Sn is measured (again).
table = data.measured(2016)
near = table[table["Z"].between(44, 56)]
hidden = (near["Z"] == 50) & near["N"].isin([84, 85])
cells = cells_of(near)
target = problems.masses(cells, near[~hidden], "semf5", 2016)
before = po.infer(target, Exact())

value = near[(near["Z"] == 50) & (near["N"] == 84)].iloc[0]
one = Selection.along(cells, "nuclide", ["134Sn"])
datum = torch.tensor([value["mass_excess"]], dtype=torch.float64)
after = po.infer(po.Inverse(one, before, datum, float(value["sigma"])), Exact())

# The same by conditioning anew on everything.
again = near[~hidden | (near["N"] == 84)]
anew = po.infer(problems.masses(cells, again, "semf5", 2016), Exact())
for name in ("134Sn", "135Sn", "133Sn"):
    sd = [law.std().sel(nuclide=name).item() for law in (before, after, anew)]
    print(f"{name}: standard deviation {sd[0]:.1f} keV before, {sd[1]:.1f} after, {sd[2]:.1f} anew")

left = after.std().sel(nuclide="135Sn").item() / before.std().sel(nuclide="135Sn").item()
print(f"135Sn keeps of its standard deviation = {left:.3f}")
