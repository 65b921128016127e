"""Scores of energy differences: the joint law beside the same masses with their covariance ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.estimate import Estimate, average, jackknife
from posteriori.audit.report import Figure, Gate, Report
from posteriori.audit.scorecard import audit
from posteriori.audit.scores import crps_gaussian
from posteriori.domains.nuclei.chart import protons_neutrons
from posteriori.domains.nuclei.pairs import Energies, Held

FEWEST = 3  # pairs that a score needs
LAWS = ("joint", "ignored")
KEYS: Mapping[str, str] = {
    "n_test": "cases",
    "rms_keV": "rms",
    "crps_keV": "crps",
    "coverage68": "coverage68",
    "coverage95": "coverage95",
    "z_rms": "z_rms",
    "mahalanobis2_per_n": "mahalanobis2_per_n",
}
SLACK = 0.08  # by which the share in 68 % intervals may be off in a long test; two standard errors in a short one


@dataclass(frozen=True)
class Scored:
    """Energies of some pairs with every figure about them."""

    energies: Energies
    report: Report

    @property
    def crps(self) -> Tensor:
        """Of each pair, (n,) [keV]."""
        return crps_gaussian(self.energies.seen.location, self.energies.seen.spread(), self.energies.values)

    @property
    def chains(self) -> Tensor:
        """Z of each pair: isotopes share what is wrong."""
        return torch.from_numpy(protons_neutrons(self.energies.law.space)[0])

    def pit(self) -> np.ndarray:
        """Probability below the later value, for each pair."""
        z = (self.energies.values - self.energies.seen.location) / self.energies.seen.spread()
        return np.asarray(torch.special.ndtr(z))

    def scores(self) -> dict[str, float]:
        """The figures that machines read, and the mean standard deviation of the true energies."""
        found = {key: self.report[name].value for key, name in KEYS.items()}
        return found | {"mean_sd_keV": float(self.energies.law.spread().mean())}


@dataclass(frozen=True)
class Compared:
    """One quantity: for ``all`` pairs, those with ``one`` and those with ``both`` nuclei unmeasured, under each law."""

    name: str
    scored: Mapping[str, Mapping[str, Scored]]

    def scores(self) -> dict[str, float]:
        """``S_n.crps_keV`` of all pairs under the joint law, ``S_n.both.ignored.crps_keV`` of parts and laws."""
        found = {f"{self.name}.{key}": score for key, score in self.scored["all"]["joint"].scores().items()}
        for kind, laws in self.scored.items():
            for law, scored in laws.items():
                if (kind, law) != ("all", "joint"):
                    found |= {f"{self.name}.{kind}.{law}.{key}": score for key, score in scored.scores().items()}
        if "both" in self.scored:
            found[f"{self.name}.narrower_percent"] = self.narrower().value
            found[f"{self.name}.crps_gain_keV"] = self.crps_gain().value
        return found

    def narrower(self) -> Estimate:
        """By how many percent the joint law's intervals are narrower, where both nuclei were unmeasured."""
        joint, ignored = (self.scored["both"][law].energies.law.spread() for law in LAWS)
        spreads = torch.stack([joint, ignored], 1)
        chains = self.scored["both"]["joint"].chains
        return jackknife(spreads, lambda mean: 100 * (1 - mean[..., 0] / mean[..., 1]), chains)

    def crps_gain(self) -> Estimate:
        """How much lower the joint law's CRPS is [keV], pair by pair, where both nuclei were unmeasured."""
        joint, ignored = (self.scored["both"][law] for law in LAWS)
        return average(ignored.crps - joint.crps, joint.chains)

    def coverage(self, kind: str, law: str) -> tuple[float, float]:
        """Share of the later values in the 68 % intervals, and its standard error."""
        figure = self.scored[kind][law].report["coverage68"]
        return figure.value, figure.standard_error or 0.0

    def report(self, narrower: float | None = None) -> Report:
        """Figures of all pairs under the joint law, and what the covariance is worth where both were unmeasured.

        ``narrower``: percent that are asked of the intervals; the CRPS must then be no worse either.
        """
        whole = self.scored["all"]["joint"].report
        slack = max(SLACK, 2 * sqrt(0.68 * 0.32 / whole["cases"].value))
        gates = {"coverage68": Gate(round(0.68 - slack, 4), round(0.68 + slack, 4))}
        report = Report("", tuple(whole[name] for name in KEYS.values()))
        if "both" in self.scored:
            share, gain = self.narrower(), self.crps_gain()
            note = "joint law against covariance ignored, both unmeasured"
            report += Report(
                "",
                (
                    Figure("both.narrower", share.value, share.standard_error, "%", note=note),
                    Figure("both.crps_gain", gain.value, gain.standard_error, "keV", note=note),
                ),
            )
            if narrower is not None:
                gates |= {"both.narrower": Gate(low=narrower), "both.crps_gain": Gate(low=0.0)}
        return report.gated(gates).under(self.name)

    def table(self) -> pd.DataFrame:
        """One row a pair: predicted and later energies, with the spread under either law."""
        joint, ignored = (self.scored["all"][law].energies for law in LAWS)
        z, n = protons_neutrons(joint.law.space)
        return pd.DataFrame(
            {
                "quantity": self.name,
                "nuclide": joint.law.space.labels("nuclide"),
                "Z": z,
                "N": n,
                "predicted [keV]": joint.law.location.numpy(),
                "sd [keV]": joint.law.spread().numpy(),
                "sd, covariance ignored [keV]": ignored.law.spread().numpy(),
                "measured [keV]": joint.values.numpy(),
                "z": ((joint.law.location - joint.values) / joint.seen.spread()).numpy(),
            }
        )


def compared(held: Held, quantity: str, pairs: pd.DataFrame) -> Compared:
    """Score the ``quantity`` of ``pairs`` (as :func:`later_pairs` gives them) with and without the covariance."""
    kinds = {"all": pairs, "one": pairs[pairs["unmeasured"] == 1], "both": pairs[pairs["unmeasured"] > 1]}
    laws = dict(zip(LAWS, (held, held.ignoring_covariance()), strict=True))
    scored = {}
    for kind, chosen in kinds.items():
        energies = {law: masses.energies(quantity, chosen) for law, masses in laws.items()} if len(chosen) else {}
        if energies and energies["joint"].law.space.size >= FEWEST:
            scored[kind] = {law: _scored(found) for law, found in energies.items()}
    return Compared(quantity, scored)


def _scored(energies: Energies) -> Scored:
    return Scored(energies, audit(energies.seen, energies.values, levels=(0.68, 0.95), draws=200))
