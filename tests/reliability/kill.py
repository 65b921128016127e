"""Kill resumable work with SIGKILL at random moments; run by ``test_kill.py`` in a process of its own.

``python kill.py FOLDER KILLS`` forks a child after the imports, kills it, and starts another on the same store, until
``KILLS`` children have died. It prints, as JSON, how many died and how many ended, how many finished tasks were lost
or changed, every file under a final name that could not be read, and whether each answer equals the uninterrupted one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import posteriori as po
from posteriori import Draws, infer
from posteriori.core.run import Context, digest
from posteriori.core.store import Store
from posteriori.core.tasks import run_tasks
from posteriori.inference.problems import regression

TASKS = 10


def rows(target: Any, context: Context) -> dict[str, Tensor]:
    """One block of draws, with a little work to be killed in."""
    x = target.prior.sample(2000, context.rng)
    return {"x": x, "log_weight": -target.misfit(x)}


@dataclass(frozen=True)
class Blocks:
    """Prior draws weighted by the data, a task for each block."""

    def __call__(self, target: Any, context: Context) -> Draws:
        blocks = run_tasks(rows, target, range(TASKS), context)
        x, w = (torch.cat([block[key] for block in blocks]) for key in ("x", "log_weight"))
        return Draws(target.space, x, w)


def answer(store: Path, result: Path) -> None:
    """The whole job: resumable work, then one file."""
    infer(regression(), Blocks(), seed=3, store=store).save(result)


def state(path: Path) -> dict[str, str]:
    return {name: digest(tensor) for name, tensor in po.load(path).state_dict().items()}


def finished(store: Path) -> tuple[dict[str, str], list[str]]:
    """Digests of the tasks under final names, and what could not be read of them."""
    found, broken = {}, []
    for path in store.glob("*/[!.]*.safetensors"):
        try:
            held = Store(path.parent).load(path.stem)
            assert held is not None
            found[path.name] = "".join(digest(t) for t in held[0].values())
        except Exception as error:
            broken.append(f"{path.name}: {error}")
    return found, broken


def main(place: Path, kills: int) -> None:
    answer(place / "whole-store", place / "whole.nc")
    wanted = state(place / "whole.nc")
    began = time.perf_counter()
    answer(place / "timed-store", place / "timed.nc")
    length = time.perf_counter() - began
    moments = random.Random(0)
    died, ended, lost, differ = 0, 0, 0, 0
    broken: list[str] = []
    kept: dict[str, str] = {}
    store, result = place / "store", place / "result.nc"
    longest = 1.2 * length
    for _ in range(20 * kills):
        if died == kills:
            break
        child = os.fork()
        if child == 0:
            answer(store, result)
            os._exit(0)
        time.sleep(moments.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died += os.WIFSIGNALED(status)
        now, unreadable = finished(store)
        broken += unreadable
        lost += sum(now.get(name) != value for name, value in kept.items())
        kept = now
        longest *= 1.05  # on a machine that grew busier an answer takes longer than was measured
        if result.exists():
            longest = 1.2 * length
            try:
                differ += state(result) != wanted
            except Exception as error:
                broken.append(f"result: {error}")
            ended += 1
            result.unlink()
            shutil.rmtree(store)
            kept = {}
    answer(store, result)
    differ += state(result) != wanted
    print(json.dumps({"died": died, "ended": ended, "lost": lost, "broken": broken, "differ": differ}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
