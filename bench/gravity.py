"""Gravity and magnetics on level grids beside SimPEG, in one run: time, memory and difference, as ratios.

``python bench/gravity.py`` prints a table, ``--json`` the same as numbers, ``--large`` adds 256 × 256 × 64 cells.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posteriori.core.space import Space
from posteriori.physics.block_toeplitz import level_space
from posteriori.physics.gravity import Gravity, ScatteredGravity
from posteriori.physics.magnetics import Direction, Magnetics, Magnetised
from posteriori.physics.prism_mesh import borders, mesh

SUBSET = 32
"""Stations that SimPEG computes; the times of all are scaled from them, since it works station by station."""
FIELD = Magnetised(Direction(-62.0, -14.0), 28500.0)
HEIGHT = 5.0
MIB = 2.0**20


def cube(nx: int, ny: int, nz: int, name: str = "density", unit: str = "kg/m^3") -> Space:
    """Cells of 50 m."""
    return mesh(name, unit, z=50.0 * np.arange(nz + 1), y=50.0 * np.arange(ny + 1), x=50.0 * np.arange(nx + 1))


LARGE = cube(256, 256, 64)
DENSE, SUSCEPTIBLE = cube(64, 64, 32), cube(64, 64, 32, "susceptibility", "1")


def cpu_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """Median CPU time [ms] after one call to warm up."""
    call()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return 1e3 * float(np.median(found))


def products(operator: Gravity | Magnetics, dtype: torch.dtype) -> dict[str, float]:
    """Milliseconds of one product and one transposed product, and the adjoint's mismatch."""
    rng = torch.Generator().manual_seed(0)
    m = torch.randn(operator.domain.shape, dtype=dtype, generator=rng)
    r = torch.randn(operator.codomain.shape, dtype=dtype, generator=rng)
    forward, back = operator(m).double(), operator.adjoint(r).double()
    left, right = float((forward * r).sum()), float((m * back).sum())
    mismatch = abs(left - right) / float(forward.norm() * r.double().norm())
    return {
        "forward_ms": cpu_ms(lambda: operator(m)),
        "adjoint_ms": cpu_ms(lambda: operator.adjoint(r)),
        "dot_test": mismatch,
    }


def peak(what: str, dtype: str) -> float:
    """MiB that a fresh process grows by at most while it sets up an operator and applies it both ways."""
    asked = [sys.executable, __file__, "--peak", what, dtype]
    return float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


def measure_peak(what: str, dtype: torch.dtype) -> float:
    """Growth of the resident set at its highest [MiB], as Linux counts it, over that just before."""

    def work(operator: Gravity | Magnetics, m: Tensor, r: Tensor) -> None:
        operator(m), operator.adjoint(r)

    made = {"gravity": gravity, "magnetics": magnetics, "large": gravity}[what]
    space = {"gravity": DENSE, "magnetics": SUSCEPTIBLE, "large": LARGE}[what]
    for _ in range(2):  # the first loads libraries and plans the transforms
        m, r = torch.ones(space.shape, dtype=dtype), torch.ones(space.shape[1:], dtype=dtype)
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
        before = _status("VmRSS")
        work(made(space, dtype), m, r)
        grown = _status("VmHWM") - before
    return grown


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def gravity(space: Space, dtype: torch.dtype) -> Gravity:
    """Stations at the centres of the cells, 5 m up."""
    return Gravity(space, height=HEIGHT, dtype=dtype)


def magnetics(space: Space, dtype: torch.dtype) -> Magnetics:
    """The total-field anomaly, likewise."""
    return Magnetics(space, FIELD, height=HEIGHT, dtype=dtype)


def peer(space: Space, stations: np.ndarray, model: Tensor, magnetic: bool) -> tuple[np.ndarray, dict[str, float]]:
    """SimPEG's data at some stations (n, 3), z upwards, and its seconds: sensitivities in memory, and without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import discretize
        from simpeg import maps
        from simpeg.potential_fields import gravity as grav
        from simpeg.potential_fields import magnetics as mag

        x, y, z = (borders(space, d) for d in ("x", "y", "z"))
        grid = discretize.TensorMesh([np.diff(x), np.diff(y), np.diff(z)[::-1]], origin=(x[0], y[0], -z[-1]))
        values = model.flip(0).numpy().ravel()  # x fastest, upwards
        shared = {"mesh": grid, "active_cells": np.ones(grid.n_cells, bool)}
        if magnetic:
            point = mag.receivers.Point(stations, components=["tmi"])
            field = FIELD.field
            source = mag.sources.UniformBackgroundField([point], FIELD.intensity, field.inclination, field.declination)
            made = mag.simulation.Simulation3DIntegral
            shared |= {"survey": mag.survey.Survey(source), "chiMap": maps.IdentityMap(nP=grid.n_cells)}
        else:
            point = grav.receivers.Point(stations, components=["gz"])
            made = grav.simulation.Simulation3DIntegral
            shared |= {"survey": grav.survey.Survey(grav.sources.SourceField([point]))}
            shared |= {"rhoMap": maps.IdentityMap(nP=grid.n_cells)}
            values = values / 1000  # g/cm³; positive upwards
        seconds = {}
        for kind, store, engine in (
            ("kept", "ram", "geoana"),
            ("matrix_free", "forward_only", "geoana"),
            ("choclo", "forward_only", "choclo"),
        ):
            simulation = made(**shared, store_sensitivities=store, engine=engine)
            if engine == "choclo":
                simulation.dpred(values)  # compiles
            began = time.process_time()
            data = simulation.dpred(values)
            seconds[kind] = time.process_time() - began
            if kind == "kept":
                dense, vector = simulation.G, values.astype(simulation.G.dtype)  # float32
                seconds["product"] = cpu_ms(partial(np.matmul, dense, vector), 5) / 1e3
            if kind == "matrix_free":
                found = data
    return (found if magnetic else -found), seconds


def ours(magnetic: bool) -> dict[str, float]:
    """64 × 64 × 32 cells and 64 × 64 stations, in both precisions."""
    found: dict[str, float] = {}
    made, space = (magnetics, SUSCEPTIBLE) if magnetic else (gravity, DENSE)
    made(cube(4, 4, 2, space.name, space.unit), torch.float64)  # compiles, or loads what was compiled
    for dtype, name in ((torch.float32, "f32"), (torch.float64, "f64")):
        began = time.process_time()
        operator = made(space, dtype)
        found[f"{name}.build_s"] = time.process_time() - began
        found |= {f"{name}.{k}": v for k, v in products(operator, dtype).items()}
        found[f"{name}.spectra_mib"] = operator.spectra.nbytes / MIB
        found[f"{name}.peak_mib"] = peak("magnetics" if magnetic else "gravity", name)
    return found


def beside(magnetic: bool, found: dict[str, float]) -> dict[str, float]:
    """SimPEG's figures for the same, and the ratios to ours, ``found``."""
    made, space = (magnetics, SUSCEPTIBLE) if magnetic else (gravity, DENSE)
    rng = np.random.default_rng(0)
    model = torch.from_numpy(rng.uniform(0, 0.05 if magnetic else 500, space.shape))
    some = np.sort(rng.choice(64 * 64, SUBSET, replace=False))
    y, x = np.meshgrid(space.labels("y"), space.labels("x"), indexing="ij")
    stations = np.stack([x.ravel()[some], y.ravel()[some], np.full(SUBSET, HEIGHT)], axis=1)
    wanted, seconds = peer(space, stations, model, magnetic)
    double = made(space, torch.float64)(model).flatten().numpy()[some]
    single = made(space, torch.float32)(model.float()).flatten().double().numpy()[some]
    seconds = {k: v * 64 * 64 / SUBSET for k, v in seconds.items()}
    dense = 4.0 * 64 * 64 * space.size / MIB
    return {
        "difference": float(np.abs(double - wanted).max() / np.abs(wanted).max()),
        "f32.difference": float(np.abs(single - double).max() / np.abs(double).max()),
        "simpeg.build_s": seconds["kept"],
        "simpeg.product_ms": 1e3 * seconds["product"],
        "simpeg.matrix_free_s": seconds["matrix_free"],
        "simpeg.choclo_s": seconds["choclo"],
        "simpeg.matrix_mib": dense,
        "ratio.build": seconds["kept"] / found["f32.build_s"],
        "ratio.product": 1e3 * seconds["product"] / found["f32.forward_ms"],
        "ratio.matrix_free": 1e3 * seconds["choclo"] / found["f32.forward_ms"],
        "ratio.memory": dense / found["f32.peak_mib"],
    }


def large() -> dict[str, float]:
    """4.2 million cells and 65,536 stations in float32: estimated, then run; four stations by exact sums."""
    stations = level_space("gravity", "mGal", LARGE, None, None)
    found = {"estimate_mib": Gravity.estimate(LARGE, stations, torch.float32) / MIB, "peak_mib": peak("large", "f32")}
    began = time.process_time()
    operator = gravity(LARGE, torch.float32)
    found["build_s"] = time.process_time() - began
    found |= products(operator, torch.float32)
    model = torch.rand(LARGE.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    some = torch.tensor([0, 100, 128, 255])
    x, y = LARGE.labels("x")[some], LARGE.labels("y")[some.flip(0)]
    exact = ScatteredGravity(LARGE, x, y, HEIGHT, keep=False)(model)
    found["f32.difference"] = float((operator(model.float())[some.flip(0), some] - exact).abs().max() / exact.max())
    found["dense_mib"] = 4.0 * stations.size * LARGE.size / MIB
    return found


def main() -> None:
    """Print the table or the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", action="store_true", help="256 × 256 × 64 cells too")
    parser.add_argument("--peak", nargs=2, metavar=("WHAT", "DTYPE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        print(measure_peak(asked.peak[0], torch.float32 if asked.peak[1] == "f32" else torch.float64))
        return
    own = {"gravity": ours(magnetic=False), "magnetics": ours(magnetic=True)}
    if asked.large:
        own["large"] = large()
    for name in ("gravity", "magnetics"):  # after ours: its libraries start threads of their own
        own[name] |= beside(name == "magnetics", own[name])
    found = {f"{name}.{k}": v for name, figures in own.items() for k, v in figures.items()}
    if asked.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:32s} {value:.4g}")


if __name__ == "__main__":
    main()
