"""Ising models measured against what is known exactly, and samplers of them against each other."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import weights
from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann
from posteriori.core.weights import log_mean_exp
from posteriori.domains.molecules.finite_size import Estimate
from posteriori.inference.lattice_generator import LatticeGenerator
from posteriori.inference.lattice_walk import Length, Move, measured, settled, walk
from posteriori.learn.autoregressive_spins import AutoregressiveSpins
from posteriori.physics.ising import Ising
from posteriori.physics.ising_exact import Thermodynamics, torus
from posteriori.physics.ising_kernels import Spins, heat_bath, swendsen_wang, wolff

Floats = NDArray[np.float64]
CHAINS, SETTLING = 16, 200
SAMPLERS: Mapping[str, tuple[Move, int]] = {
    "wolff": (wolff, 3),
    "swendsen-wang": (swendsen_wang, 1),
    "heat-bath": (heat_bath, 5),
}
"""Each sampler's move, and how many moves make a step."""


@dataclass(frozen=True)
class Measured:
    """Energy [J] and heat capacity [k] per site and mean |magnetisation|, by one sampler, each with its error.

    ``speed`` is the effective number of independent values of the slower of energy and |magnetisation| per CPU second.
    """

    energy: Estimate
    heat_capacity: Estimate
    magnetisation: Estimate
    speed: float


@dataclass(frozen=True)
class Generated:
    """What the learnt generator gives: log Z per site, effective sizes as shares of the rows, k̂, CPU seconds."""

    log_z: Estimate
    ess_reverse: float
    ess_forward: float
    pareto_k: float
    training_seconds: float
    seconds: float
    draws: int


def thermodynamics(size: int, temperature: float, sampler: str, steps: int, rng: Rng) -> Measured:
    """``steps`` of :data:`CHAINS` chains at ``temperature`` [J / k]; errors from the spread of the chains."""
    move, between = SAMPLERS[sampler]
    spins = settled(CHAINS, (size, size), 1 / temperature, SETTLING, rng.child("start"))
    walked = walk(spins, 1 / temperature, move, Length(steps, between), rng.child("moves"))
    energy, magnetisation = np.empty((steps, CHAINS)), np.empty((steps, CHAINS))
    begun = time.process_time()
    for i, now in enumerate(walked):
        energy[i] = measured(now, 1 / temperature)[0]
        magnetisation[i] = np.abs(now.mean((1, 2), dtype=np.float64))
    spent = time.process_time() - begun
    slowest = min(float(weights.chain_ess(torch.from_numpy(x))) for x in (energy, magnetisation))
    return Measured(
        _jackknife(energy, lambda x: float(x.mean()) / size**2),
        _jackknife(energy, lambda x: float(x.var()) / (size * temperature) ** 2),
        _jackknife(magnetisation, lambda x: float(x.mean())),
        slowest / max(spent, 1e-9),
    )


def curve(
    size: int, temperatures: Sequence[float], steps: int, rng: Rng
) -> list[tuple[float, Measured, Thermodynamics]]:
    """Measured and exact thermodynamics at each temperature [J / k]."""
    return [
        (t, thermodynamics(size, t, "swendsen-wang", steps, rng.child(i)), torus(size, size, 1 / t))
        for i, t in enumerate(temperatures)
    ]


def snapshots(size: int, temperatures: Sequence[float], rng: Rng) -> list[tuple[float, Spins]]:
    """One settled configuration ±1 (size, size) at each temperature [J / k]."""
    return [(t, settled(1, (size, size), 1 / t, SETTLING, rng.child(i))[0]) for i, t in enumerate(temperatures)]


def generated(size: int, coupling: float, method: LatticeGenerator, context: Context) -> Generated:
    """Train the generator; judge it by its own rows and by as many independent rows of clusters."""
    target = Boltzmann(Ising((size, size)), coupling)
    begun = time.process_time()
    net = method.trained(target, context.child("trained"))
    trained = time.process_time()
    with torch.no_grad():
        own = _log_weights(net, target, net.sample(method.draws, context.rng.child("rows")))
        log_z, error = log_mean_exp(own)
        done = time.process_time()
        rows = settled(method.draws // 4, (size, size), coupling, SETTLING, context.rng.child("forward"))
        codes = (torch.from_numpy(rows).double() + 1) / 2
        forward = 1 / float((_log_weights(net, target, codes) - log_z).exp().mean())
    return Generated(
        log_z=Estimate(float(log_z) / size**2, float(error) / size**2),
        ess_reverse=float(weights.ess(own)) / method.draws,
        ess_forward=forward,
        pareto_k=float(weights.pareto_smooth(own)[1]),
        training_seconds=trained - begun,
        seconds=done - begun,
        draws=method.draws,
    )


def read_configurations(path: Path) -> Tensor:
    """Spins ±1 of a NumPy file (n, L, L), float32.

    Raises:
        DataError: no such file, no square configurations, too small ones, or values other than ±1.
    """
    wanted = "give configurations (n, L, L) of -1 and +1, written with numpy.save"
    if not path.is_file():
        raise DataError(f"data={path} is no file; {wanted}.")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise DataError(f"data={path} cannot be read as a NumPy array; {wanted}.") from None
    if not isinstance(found, np.ndarray) or found.ndim != 3 or found.shape[1] != found.shape[2] or not len(found):
        shape = f"an array {found.shape}" if isinstance(found, np.ndarray) else "an archive of arrays"
        raise DataError(f"data={path} holds {shape}; {wanted}.")
    if found.dtype.kind not in "iuf":
        raise DataError(f"{path} holds {found.dtype}; spins are numbers, -1 or +1.")
    wrong = np.argwhere(np.abs(found.astype(np.float64)) != 1)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise DataError(f"{path}: spin {at} is {found[at]}; every spin is -1 or +1 ({len(wrong)} are not).")
    return torch.from_numpy(found.astype(np.float32))


def of_configurations(spins: Tensor, temperature: float) -> Measured:
    """The same figures of someone's configurations (n, L, L), taken as :data:`CHAINS` runs one after the other.

    Raises:
        DataError: fewer than two configurations for each run.
    """
    kept = len(spins) // CHAINS * CHAINS
    if kept < 2 * CHAINS:
        raise DataError(f"{len(spins)} configurations give no error bars; at least {2 * CHAINS} are needed.")
    size = spins.shape[-1]
    energy = measured(spins[:kept].numpy().astype(np.int8), 1 / temperature)[0].reshape(CHAINS, -1).T
    magnetisation = spins[:kept].mean((1, 2)).abs().double().numpy().reshape(CHAINS, -1).T
    return Measured(
        _jackknife(energy, lambda x: float(x.mean()) / size**2),
        _jackknife(energy, lambda x: float(x.var()) / (size * temperature) ** 2),
        _jackknife(magnetisation, lambda x: float(x.mean())),
        0.0,
    )


def require_temperature(name: str, temperature: float) -> None:
    """Refuse what no sampler here can do; ``OptionError``."""
    if not 1 <= temperature <= 100:
        raise OptionError(
            f"{name}={temperature:g} J / k: temperatures are positive, here 1 (hardly a spin turns) to 100."
        )


def _log_weights(net: AutoregressiveSpins, target: Boltzmann, rows: Tensor) -> Tensor:
    return -target.energy(rows) - net.log_prob(rows)


def _jackknife(series: Floats, figure: Callable[[Floats], float]) -> Estimate:
    """A figure of series (step, chain), freed of its bias to first order, and its error, over the chains."""
    chains = series.shape[1]
    whole = figure(series)
    without = np.array([figure(np.delete(series, out, 1)) for out in range(chains)])
    value = chains * whole - (chains - 1) * float(without.mean())
    return Estimate(value, float(np.sqrt((chains - 1) * without.var())))
