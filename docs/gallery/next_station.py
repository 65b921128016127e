"""Where to put gravity stations to know one zone: a designed survey beside regular ones.

Of a Gaussian law the variance that a survey leaves does not depend on what it will measure. So surveys can be compared
before anybody goes out: of the density in one zone, what does each leave?
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import posteriori as po
from posteriori.core.operator import Selection
from posteriori.decide.goals import TotalVariance
from posteriori.decide.next_observation import next_observation
from posteriori.domains.geophysics.design import Zone
from posteriori.domains.geophysics.pictures import draw_section
from posteriori.domains.picture import Colours
from posteriori.inference.exact import Exact
from posteriori.learn.smoothness import Smoothness
from posteriori.physics.section_gravity import SectionGravity

# A section 18 km long; stations may stand every 200 m along its inner 12 km; the zone lies 0.3 to 0.9 km deep.
z, x = 75.0 + 150.0 * np.arange(16), -2850.0 + 300.0 * np.arange(60)
section = po.Space("density", {"z": z, "x": x}, unit="kg/m^3")
line = 200.0 * np.arange(61)
candidates = SectionGravity(section, line)
prior = Smoothness(section, 50.0, {"z": 400.0, "x": 800.0}).requires_grad_(False)
belief = po.Gaussian(section, prior.location, prior.covariance)
zone = Zone(top=300.0, bottom=900.0, left=6000.0, right=9000.0).cells(section)
NOISE = 0.05  # mGal

ranking = next_observation(belief, candidates, NOISE, TotalVariance(zone), count=12)


def survey(stations: list[int]) -> po.Gaussian:
    """What is known once ``stations`` (positions on the line) are measured; its spread needs no data."""
    mask = torch.zeros(len(line), dtype=torch.bool)
    mask[stations] = True
    some = Selection.where(candidates.codomain, mask) @ candidates
    return po.infer(po.Inverse(some, belief, torch.zeros(some.codomain.shape).double(), NOISE), Exact())


def error(stations: list[int]) -> float:
    """Root mean variance [kg/m³] of the zone's cells after a survey."""
    return float(zone(survey(stations).spread()).square().mean().sqrt())


chosen = ranking.chosen.tolist()
designed = [error(chosen[:n]) for n in range(1, 13)]
regular = [error(np.round(60 * (np.arange(n) + 0.5) / n).astype(int).tolist()) for n in range(1, 31)]
matched = 1 + next(n for n, found in enumerate(regular) if found <= designed[5])

figure = Figure(figsize=(8, 6), layout="constrained")
top, bottom = figure.subplots(2, 1)
top.plot(range(1, 31), regular, "o-", ms=3, color="C1", label="regular along the line")
top.plot(range(1, 13), designed, "o-", ms=3, color="C0", label="designed, one after the other")
top.set(xlabel="number of stations", ylabel="expected error\nin the zone [kg/m³]")
top.legend(frameon=False)
share = survey(chosen[:6]).spread() / prior.covariance.diagonal().sqrt().reshape(section.shape)
draw_section(bottom, share, z, x, Colours("share of prior s.d. left", 0, 1))
bottom.plot([6, 9, 9, 6, 6], [300, 300, 900, 900, 300], color="white")
bottom.plot(line[chosen[:6]] / 1000, np.zeros(6), "v", color="C3", clip_on=False)
for order, station in enumerate(chosen[:6], 1):
    bottom.annotate(str(order), (line[station] / 1000, -120), ha="center", annotation_clip=False, fontsize=8)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "next_station.png", dpi=150)

print(f"6 designed stations leave {designed[5]:.2f} kg/m³, 6 regular ones {regular[5]:.2f}")
print(f"regular stations that match 6 designed ones = {matched}")
