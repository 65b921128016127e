"""A posterior bent like a banana: Hamiltonian Monte Carlo held against quadrature.

One datum tells the sum of one unknown and the square of another. No Gaussian fits what is left; HMC needs nothing but
the energy and its gradient. In two dimensions a fine grid gives the truth to compare with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import posteriori as po
from posteriori.core.covariance import DiagonalCovariance
from posteriori.core.operator import TorchOperator
from posteriori.inference.hmc import HMC


class Bend(TorchOperator):
    """y + x²: physics written in torch needs ``forward`` alone, both derivatives follow."""

    def __init__(self, plane: po.Space) -> None:
        super().__init__()
        self.domain, self.codomain = plane, po.Space("d", {"datum": 1})

    def forward(self, m: Tensor) -> Tensor:
        """(*batch, 2) → (*batch, 1)."""
        return m[..., 1:] + m[..., :1].square()


plane = po.Space("m", {"axis": ["x", "y"]})
prior = po.Gaussian(plane, torch.zeros(2).double(), DiagonalCovariance(torch.ones(2).double()))
target = po.Inverse(Bend(plane), prior, torch.tensor([1.0], dtype=torch.float64), 0.3)

posterior = po.infer(target, HMC(draws=500, warmup=300, chains=32, steps=16, accept=0.9), seed=0)
print(f"largest R̂ {float(posterior.rhat().max()):.4f}, least effective size {float(posterior.ess().min()):.0f}")

# The truth: exp(-energy) on a grid.
axis = torch.linspace(-4, 4, 401, dtype=torch.float64)
grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
density = torch.exp(-target.energy(grid))
density /= density.sum()
true_spread = (density * grid[..., 0].square()).sum().sqrt()

rows = posterior.values
figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
axes.plot(*rows[::4].mT, ".", color="C0", ms=2, alpha=0.5, label="every fourth draw")
heights = density.flatten().sort(descending=True).values
levels = [float(heights[(heights.cumsum(0) < share).sum()]) for share in (0.95, 0.68)]
axes.contour(axis, axis, density.mT, levels=levels, colors="black", linewidths=1)
axes.plot([], [], color="black", lw=1, label="68 % and 95 %, by quadrature")
axes.set(xlabel="x", ylabel="y", xlim=(-3.2, 3.2), ylim=(-3.5, 2.5))
axes.legend(frameon=False, loc="lower center")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder of the picture")
folder = parser.parse_args().out
folder.mkdir(parents=True, exist_ok=True)
figure.savefig(folder / "hmc_banana.png", dpi=150)

print(f"spread of x by quadrature {float(true_spread):.4f}")
print(f"spread of x by HMC = {float(rows[:, 0].square().mean().sqrt()):.4f}")
