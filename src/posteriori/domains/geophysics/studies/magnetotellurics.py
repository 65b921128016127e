"""Resistivity against depth below one magnetotelluric station, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from posteriori.audit.calibration import Coverage, credible_coverage
from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.errors import DataError, OptionError
from posteriori.core.posterior import Posterior
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.geophysics.edi import apparent, read_edi
from posteriori.domains.geophysics.electric_pictures import layers_picture, sounding_picture
from posteriori.domains.geophysics.electric_sounding import Belief, Floats, Sounding
from posteriori.domains.study import Outcome
from posteriori.inference.curvature import GaussNewton
from posteriori.inference.hmc import HMC
from posteriori.inference.laplace import Laplace
from posteriori.physics.magnetotellurics import Magnetotellurics

TRUTH_TOPS, TRUTH = (0.0, 300.0, 1200.0, 30e3), (50.0, 10.0, 1000.0, 50.0)
"""A basin: dry over brackish sediments [m, ohm m], basement, and a conductive lower crust."""
BATCH = 50
RESOLVED = 0.5
ROCKS = (0.01, 1e6)
"""Median apparent resistivities [ohm m] that stations have."""
"""A layer is seen where the data take its standard deviation below this share of the prior's."""
LAPLACE = Laplace(curvature=GaussNewton(), tolerance=1e-5)


@dataclass(frozen=True)
class Study:
    """Log resistivity of many layers under a prior that is smooth in the logarithm of depth.

    The answer is by Hamiltonian Monte Carlo, started from Laplace's approximation, which is shown beside it. Whether
    90 % intervals hold 90 % is measured on problems simulated for the same periods and errors, their Earths drawn from
    the prior. Where a layered Earth cannot explain a station within its errors, these are widened until it does, and
    the factor is stated.
    """

    data: Path | None = None
    """An EDI file of impedances; without it a simulated station over a basin."""
    component: Literal["determinant", "xy", "yx"] = "determinant"
    """Impedance to invert: determinant (no rotation changes it), xy or yx."""
    noise: float = 0.03
    """Relative error of the simulated impedances."""
    floor: float = 0.03
    """Least relative error of the file's impedances."""
    layers: int = 40
    """Number of layers, the last a half-space."""
    sigma: float = 0.5
    """Prior standard deviation of log10 resistivity about its level [decades]."""
    length: float = 0.5
    """Prior correlation length [decades of depth]."""
    problems: int = 200
    """Simulated problems to measure coverage on."""
    quick: bool = False
    """Fewer problems and draws."""

    def __call__(self, context: Context) -> Outcome:
        """Read or simulate, answer, check."""
        if not (0 < self.noise < 1 and 0 < self.floor < 1 and 20 <= self.problems <= 100_000):
            raise OptionError(
                f"noise={self.noise}, floor={self.floor} lie in (0, 1); problems={self.problems} in 20 to 100,000."
            )
        if not (0 < self.sigma <= 5 and self.length > 0 and 3 <= self.layers <= 1000):
            raise OptionError(
                f"sigma={self.sigma:g} lies in (0, 5] decades, length={self.length:g} is positive, "
                f"layers={self.layers} in 3 to 1000."
            )
        station = _simulated(self, context) if self.data is None else _measured(self, self.data)
        belief = Belief(float(np.log10(station.apparent).mean()) if self.data else 2.0, 0.5, self.sigma, self.length)
        sounding, mode, factor = _fitted(station, belief, self.layers, context)
        draws, warmup = (150, 150) if self.quick else (400, 250)
        sampler = HMC(draws=draws, warmup=warmup, chains=4, steps=12, dense=True, start=mode)
        walks = sampler(sounding.target, context.child("hmc"))
        laws = {"HMC": sounding.resistivity(walks), "Laplace": sounding.resistivity(mode)}
        coverage = _coverage(sounding, min(self.problems, 60) if self.quick else self.problems, context)
        best = laws["HMC"]
        share = (best.spread() / sounding.prior_sigma).numpy()
        seen = np.flatnonzero(share < RESOLVED)
        reach = float(sounding.tops[seen[-1]]) if len(seen) else 0.0
        predicted = sounding.target.operator(walks.values)
        residual = (sounding.target.data - predicted.mean(0)) / sounding.sigma
        figures = [
            Figure(
                "coverage90", coverage.value, coverage.standard_error, gate=Gate(0.86, 0.94), note="simulated, Laplace"
            ),
            Figure("residual_rms", float(residual.square().mean().sqrt()), note="in standard deviations"),
            Figure("error_factor", factor, note="errors were widened by this"),
            Figure("depth_of_investigation", reach, unit="m", note="standard deviation halved above"),
            Figure("rhat", float(walks.rhat().max()), gate=Gate(high=1.05)),
            Figure("sd_laplace_to_hmc", float((laws["Laplace"].spread() / best.spread()).median())),
        ]
        truth = None if station.truth is None else station.truth(sounding.tops)
        if truth is not None:
            low, high = best.quantile(torch.tensor([0.05, 0.95]))
            known = torch.from_numpy(truth)
            error = (best.center() - known)[share < RESOLVED]
            figures += [
                Figure("rmse", float(error.square().mean().sqrt()), unit="decades", note="layers that are seen"),
                Figure("truth_inside90", float(((low <= known) & (known <= high)).double().mean()), note="one Earth"),
            ]
        low, high = (v.numpy() for v in predicted.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64), 0))
        report = Report(f"Sounding of {station.name}", tuple(figures))
        return Outcome(
            scores={figure.name: figure.value for figure in report} | {"station": station.name},
            report=report,
            pictures={
                "Resistivity against depth": partial(
                    layers_picture, sounding.tops, {k: _band(law) for k, law in laws.items()}, truth, reach
                ),
                "The sounding, and what the posterior predicts": partial(
                    sounding_picture, station.period, station.apparent, station.phase, factor * station.error, low, high
                ),
            },
            posterior=best,
            tables={"resistivity": _table(sounding, best, share)},
            data=station.digests,
            references=Magnetotellurics.references + HMC.references,
        )


@dataclass(frozen=True)
class _Station:
    """A sounding curve [s, ohm m, degree] with relative errors of the impedance."""

    name: str
    period: Floats
    apparent: Floats
    phase: Floats
    error: Floats
    digests: dict[str, str]
    basin: bool = False

    @property
    def truth(self) -> _Basin | None:
        """log₁₀ resistivity of layers with given tops, where it is known."""
        return _Basin() if self.basin else None


class _Basin:
    """The simulated Earth."""

    def __call__(self, tops: Floats) -> Floats:
        """log₁₀ resistivity at the middles of layers."""
        middle = np.sqrt(np.append(tops[1:], tops[-1] * 1.5) * np.maximum(tops, tops[1] / 2))
        return np.log10(np.array(TRUTH)[np.searchsorted(TRUTH_TOPS, middle, side="right") - 1])

    def impedance(self, period: Floats) -> np.ndarray:
        """At the surface [ohm]."""
        space = Space("resistivity", {"z": list(TRUTH_TOPS)}, "ohm m")
        operator = Magnetotellurics(space, torch.from_numpy(period))
        return operator.impedance(torch.tensor(TRUTH, dtype=torch.float64)).numpy()


def _simulated(study: Study, context: Context) -> _Station:
    period = np.geomspace(1e-3, 1e3, 31)
    z = _Basin().impedance(period)
    noise = context.rng.child("noise").normal((2, len(period))).numpy()
    noisy = z * (1 + study.noise * (noise[0] + 1j * noise[1]))
    error = np.full(len(period), study.noise)
    return _Station("a simulated basin", period, *apparent(noisy, period), error, {}, basin=True)


def _measured(study: Study, path: Path) -> _Station:
    found = read_edi(path)
    z, sigma = found.component(study.component)
    error = np.maximum(sigma / np.abs(z), study.floor)
    usual = float(np.median(apparent(z, found.period)[0]))
    if not ROCKS[0] < usual < ROCKS[1]:
        raise DataError(
            f"{path.name} means apparent resistivities of {usual:.3g} ohm m, which no Earth has: EDI files hold "
            "impedances in mV/km/nT; divide impedances in ohm by 4π·10⁻⁴."
        )
    return _Station(found.station, found.period, *apparent(z, found.period), error, {path.name: found.digest})


def _fitted(station: _Station, belief: Belief, layers: int, context: Context) -> tuple[Sounding, Posterior, float]:
    """The question and Laplace's answer, with errors wide enough that the residuals are as large as stated."""
    factor = 1.0
    for _ in range(3):
        error = np.minimum(factor * station.error, 0.9)
        sounding = Sounding.of(station.apparent, station.phase, error, station.period, belief, layers)
        mode = LAPLACE(sounding.target, context.child("laplace"))
        target = sounding.target
        residual = (target.data - target.operator(mode.center())) / sounding.sigma
        rms = float(residual.square().mean().sqrt())
        if rms < 1.2:
            break
        factor *= rms
    return sounding, mode, factor


def _coverage(sounding: Sounding, problems: int, context: Context) -> Coverage:
    truth, simulated = sounding.target.simulate(problems, context.rng.child("coverage"))
    low, high = [], []
    tails = torch.tensor([0.05, 0.95], dtype=torch.float64)
    for k in context.progress(range(0, problems, BATCH), "coverage", -(-problems // BATCH)):
        part = LAPLACE(sounding.target.given(simulated.data[k : k + BATCH]), context.child("coverage", k))
        ends = sounding.resistivity(part).quantile(tails)
        low.append(ends[0])
        high.append(ends[1])
    layers = sounding.layers(truth)
    blocks = torch.arange(problems)[:, None].expand_as(layers)
    return credible_coverage(torch.cat(low), torch.cat(high), layers, 0.9, blocks)


def _band(law: Posterior) -> tuple[Floats, Floats, Floats]:
    low, middle, high = law.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).numpy()
    return low, middle, high


def _table(sounding: Sounding, law: Posterior, share: Floats) -> pd.DataFrame:
    low, middle, high = _band(law)
    return pd.DataFrame(
        {
            "top [m]": sounding.tops,
            "resistivity [ohm m]": 10**middle,
            "5 % [ohm m]": 10**low,
            "95 % [ohm m]": 10**high,
            "sd / prior sd": share,
        }
    )
