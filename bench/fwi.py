"""Full-waveform inversion against deepwave with Adam and with L-BFGS, each for the same wall time, in one run.

    python bench/fwi.py --model vp_marmousi_bi --window 2257.5 9750 --block 3 --shots 24 --receivers 166 --seconds 4 \
        --minutes 30

All contestants get the same records, start, wavelet, known water and number of threads. deepwave inverts on the cells
of the inversion and takes every fourth step for its gradient (model_gradient_sampling_interval), which makes it faster
at no visible loss. ``bands`` are its variants that go through the same bands of frequency; each band takes the share
of time that this package's plan of iterations gives it. Prints the error of the section against time, and ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

THREADS = os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import deepwave  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.optimize import minimize  # noqa: E402
from torch import Tensor  # noqa: E402

from posteriori.core.random import Rng  # noqa: E402
from posteriori.core.run import Context  # noqa: E402
from posteriori.domains.geophysics.fwi import Stage, invert, pose  # noqa: E402
from posteriori.domains.geophysics.fwi_experiment import Experiment, Layout, stages_for  # noqa: E402
from posteriori.domains.geophysics.marmousi import Cut, read_section, synthetic_section  # noqa: E402

BOUNDS = (1400.0, 5500.0)
RING = 20
EVERY = 4
"""Steps between those that deepwave's gradient takes."""
GIBIBYTES = 2.0
"""Wave fields that deepwave may keep at once."""


class OutOfTimeError(Exception):
    """The contestant's minutes are over."""


@dataclass
class Clock:
    """Wall time of one contestant, and the error of its section along the way."""

    name: str
    seconds: float
    error: Callable[[np.ndarray], float]
    begun: float = field(default_factory=time.perf_counter)
    track: list[tuple[float, float]] = field(default_factory=list)
    gradients: int = 0

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.begun

    def note(self, section: np.ndarray) -> None:
        self.track.append((self.spent, self.error(section)))
        print(f"{self.name:24s} {self.spent:7.1f} s  {self.gradients:4d} gradients  RMSE {self.track[-1][1]:6.1f} m/s")

    def check(self) -> None:
        if self.spent > self.seconds:
            raise OutOfTimeError


class Deepwave:
    """Misfit ½ ‖d - p‖² / sigma² and its gradient by deepwave, for one band."""

    def __init__(self, experiment: Experiment, high: float | None) -> None:
        e, spread = experiment, experiment.spread
        self.z, self.x = (np.asarray(e.start[d].values, float) for d in ("z", "x"))
        self.cell = float(self.x[1] - self.x[0])
        self.every, self.dt = spread.steps(self.cell)
        # deepwave takes its source from the other side of the equation, and does not divide it by the area of a cell
        wavelet = -spread.wavelet(self.cell, high).float() / self.cell**2
        self.wavelet = wavelet[: len(wavelet) // EVERY * EVERY]
        self.data = spread.filtered(e.data, high).float()
        self.sources, self.receivers = (self._nodes(p) for p in (spread.sources, spread.receivers))
        self.sigma, self.peak, self.samples = e.sigma.float(), spread.peak, spread.samples
        cells = (len(self.z) + 2 * RING) * (len(self.x) + 2 * RING)
        self.batch = max(1, int(GIBIBYTES * 2**30 / (4.6 * cells * len(self.wavelet) / EVERY)))

    def __call__(self, velocity: np.ndarray, clock: Clock) -> tuple[float, np.ndarray]:
        v = torch.from_numpy(np.clip(velocity, *BOUNDS)).float().requires_grad_()
        total = 0.0
        for shots in torch.arange(len(self.sources)).split(self.batch):
            clock.check()
            p = self.traces(v, shots)
            cost = 0.5 * ((self.data[shots] - p) / self.sigma[shots]).square().sum()
            cost.backward()
            total += float(cost.detach())
        clock.gradients += 1
        assert v.grad is not None
        return total, v.grad.double().numpy()

    def traces(self, v: Tensor, shots: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulated = deepwave.scalar(
                v,
                self.cell,
                self.dt,
                source_amplitudes=self.wavelet.expand(len(shots), 1, -1).contiguous(),
                source_locations=self.sources[shots][:, None],
                receiver_locations=self.receivers.expand(len(shots), -1, -1).contiguous(),
                accuracy=8,
                pml_width=RING,
                pml_freq=self.peak,
                max_vel=BOUNDS[1],
                model_gradient_sampling_interval=EVERY,
            )[-1]
        return simulated[..., :: self.every][..., : self.samples]

    def _nodes(self, points: np.ndarray) -> Tensor:
        at = np.stack([(points[:, k] - axis[0]) / self.cell for k, axis in enumerate((self.z, self.x))], -1)
        assert np.abs(at - np.rint(at)).max() < 1e-6, "deepwave needs sources and receivers on nodes"
        return torch.from_numpy(np.rint(at).astype(np.int64))


def adam(experiment: Experiment, bands: Sequence[tuple[float | None, float]], clock: Clock, rate: float = 20.0) -> None:
    """Adam with a step of ``rate`` [m/s], for the share of time of each band."""
    v = experiment.start.values.copy()
    ends = np.cumsum([share for _, share in bands]) * clock.seconds
    for (high, _), end in zip(bands, ends, strict=True):
        misfit = Deepwave(experiment, high)
        x = torch.from_numpy(v).clone().requires_grad_()
        descent = torch.optim.Adam([x], lr=rate)
        while clock.spent < end:
            _, g = misfit(x.detach().numpy(), clock)
            x.grad = torch.from_numpy(np.where(experiment.rock, g, 0.0))
            descent.step()
            with torch.no_grad():
                x.clamp_(*BOUNDS)
            v = x.detach().numpy().copy()
            clock.note(v)


def lbfgs(
    experiment: Experiment, bands: Sequence[tuple[float | None, float]], clock: Clock, first: float = 50.0
) -> None:
    """L-BFGS-B (scipy), whose first step changes no cell by more than ``first`` [m/s]."""
    v = experiment.start.values.copy()
    ends = np.cumsum([share for _, share in bands]) * clock.seconds
    rock = experiment.rock
    for (high, _), end in zip(bands, ends, strict=True):
        misfit = Deepwave(experiment, high)
        base = v.copy()
        _, g = misfit(base, clock)
        unit = first * float(np.linalg.norm(g[rock]) / np.abs(g[rock]).max())

        def whole(y: np.ndarray, base: np.ndarray = base, unit: float = unit) -> np.ndarray:
            section = base.copy()
            section[rock] += unit * y
            return section

        def energy(y: np.ndarray, misfit: Deepwave = misfit, unit: float = unit) -> tuple[float, np.ndarray]:
            value, slope = misfit(whole(y), clock)
            return value, unit * slope[rock]

        def after(y: np.ndarray, end: float = end) -> None:
            nonlocal v
            v = whole(y)
            clock.note(v)
            if clock.spent > end:
                raise StopIteration

        box = [((BOUNDS[0] - m) / unit, (BOUNDS[1] - m) / unit) for m in base[rock]]
        minimize(
            energy,
            np.zeros(int(rock.sum())),
            jac=True,
            method="L-BFGS-B",
            bounds=box,
            callback=after,
            options={"maxiter": 10_000, "maxfun": 100_000, "maxcor": 10, "ftol": 0.0, "gtol": 0.0},
        )


def posteriori(experiment: Experiment, stages: Sequence[Stage], clock: Clock) -> None:
    """This package, its last band going on until the time is over."""

    calls: dict[float, float] = {}

    def watch(row: dict[str, float], m: Tensor) -> bool:
        calls[row["stage"]] = row["calls"]
        clock.gradients = int(sum(calls.values()))
        clock.note(m.numpy())
        return clock.spent > clock.seconds

    last = Stage(stages[-1].high, stages[-1].coarser, 10_000)
    e = experiment
    invert(e.spread, e.data, e.sigma, e.prior, [*stages[:-1], last], Context(), BOUNDS, watch)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--model", help="velocity file, e.g. vp_marmousi_bi; a section made in code without")
    asked.add_argument("--window", type=float, nargs=2, help="part of the section, x [m]")
    asked.add_argument("--minutes", type=float, default=0.5, help="wall time of each contestant")
    asked.add_argument("--block", type=int, default=4, help="nodes averaged into a cell")
    asked.add_argument("--shots", type=int, default=10)
    asked.add_argument("--receivers", type=int, default=50)
    asked.add_argument("--seconds", type=float, default=2.2, help="length of the records")
    asked.add_argument("--peak", type=float, default=5.0, help="of the Ricker wavelet [Hz]")
    asked.add_argument("--effort", type=float, default=1.0, help="factor on the iterations of all bands but the last")
    asked.add_argument("--peers", default="adam,lbfgs,adam-bands,lbfgs-bands")
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    torch.set_num_threads(int(THREADS))
    rng = Rng(given.seed)
    section = synthetic_section(rng.child("section"), 200, 400) if given.model is None else read_section(given.model)
    if given.window:
        section = Cut(*given.window)(section)
    layout = Layout(given.block, 300.0, given.shots, given.receivers, given.seconds, given.peak)
    experiment = Experiment.simulate(section, layout, rng.child("experiment"), Context())
    cell = given.block * float(section["x"][1] - section["x"][0])
    stages = stages_for(experiment.spread, cell, given.effort)
    seconds = 60.0 * given.minutes
    # kernels are compiled once and kept on disk: not a part of any contestant's time
    first = pose(experiment.spread, experiment.data, experiment.sigma, experiment.prior, stages[0], BOUNDS)
    first(first.origin())
    print(f"{THREADS} threads, {seconds:g} s each; start RMSE {experiment.rmse(experiment.start.values):.1f} m/s")
    plan = sum(stage.iterations for stage in stages)
    bands = [(stage.high, stage.iterations / plan) for stage in stages]
    contestants: dict[str, Callable[[Clock], None]] = {
        "posteriori": lambda clock: posteriori(experiment, stages, clock),
        "adam": lambda clock: adam(experiment, [(None, 1.0)], clock),
        "lbfgs": lambda clock: lbfgs(experiment, [(None, 1.0)], clock),
        "adam-bands": lambda clock: adam(experiment, bands, clock),
        "lbfgs-bands": lambda clock: lbfgs(experiment, bands, clock),
    }
    found: dict[str, dict[str, float]] = {}
    for name in ["posteriori", *(peer for peer in given.peers.split(",") if peer)]:
        clock = Clock(name if name == "posteriori" else f"deepwave {name}", seconds, experiment.rmse)
        with suppress(OutOfTimeError):
            contestants[name](clock)
        last = clock.track[-1][1] if clock.track else experiment.rmse(experiment.start.values)
        found[clock.name] = {"rmse": last, "gradients": clock.gradients, "seconds": clock.spent}
    own = found["posteriori"]["rmse"]
    print(f"\n{'':24s} {'RMSE [m/s]':>10s} {'gradients':>10s} {'seconds':>8s}  posteriori / it")
    for name, row in found.items():
        print(f"{name:24s} {row['rmse']:10.1f} {row['gradients']:10.0f} {row['seconds']:8.0f}  {own / row['rmse']:.3f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
