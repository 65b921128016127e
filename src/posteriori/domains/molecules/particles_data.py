"""Somebody's rows of a cluster, held against what is exact: the virial, distinct rows, a centre of mass at rest."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.audit.report import Figure, Gate
from posteriori.core.errors import DataError
from posteriori.domains.molecules.audit_files import read_samples
from posteriori.domains.molecules.particles import NAMES, Cluster, Measured, Watch
from posteriori.physics.pair_potential import LennardJones

Floats = NDArray[np.float64]
LIMIT = 4.0
"""Standard errors, of independent rows, that a sound figure exceeds in 6 of 100,000 files."""
CENTRED = 1e-3
"""Largest coordinate of a centre of mass that single precision explains."""
REPEATED = 0.01
"""Share of rows that may stand elsewhere in the file too."""
TOUCHING = 1e-9
FEWEST = 50
QUANTILES = np.linspace(0.0005, 0.9995, 1000)


@dataclass(frozen=True)
class Given:
    """Centred positions (row, particle, axis) from a file, their figures (row, 5) and what was wrong with the rows.

    Attributes:
        kinds: distinct rows, as the number (row,) of the kind each belongs to.
        offset: largest coordinate of a centre of mass, before it was taken off.
    """

    name: str
    positions: Tensor
    figures: Floats
    histogram: Floats
    kinds: NDArray[np.int64]
    offset: float

    def mean(self, values: Floats) -> tuple[float, float]:
        """Mean over rows and its standard error, repeated rows taken as one draw."""
        away = np.bincount(self.kinds, values - values.mean())
        return float(values.mean()), sqrt(float(np.square(away).sum())) / len(values)


def read_positions(path: Path, cluster: Cluster) -> Given:
    """Rows (row, particle · axis) or (row, particle, axis) of ``.npy``, or of ``x`` in ``.npz``.

    Raises:
        DataError: a file that cannot be read, rows of another length, values that are not finite, or particles on top
            of each other.
    """
    if path.suffix not in (".npy", ".npz"):
        raise DataError(f"{path.name} is no .npy or .npz file; write its rows with numpy.save.")
    found = read_samples(path)
    space = cluster.potential.domain
    if len(found.rows) < FEWEST:
        raise DataError(f"{found.name} has {len(found.rows)} rows; {FEWEST} or more are needed to judge them.")
    if found.rows.shape[1] != space.size:
        raise DataError(
            f"{found.name} has {found.rows.shape[1]} numbers a row; {space.shape[0]} particles in {space.shape[1]} "
            f"dimensions need {space.size}: give particles=, or another file."
        )
    x = found.rows.double()
    if not bool(torch.isfinite(x).all()):
        row = int((~torch.isfinite(x)).any(1).nonzero()[0])
        raise DataError(f"row {row} of {found.name} is not finite; leave such rows out and say why they are there.")
    _, kinds = torch.unique(x, dim=0, return_inverse=True)
    positions = x.reshape(-1, *space.shape)
    centre = positions.mean(1, keepdim=True)
    _require_apart(positions, found.name)
    watch = Watch(cluster)
    flat = (positions - centre).reshape(1, len(x), -1)
    watch.see(np.ascontiguousarray(flat.numpy()))
    figures = watch.series()[:, 0].double().numpy()
    offset = float(centre.abs().max())
    return Given(found.name, positions - centre, figures, watch.histogram, kinds.numpy(), offset)


def given_figures(given: Given, cluster: Cluster, temperature: float, own: Measured) -> list[Figure]:
    """What the rows say, each with its gate: 4 standard errors where there are some."""
    beta, n = 1 / temperature, len(given.figures)
    virial, error = given.mean(beta * given.figures[:, NAMES.index("virial")])
    z = (virial - cluster.degrees) / error
    energy, spread = given.mean(given.figures[:, 0])
    truth, slack = own.mean("energy")
    distinct = len(np.unique(given.kinds))
    apart = (energy - truth) / sqrt(spread**2 + slack**2)
    mine = np.quantile(own.series[..., 0].double().numpy(), QUANTILES)
    w2 = sqrt(float(np.square(np.quantile(given.figures[:, 0], QUANTILES) - mine).mean()))
    return [
        Figure("rows", n, note=given.name),
        Figure("repeated_rows", 1 - distinct / n, gate=Gate(high=REPEATED), note="share that stands elsewhere too"),
        Figure("centre_of_mass", given.offset, gate=Gate(high=CENTRED), note="largest coordinate; taken off"),
        Figure("virial", virial, error, note=f"{cluster.degrees} exactly; errors take repeated rows as one"),
        Figure("virial_z", z, gate=Gate(-LIMIT, LIMIT), note="standard errors off"),
        Figure("mean_energy", energy, spread, "kT", note=f"own chains {truth:.3f} ± {slack:.3f}"),
        Figure("mean_energy_z", apart, gate=Gate(-LIMIT, LIMIT), note="standard errors from the own chains"),
        Figure("energy_w2", w2, unit="kT", note="Wasserstein distance of energies from the own chains"),
        *_depth(given, cluster, temperature),
    ]


def _depth(given: Given, cluster: Cluster, temperature: float) -> list[Figure]:
    """The depth of the pair law at which the virial would be right, for a law that is proportional to it."""
    potential = cluster.potential
    if not isinstance(potential, LennardJones):
        return []
    trap = potential.trap * given.positions.square().sum((1, 2)).numpy()
    pairs = (given.figures[:, NAMES.index("virial")] - trap) / potential.depth
    slope = float(pairs.mean())
    depth = (cluster.degrees * temperature - float(trap.mean())) / slope
    _, error = given.mean(depth * pairs + trap)
    note = f"depth at which the virial is right; the rows are judged with {potential.depth:g}"
    return [Figure("depth_by_virial", depth, error / abs(slope), note=note)]


def _require_apart(positions: Tensor, name: str) -> None:
    i, j = torch.triu_indices(positions.shape[1], positions.shape[1], 1)
    for start in range(0, len(positions), 10_000):
        rows = positions[start : start + 10_000]
        closest = (rows[:, i] - rows[:, j]).square().sum(-1).amin(1).sqrt()
        touching = (closest < TOUCHING).nonzero()
        if len(touching):
            raise DataError(
                f"row {start + int(touching[0])} of {name} has two particles on top of each other; its energy is not "
                "defined. Are the coordinates in the order particle by particle?"
            )
