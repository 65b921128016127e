"""Trains the equivariant flow on DW4 and prints how much of what it draws counts.

Rows come from HMC (seed 100), training takes about two CPU minutes.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from posteriori import Boltzmann, Draws, Rng, infer
from posteriori.core import weights
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads
from posteriori.inference.augmented import Augmented
from posteriori.inference.hmc import HMC
from posteriori.learn.fit import fit
from posteriori.learn.flow.equivariant import EquivariantFlow
from posteriori.learn.plan import Plan
from posteriori.physics.centred import Centred
from posteriori.physics.pair_potential import DoubleWellPairs

WIDTH = 0.5
"""Of the auxiliary positions about the true ones."""
DRAWS = 10_000


class Loss:
    """-log q(x, a) with fresh auxiliary positions a, rows x."""

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,)."""
        (x,) = rows
        assert isinstance(net, EquivariantFlow)
        return -net.log_prob(torch.stack([x, x + WIDTH * torch.randn_like(x)], 1))


def main() -> None:
    """Sample, train, weigh."""
    energy = DoubleWellPairs()
    centre = Centred(energy.domain)
    target = Boltzmann(energy @ centre, 1.0)
    rows = infer(target, HMC(draws=40, warmup=200, chains=500, steps=12), seed=100)
    assert isinstance(rows, Draws)
    with Rng(100):
        flow = EquivariantFlow(centre, layers=10, width=32, size=2.5, reach=10.0).float()
    began = time.process_time()
    with fixed_threads():
        plan = Plan(epochs=20, batch=512, rate=4e-3, clip=5.0)
        net = fit(flow, Loss(), (rows.values.float(),), plan, Context(Rng(100))).net.double()
    assert isinstance(net, EquivariantFlow)
    with torch.no_grad():
        y, log_q = net.draw(DRAWS, Rng(5))
        log_w = -Augmented(target, WIDTH).energy(y) - log_q
    log_z, error = weights.log_mean_exp(log_w)
    share, k = float(weights.ess(log_w)) / DRAWS, float(weights.pareto_smooth(log_w)[1])
    print(f"{time.process_time() - began:.0f} CPU s, share {share:.3f}, k {k:.2f}, log Z {log_z:.3f} ± {error:.3f}")


if __name__ == "__main__":
    main()
