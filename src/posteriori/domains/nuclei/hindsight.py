"""What measuring in a chosen order would have brought: the nuclei measured since, measured again one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Gate
from posteriori.core.gaussian import Gaussian
from posteriori.core.noise import Normal
from posteriori.core.operator import Selection
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.decide.goals import Information, TotalVariance
from posteriori.decide.next_observation import next_observation
from posteriori.decide.replay import needed, replay
from posteriori.domains.nuclei.law import names_of

if TYPE_CHECKING:
    from matplotlib import figure

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the first error at which the orders are compared."""
MODEL_ERROR = 20.0  # [keV] that no later value is trusted beyond
ORDERS, SPLITS, HALF_ORDERS = 200, 20, 20


@dataclass(frozen=True)
class Hindsight:
    """The nuclei measured since: their law before, their masses now, and three orders of measuring them."""

    law: Gaussian
    mass: Tensor
    sigma: Tensor
    planned: float

    @staticmethod
    def of(masses: Gaussian, later: pd.DataFrame, planned: float) -> Hindsight:
        later = later[np.isin(names_of(later), masses.space.labels("nuclide"))]
        part = masses.map(Selection.along(masses.space, "nuclide", names_of(later)))
        assert isinstance(part, Gaussian)
        mass, sigma = (torch.tensor(later[name].to_numpy(np.float64)) for name in ("mass_excess", "sigma"))
        return Hindsight(part, mass, torch.hypot(sigma, torch.tensor(MODEL_ERROR, dtype=torch.float64)), planned)

    def curves(self, context: Context) -> dict[str, Tensor]:
        """Root mean square error [keV] (orders, measured + 1) of each kind of order."""
        every = Selection.along(self.law.space, "nuclide", self.law.space.labels("nuclide"))
        return self._curves(every, TotalVariance(), ORDERS, self.mass, context.rng.child("orders"))

    def held_out(self, context: Context) -> dict[str, Tensor]:
        """The same for goals that are never measured: half of the nuclei, the others being the candidates.

        Mean over the sequence as a share of the first error, (splits,).
        """
        n, found = len(self.mass), []
        names = self.law.space.labels("nuclide")
        for k in range(SPLITS):
            rng = context.rng.child("splits", k)
            order = rng.permutation(n)
            half = Selection.along(self.law.space, "nuclide", names[order[: n // 2].numpy()])
            goal = Selection.along(self.law.space, "nuclide", names[order[n // 2 :].numpy()])
            truth = torch.full_like(self.mass, torch.nan).index_copy(0, goal.index, self.mass[goal.index])
            curves = self._curves(half, TotalVariance(goal), HALF_ORDERS, truth, rng)
            found.append({name: (c.mean(-1) / c[:, 0]).mean() for name, c in curves.items()})
        return {name: torch.stack([split[name] for split in found]) for name in found[0]}

    def _curves(
        self, candidates: Selection, goal: TotalVariance, orders: int, truth: Tensor, rng: Rng
    ) -> dict[str, Tensor]:
        n = candidates.codomain.size
        noise = Normal(self.sigma[candidates.index])
        chosen = {
            "greedy": next_observation(self.law, candidates, self.planned, goal, count=n).chosen[None],
            "largest variance": next_observation(self.law, candidates, self.planned, Information(), count=n).chosen[
                None
            ],
            "random": torch.stack([rng.child(k).permutation(n) for k in range(orders)]),
        }
        data = self.mass[candidates.index]
        return {name: replay(self.law, candidates, data, noise, order, truth) for name, order in chosen.items()}

    def figures(self, context: Context, gated: bool) -> list[Figure]:
        curves = self.curves(context)
        first = float(curves["greedy"][0, 0])
        counts = {name: torch.stack([needed(c, level * first) for level in LEVELS]) for name, c in curves.items()}
        mean = {name: float(count.double().mean()) for name, count in counts.items()}
        random = counts["random"].double()
        error = float(random.mean(0).std()) / ORDERS**0.5
        share = mean["greedy"] / mean["random"]
        levels = f"mean over error levels {LEVELS[0]:g} to {LEVELS[-1]:g} of the first"
        found = [
            Figure("n_test", float(len(self.mass))),
            Figure("rms_before", first, unit="keV"),
            Figure("needed.greedy", mean["greedy"], note=levels),
            Figure("needed.largest_variance", mean["largest variance"], note=levels),
            Figure("needed.random", mean["random"], error, note=f"{levels}, {ORDERS} orders"),
            Figure(
                "share_of_random",
                share,
                share * error / mean["random"],
                gate=Gate(high=0.7) if gated else None,
                note="measurements that the greedy order needs",
            ),
            Figure(
                "share_of_largest_variance",
                mean["greedy"] / mean["largest variance"],
                gate=Gate(high=0.999) if gated else None,
            ),
        ]
        for i, level in enumerate(LEVELS):
            row = random[i]
            note = f"greedy {int(counts['greedy'][i])}, largest variance {int(counts['largest variance'][i])}"
            spread = float(row.std()) / ORDERS**0.5
            found.append(Figure(f"needed_at_{level:g}.random", float(row.mean()), spread, note=note))
        held = self.held_out(context)
        note = "error of nuclei never measured, mean over the sequence as a share of the first"
        for name, values in held.items():
            key = f"held_out.{name.replace(' ', '_')}"
            found.append(Figure(key, float(values.mean()), float(values.std()) / SPLITS**0.5, note=note))
        return found

    def picture(self, context: Context) -> figure.Figure:
        import matplotlib.pyplot as plt

        drawing, axes = plt.subplots()
        curves = self.curves(context)
        count = np.arange(curves["greedy"].shape[1])
        low, middle, high = curves["random"].quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64), dim=0)
        axes.fill_between(count, low, high, color="0.85", label=f"random, 90 % of {ORDERS} orders")
        axes.plot(count, middle, color="0.45", label="random, median")
        axes.plot(count, curves["largest variance"][0], color="C1", label="largest variance first")
        axes.plot(count, curves["greedy"][0], color="C0", lw=2, label="largest expected fall of all variances first")
        axes.set(xlabel="masses measured", ylabel=f"RMS error of all {len(self.mass)} masses [keV]", ylim=(0, None))
        axes.set_xlim(0, count[-1])
        axes.legend()
        return drawing
