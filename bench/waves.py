"""Acoustic waves beside deepwave, in one run: time, memory, accuracy, and the machine's own bound.

``python bench/waves.py`` prints a table, ``--json`` the same as numbers, ``--quick`` takes shorter runs.

Times are CPU seconds of one thread, the two codes by turns; ratios are of the least times. Both have an absorbing
edge: deepwave's of 20 nodes, as its users take it, the package's of its default 10; what each reflects is measured
too. Memory is the peak of the resident set above that before the run, in a process of its own for each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import deepwave
import numba
import numpy as np
import torch
from scipy.special import hankel2
from torch import Tensor

from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_lanes import lanes, load, splat, store
from posteriori.physics.acoustic_mesh import Floats, aligned
from posteriori.physics.acoustic_survey import Survey
from posteriori.physics.wavelets import ricker

SIZES = (70, 256, 512)
ORDERS = (4, 8)
DX, DT, SLOW, FAST, PEAK = 10.0, 1e-3, 2500.0, 3000.0, 15.0
RING = 20
"""Nodes of deepwave's absorbing edge."""
STEPS = {70: 1000, 256: 1000, 512: 500}
LONG = {70: 1000, 256: 2000, 512: 2000}
"""Steps of the runs whose memory is measured: two crossings of the section and more."""
SAMPLING = {4: (8.0, 0.25), 8: (6.0, 0.2)}
"""Nodes of the shortest wavelength, and the share of a node that a wave covers in a step, that are recommended."""


def section(n: int, dx: float = DX) -> Space:
    """``n`` × ``n`` nodes."""
    return Space("velocity", {"z": dx * np.arange(n), "x": dx * np.arange(n)}, "m/s", Positive())


def layered(n: int) -> Tensor:
    """Two layers, float32."""
    found = torch.full((n, n), SLOW)
    found[n // 2 :] = FAST
    return found


def ours(n: int, order: int, steps: int, shots: int = 1) -> Acoustic:
    """Shots along the second row, a receiver at each node of it."""
    at = torch.linspace(0, n - 1, shots + 2).round()[1:-1]
    sources = torch.stack([torch.full_like(at, DX), DX * at], -1)
    receivers = torch.stack([torch.full((n,), DX), DX * torch.arange(n)], -1)
    wavelet = ricker(PEAK, DT * torch.arange(steps))
    return Acoustic(section(n), Survey.shots(sources, receivers, wavelet), DT, order, speed=SLOW, nodes=1.0)


def theirs(operator: Acoustic, velocity: Tensor, width: int = RING) -> Tensor:
    """The same survey by deepwave, (shot, receiver, time)."""
    survey, dx = operator.survey, operator.section.dx
    return deepwave.scalar(
        velocity,
        dx,
        operator.dt,
        source_amplitudes=-survey.wavelets[:, None].to(velocity.dtype) / dx**2,
        source_locations=(survey.points / dx).round().long()[:, None],
        receiver_locations=(survey.receivers / dx).round().long().expand(survey.size, -1, -1),
        accuracy=operator.order,
        pml_width=width,
        pml_freq=PEAK,
        max_vel=FAST,
    )[-1]


def gradient(traces: Callable[[Tensor], Tensor], velocity: Tensor) -> Tensor:
    """Of the energy of all traces."""
    m = velocity.clone().requires_grad_()
    (found,) = torch.autograd.grad(traces(m).square().sum(), m)
    return found


def pairs(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least CPU seconds of this thread of each, by turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (first, second):
        call()
    for _ in range(repeats):
        for call, kept in ((first, times[0]), (second, times[1])):
            began = time.thread_time()
            call()
            kept.append(time.thread_time() - began)
    return min(times[0]), min(times[1])


@cache
def speed(n: int, order: int, repeats: int = 5, share: float = 1.0) -> dict[str, float]:
    """Seconds of either code, cell-steps per second, and ratios."""
    steps = int(STEPS[n] * share)
    operator, velocity = ours(n, order, steps), layered(n)
    found: dict[str, float] = {}
    runs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "forward": (lambda: operator(velocity), lambda: theirs(operator, velocity)),
        "gradient": (lambda: gradient(operator, velocity), lambda: gradient(lambda m: theirs(operator, m), velocity)),
    }
    for name, (mine, peer) in runs.items():
        own, other = pairs(mine, peer, repeats)
        found |= {f"{name}.seconds": own, f"{name}.deepwave": other, f"{name}.ratio": other / own}
        found[f"{name}.steps_us"] = own / steps * 1e6
    own, other = pairs(
        lambda: gradient(operator, velocity),
        lambda: gradient(lambda m: theirs(operator, m, operator.section.width), velocity),
        repeats,
    )
    found["gradient.ratio_equal_width"] = other / own
    cells = operator.section.rows * operator.section.columns * steps
    found["bound"] = 16 * cells / found["forward.seconds"] / bandwidth(operator)
    return found


def bandwidth(operator: Acoustic) -> float:
    """Bytes per second of a triad over arrays as large as the operator's field, last field and speed."""
    single = np.dtype(np.float32)
    a, b, c = (aligned(operator.section.size(single), single) for _ in range(3))
    passes = max(int(3e8 / a.nbytes), 3)
    _triad(a, b, c, 1)
    least = np.inf
    for _ in range(5):
        began = time.thread_time()
        _triad(a, b, c, passes)
        least = min(least, time.thread_time() - began)
    return 3 * a.nbytes * passes / least


@numba.njit(nogil=True)
def _triad(a: Floats, b: Floats, c: Floats, passes: int) -> None:
    half = splat(a, a.dtype.type(0.5))
    for _ in range(passes):
        for j in range(0, len(a) - lanes(a) + 1, lanes(a)):
            store(a, j, load(b, j) + half * load(c, j))


def peak(code: str, n: int, order: int, steps: int) -> float:
    """MiB of one gradient above what was resident before, in a process of its own."""
    words = [sys.executable, str(Path(__file__).resolve()), "--peak", code, str(n), str(order), str(steps)]
    return float(subprocess.check_output(words, text=True).split()[-1])


def _peak(code: str, n: int, order: int, steps: int) -> float:
    def run(size: int, length: int) -> None:
        operator = ours(size, order, length)
        traces = operator if code == "ours" else lambda m: theirs(operator, m)
        gradient(traces, layered(size))

    def status(name: str) -> float:
        line = next(t for t in Path("/proc/self/status").read_text().splitlines() if t.startswith(name))
        return int(line.split()[1]) / 1024

    run(32, 160)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    before = status("VmRSS")
    run(n, steps)
    return status("VmHWM") - before


@cache
def memory(n: int, order: int, share: float = 1.0) -> dict[str, float]:
    """MiB of the gradient of one shot, and the share [%] of deepwave's."""
    steps = int(LONG[n] * share)
    own, other = (peak(code, n, order, steps) for code in ("ours", "deepwave"))
    return {"MiB": own, "deepwave": other, "percent": 100 * own / other}


@cache
def threads(repeats: int = 5) -> float:
    """How much faster two threads run eight shots' gradient than one, in wall time."""
    operator, velocity = ours(256, 4, 300, shots=8), layered(256)
    least = {1: np.inf, 2: np.inf}
    gradient(operator, velocity)
    for _ in range(repeats):
        for many in least:
            torch.set_num_threads(many)
            began = time.perf_counter()
            gradient(operator, velocity)
            least[many] = min(least[many], time.perf_counter() - began)
    torch.set_num_threads(1)
    return float(least[1] / least[2])


@cache
def parameters(repeats: int = 5) -> float:
    """Time of a gradient in 65,536 parameters over that in 625, the cells and steps being the same."""
    operator, velocity = ours(256, 4, 400), layered(256)
    block = torch.arange(256) * 25 // 256
    coarse = velocity[::10, ::10][:25, :25].contiguous()
    many, few = pairs(
        lambda: gradient(operator, velocity), lambda: gradient(lambda m: operator(m[block][:, block]), coarse), repeats
    )
    return many / few


def exact(wavelet: Tensor, dt: float, distances: Floats, velocity: float, stepped: bool = False) -> Floats:
    """Pressure of a point source in a plane, (distance, time): f * H(t - r/v) / (2π sqrt(t² - r²/v²)).

    ``stepped`` gives what exact differences in space and this time step would.
    """
    length = 16 * len(wavelet)
    omega = 2 * np.pi * np.fft.rfftfreq(length, dt)
    waved = 2 / dt * np.sin(omega * dt / 2) if stepped else omega
    spectrum = np.fft.rfft(wavelet.double().numpy(), length)
    green = np.zeros((len(distances), len(omega)), complex)
    green[:, 1:] = -0.25j * hankel2(0, waved[1:] * distances[:, None] / velocity)
    return np.fft.irfft(green * spectrum, length)[:, : len(wavelet)]


def homogeneous(order: int, nodes: float, courant: float, extent: float = 12.0) -> dict[str, float]:
    """Errors (root mean square, as a share) of traces in a homogeneous plane, ``nodes`` to the shortest wavelength.

    Receivers lie up to ``extent`` shortest wavelengths away, straight and across; edges are too far to be felt.
    """
    highest = 50.0
    dx = SLOW / (nodes * highest)
    dt = courant * dx / SLOW
    delay, reach = 0.09, np.array([0.25, 0.5, 0.75, 1.0]) * extent * nodes
    seconds = delay + extent / highest + 0.07
    steps, margin = int(seconds / dt), int(seconds * SLOW / dx / 2) + 4
    wavelet = ricker(20.0, dt * torch.arange(steps, dtype=torch.float64), delay)
    away = np.concatenate([np.stack([0 * reach, reach], -1), np.stack([reach, reach], -1) / np.sqrt(2)]).round()
    n = int(reach[-1]) + 2 * margin
    survey = Survey.shots(np.full((1, 2), dx * margin), dx * (margin + away), wavelet)
    operator = Acoustic(section(n, dx), survey, dt, order, speed=SLOW, nodes=1.0)
    plane = torch.full((n, n), SLOW, dtype=torch.float64)
    traces, peer = operator(plane)[0].numpy(), theirs(operator, plane)[0].numpy()
    distances = dx * np.hypot(*away.T)
    truth, stepped = (exact(wavelet, dt, distances, SLOW, s) for s in (False, True))

    def error(a: Floats, b: Floats) -> float:
        return float(np.sqrt(((a - b) ** 2).sum() / (b**2).sum()))

    return {
        "analytic": error(traces, truth),
        "space": error(traces, stepped),
        "deepwave": error(traces, peer),
        "deepwave_analytic": error(peer, truth),
    }


@cache
def convergence(order: int) -> float:
    """Order at which the error in space falls when nodes become half as many again."""
    coarse, fine = {2: (8.0, 12.0), 4: (6.0, 9.0), 8: (4.0, 6.0)}[order]
    errors = [homogeneous(order, nodes, 0.4, 5.0)["space"] for nodes in (coarse, fine)]
    return float(np.log(errors[0] / errors[1]) / np.log(fine / coarse))


@cache
def accuracy(order: int) -> dict[str, float]:
    """Errors at the recommended sampling, in percent."""
    return {name: 100 * value for name, value in homogeneous(order, *SAMPLING[order]).items()}


@cache
def reflection(order: int = 4, peer: bool = False) -> dict[str, float]:
    """Decibels of what the lower edge returns, by angle of incidence, against a section too large to feel an edge."""
    nodes, deep, far = SAMPLING[order][0], 12, 260
    dx = SLOW / (nodes * 50.0)
    dt = 0.5 * dx / SLOW
    offsets = np.array([0, 8, 14, 20, 28, 40, 50])
    wavelet = ricker(20.0, dt * torch.arange(520, dtype=torch.float64))

    def traces(wide: int, below: int) -> Floats:
        n = 2 * wide + 130
        space = Space("velocity", {"z": dx * np.arange(wide + 12 + below), "x": dx * np.arange(n)}, "m/s", Positive())
        row = wide + 11
        places = np.stack([np.full(len(offsets), row), wide + 20 + offsets], -1) * dx
        survey = Survey.shots(places[:1], places, wavelet)
        operator = Acoustic(space, survey, dt, order, speed=SLOW, nodes=1.0)
        plane = torch.full(space.shape, SLOW, dtype=torch.float64)
        return (theirs(operator, plane) if peer else operator(plane))[0].numpy()

    found = np.abs(traces(far, deep) - traces(far, far)).max(1)
    path = dx * np.hypot(offsets, 2 * deep)
    incident = np.abs(exact(wavelet, dt, path, SLOW)).max(1)
    angles = np.degrees(np.arctan2(offsets, 2 * deep))
    return {f"{angle:.0f}": float(20 * np.log10(a / b)) for angle, a, b in zip(angles, found, incident, strict=True)}


def measured(quick: bool) -> dict[str, float]:
    """Every figure by name."""
    repeats, share = (3, 0.4) if quick else (5, 1.0)
    found: dict[str, float] = {}
    for n in SIZES:
        for order in ORDERS:
            kept = speed(n, order, repeats, share)
            found |= {f"{name}_{n}_order{order}": value for name, value in kept.items()}
            kept = memory(n, order, share)
            found |= {f"memory.{name}_{n}_order{order}": value for name, value in kept.items()}
    found["two_threads"] = threads(repeats)
    found["parameters_100x"] = parameters(repeats)
    for order in ORDERS:
        found |= {f"error.{name}_order{order} [%]": value for name, value in accuracy(order).items()}
        found[f"convergence_order{order}"] = convergence(order)
    for peer in (False, True):
        name = "deepwave_reflection" if peer else "reflection"
        found |= {f"{name}_{angle}deg [dB]": value for angle, value in reflection(4, peer).items()}
    return found


def table(found: dict[str, float]) -> str:
    """The figures for people."""
    lines = [
        f"{'nodes':>5} {'order':>5}   {'forward':>22}   {'gradient':>22}   {'memory':>24}   {'of bound':>8}",
        f"{'':>13}" + 2 * f"{'us/step':>12} {'deepwave/own':>12} " + f"{'MiB':>13} {'% of deepwave':>13}",
    ]
    for n in SIZES:
        for order in ORDERS:
            own = {k.rsplit("_", 2)[0]: v for k, v in found.items() if k.endswith(f"_{n}_order{order}")}
            lines.append(
                f"{n:5d} {order:5d} {own['forward.steps_us']:13.2f} {own['forward.ratio']:12.2f} "
                f"{own['gradient.steps_us']:12.2f} {own['gradient.ratio']:12.2f} {own['memory.MiB']:13.1f} "
                f"{own['memory.percent']:13.2f} {100 * own['bound']:9.0f} %"
            )
    sized = tuple(f"_{n}_order{order}" for n in SIZES for order in ORDERS)
    lines += [f"{name:40s} {value:10.3f}" for name, value in found.items() if not name.endswith(sized)]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print numbers by name")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--peak", nargs=4, metavar=("CODE", "N", "ORDER", "STEPS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        print(_peak(given.peak[0], *map(int, given.peak[1:])))
    else:
        result = measured(given.quick)
        print(json.dumps(result, indent=1) if given.json else table(result))
