"""What the studies of clusters share: the sampler chosen or given, figures with gates, pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError
from posteriori.core.run import Context, references
from posteriori.domains.molecules import particles_pictures as draw
from posteriori.domains.molecules.particles import (
    SLOW,
    Cluster,
    Measured,
    looked_at,
    run_draws,
    run_hmc,
)
from posteriori.domains.molecules.particles_data import Given, given_figures, read_positions
from posteriori.domains.molecules.particles_generator import train
from posteriori.domains.study import Outcome, Score
from posteriori.inference.compiled_hmc import CompiledHMC
from posteriori.inference.pilot import Candidate, Choice, Trial, pilot
from posteriori.inference.replica_exchange import ReplicaExchange

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

LIMIT = 4.0
"""Standard errors that a sound figure exceeds in 6 of 100,000 runs."""
RHAT = 1.01
PILOT_SECONDS = 0.5
PROBE = 200
LAGS = 400
MOST_EFFECTIVE, MOST_CHAINS, MOST_TRAINING = 20_000_000, 4096, 3600
HMC_NAME, EXCHANGE_NAME, GENERATOR_NAME = "hmc", "replica-exchange", "generator"


@dataclass(frozen=True)
class Asked:
    """What a study of a cluster is asked for, its options checked.

    Raises:
        OptionError: one that cannot be.
    """

    cluster: Cluster
    temperature: float
    sampler: str
    effective: float
    chains: int
    data: Path | None
    training: float
    relabel: bool

    def __post_init__(self) -> None:
        self.cluster.target(self.temperature)
        if not 1000 <= self.effective <= MOST_EFFECTIVE or not 4 <= self.chains <= MOST_CHAINS:
            raise OptionError(
                f"effective={self.effective:g}, chains={self.chains}: 1,000 to {MOST_EFFECTIVE:,} effective samples "
                f"and 4 to {MOST_CHAINS:,} chains."
            )
        if not 0 <= self.training <= MOST_TRAINING or (self.training > 0 and self.sampler != "auto"):
            raise OptionError(
                f"training={self.training:g}, sampler={self.sampler}: 0 to {MOST_TRAINING:,} CPU seconds, and only "
                "where sampler=auto lets the generator compete."
            )

    @property
    def hmc(self) -> CompiledHMC:
        """Tuned HMC in compiled code."""
        return CompiledHMC(chains=self.chains, warmup=900, relabel=self.relabel)

    @property
    def exchange(self) -> ReplicaExchange:
        """Replica exchange in the same code."""
        return ReplicaExchange(chains=max(4, self.chains // 4), warmup=200, hottest=4.0, steps=12)


def answered(asked: Asked, context: Context) -> Outcome:
    """Choose where asked to, sample, check, draw."""
    given = None if asked.data is None else read_positions(asked.data, asked.cluster)
    choice = _chosen(asked, context) if asked.sampler == "auto" else None
    name = asked.sampler if choice is None else choice.best.name
    runs = {HMC_NAME: _moved, EXCHANGE_NAME: _exchanged}
    if choice is not None and name == GENERATOR_NAME:
        measured = _generated(asked, choice.best, context.child("run"))
    else:
        measured = runs[name](asked, context.child("run"))
    return _outcome(asked, name, measured, choice, given)


def _chosen(asked: Asked, context: Context) -> Choice:
    """The pilot of all samplers; a generator competes where training is paid for."""
    candidates = {HMC_NAME: Candidate(replace(asked.hmc, between=4)), EXCHANGE_NAME: Candidate(asked.exchange)}
    if asked.training:
        trained = train(asked.cluster, asked.temperature, asked.training, context.child("generator"))
        candidates[GENERATOR_NAME] = Candidate(trained.method, trained.seconds)
    target, look = asked.cluster.target(asked.temperature), looked_at(asked.cluster)
    return pilot(target, candidates, context.child("pilot"), asked.effective, PILOT_SECONDS, look)


def _moved(asked: Asked, context: Context) -> Measured:
    return run_hmc(asked.cluster, asked.temperature, asked.hmc, asked.effective, context)


def _generated(asked: Asked, trial: Trial, context: Context) -> Measured:
    """As many weighed rows as the pilot says, then equally weighted ones among them."""
    method = trial.method
    started = time.process_time()
    share = float(trial.draws.ess()) / len(trial.draws.values)
    weighed = replace(method, draws=int(1.1 * asked.effective / share))(
        asked.cluster.target(asked.temperature), context
    )
    rows = weighed.sample(int(weighed.ess()), context.rng.child("resampled"))
    spent = time.process_time() - started + trial.fixed_seconds
    return run_draws(asked.cluster, Draws(weighed.space, rows), spent)


def _exchanged(asked: Asked, context: Context) -> Measured:
    """Replica exchange, as long as a short run of it says."""
    target, method = asked.cluster.target(asked.temperature), asked.exchange
    started = time.process_time()
    probe = run_draws(asked.cluster, replace(method, draws=PROBE)(target, context.child("probe")), 0.0)
    reached = min(probe.effective[name] for name in SLOW)
    draws = replace(method, draws=int(1.1 * PROBE * asked.effective / reached))(target, context)
    return run_draws(asked.cluster, draws, time.process_time() - started)


def _outcome(asked: Asked, name: str, measured: Measured, choice: Choice | None, given: Given | None) -> Outcome:
    figures = _figures(asked, measured)
    title = f"{asked.cluster.potential.domain.shape[0]} particles at temperature {asked.temperature:g} by {name}"
    report = Report(title, tuple(figures))
    if given is not None:
        rows = given_figures(given, asked.cluster, asked.temperature, measured)
        report = report + Report(given.name, tuple(rows)).under("data")
    scores: dict[str, Score] = {figure.name: figure.value for figure in report}
    scores |= {"sampler": name, "gradients_per_cpu_second": measured.gradients / max(measured.cpu_seconds, 1e-9)}
    scores |= dict(measured.facts)
    if choice is not None:
        scores["pilot_ess_per_cpu_second"] = {t.name: t.rate for t in choice.trials}
        scores["pilot_fixed_seconds"] = {t.name: t.fixed_seconds for t in choice.trials}
        scores["break_even"] = {t.name: choice.break_even(t.name) for t in choice.trials}
    target = asked.cluster.target(asked.temperature)
    return Outcome(
        scores=scores,
        report=report,
        pictures=_pictures(asked, name, measured, choice, given),
        posterior=Draws(target.space, measured.rows, chains=measured.series.shape[1]),
        tables={"figures": _table(measured)},
        references=references(asked.hmc, asked.exchange, asked.cluster.potential),
    )


def _figures(asked: Asked, measured: Measured) -> list[Figure]:
    beta, cluster = 1 / asked.temperature, asked.cluster
    virial, error = (beta * number for number in measured.mean("virial"))
    energy, slack = measured.mean("energy")
    gate = None
    if cluster.known is not None and asked.temperature == 1:
        reach = LIMIT * sqrt(cluster.known[1] ** 2 + slack**2)
        gate = Gate(cluster.known[0] - reach, cluster.known[0] + reach)
    effective = measured.effective
    z, exact = (virial - cluster.degrees) / error, f"{cluster.degrees} exactly"
    return [
        Figure("mean_energy", energy, slack, "kT", gate, "within 4 standard errors of a known one" if gate else ""),
        Figure("radius_of_gyration", *measured.mean("radius")),
        Figure("pair_distance", *measured.mean("pair_pooled")),
        Figure("virial", virial, error, note=exact),
        Figure("virial_z", z, gate=Gate(-LIMIT, LIMIT), note="standard errors off"),
        Figure("rhat", measured.rhat, gate=Gate(high=RHAT), note="largest of all figures"),
        *(Figure(f"ess_{name}", effective[name]) for name in SLOW),
        Figure("ess_slowest", min(effective[name] for name in SLOW), gate=Gate(low=0.95 * asked.effective)),
        Figure("ess_per_cpu_second", measured.rate, note="slowest figure, warm-up counted, one thread"),
        Figure("cpu_seconds", measured.cpu_seconds + measured.warm_seconds, unit="s"),
        Figure("warmup_seconds", measured.warm_seconds, unit="s"),
    ]


def _table(measured: Measured) -> pd.DataFrame:
    rows = [(name, *measured.mean(name), ess) for name, ess in measured.effective.items()]
    return pd.DataFrame(rows, columns=["figure", "mean", "standard error", "effective samples"])


def _pictures(
    asked: Asked, name: str, measured: Measured, choice: Choice | None, given: Given | None
) -> dict[str, Callable[[], Picture]]:
    cluster = asked.cluster
    histograms = {name: measured.histogram}
    energies = {name: measured.series[..., 0].double().flatten().numpy()}
    for trial in () if choice is None else choice.trials:
        if trial.name != name and trial.draws.log_weights is None:
            other = run_draws(cluster, trial.draws, 0.0)
            histograms[f"{trial.name}, pilot"] = other.histogram
            energies[f"{trial.name}, pilot"] = other.series[..., 0].double().flatten().numpy()
    if given is not None:
        histograms[given.name], energies[given.name] = given.histogram, given.figures[:, 0]
    pictures: dict[str, Callable[[], Picture]] = {
        "Pair distances": partial(draw.distances_picture, histograms, measured.width),
        "Energies": partial(draw.energies_picture, energies),
        "How fast each figure forgets": partial(draw.forgetting_picture, _forgetting(measured), measured.spacing),
        "The virial, exact for every cluster": partial(
            draw.virial_picture, measured, 1 / asked.temperature, cluster.degrees
        ),
    }
    if choice is not None:
        pictures["CPU time to effective samples, by sampler"] = partial(draw.samplers_picture, choice)
    return pictures


def _forgetting(measured: Measured) -> np.ndarray:
    """Autocorrelation (lag, figure) about the mean of all chains."""
    x = measured.early[..., : len(SLOW)].double()
    n = len(x)
    x = x - x.mean((0, 1))
    spectrum = torch.fft.rfft(x, 2 * n, dim=0).abs().square()
    found = torch.fft.irfft(spectrum, 2 * n, dim=0)[: min(LAGS, n // 2)].mean(1)
    found = found / torch.arange(n, n - len(found), -1)[:, None]
    return np.asarray(found / found[0])
