"""Train the net that fills the shipped elevation model; it learns from its west and is judged in its east."""

from __future__ import annotations

import sys
import time

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads
from posteriori.domains.geography.tiles_net import PLAN, WEIGHTS, elevation_patches, learnt
from posteriori.learn.network import save_net

if __name__ == "__main__":
    started = time.process_time()
    fields, _ = elevation_patches(1024, Rng(100).child("patches"))
    with fixed_threads():
        trained = learnt(fields, PLAN, Context(Rng(100)))
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_net(trained.net, WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size} bytes, {time.process_time() - started:.0f} CPU s", file=sys.stderr)
