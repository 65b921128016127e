"""Can these samples be trusted? Sound rows, rows that missed a well, and rows of another temperature, audited.

The energy is a double well. The audit knows identities that hold exactly of exp(-U), such as the virial <x ∂U> = number
of coordinates, and compares what chains say of each other. A well that no row has seen breaks no identity: only
independent rows, drawn another way, can tell, and here they do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import posteriori as po
from posteriori.audit.weighted_draws import Audit, Forward, audit_draws
from posteriori.core.covariance import DiagonalCovariance
from posteriori.inference.hmc import HMC
from posteriori.inference.replica_exchange import ReplicaExchange
from posteriori.physics.double_well import DoubleWell

potential = DoubleWell(barrier=6.0, tilt=0.3)
target = po.Boltzmann(potential, 1.0)
crossing = ReplicaExchange(draws=500, chains=8)
rows = po.infer(target, crossing, seed=0).values
other = Forward(po.infer(target, crossing, seed=1).values, chains=8)
warm = po.infer(po.Boltzmann(potential, 0.8), HMC(draws=500, chains=8), seed=0).values
well = po.Gaussian(
    target.space, torch.tensor([-2.4, 0.0]).double(), DiagonalCovariance(torch.full((2,), 0.01).double())
)
left = po.infer(target, HMC(draws=500, chains=8, steps=6, start=well), seed=0).values

audits: dict[str, Audit] = {
    "sound rows": audit_draws(target, rows, forward=other, chains=8),
    "chains that stay in one well": audit_draws(target, left, forward=other, chains=8),
    "rows at 1.25 times the temperature": audit_draws(target, warm, forward=other, chains=8),
}

figure, panels = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", sharey=True)
for axes, (name, audit), x in zip(panels, audits.items(), (rows, left, warm)):
    axes.hist(x[:, 0], torch.linspace(-4, 4, 41), density=True, color="0.75")
    axes.set(title=f"{name}: {audit.verdict.value}", xlabel="x")
    axes.title.set_fontsize(9)
panels[0].set_ylabel("density of rows")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "audited_rows.png", dpi=150)

for name, audit in audits.items():
    print(f"{name}: {audit.verdict.value}, {audit.reason}")
print(f"sets of rows that are refused or to be repaired = {sum(a.verdict.value != 'accept' for a in audits.values())}")
