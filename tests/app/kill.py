"""Kill a run with SIGKILL at many random moments; run by ``test_kill.py`` in a process of its own.

``python kill.py DOMAINS FOLDER KILLS`` prints, as JSON, the hashes of a whole run, those of the run that was killed
and resumed, how many kills came before an end, and every file that was found half-written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import posteriori.domains
from posteriori.app.folder import digests
from posteriori.app.runner import BESIDE, Job, checkpoints, run
from posteriori.core.store import Store


def main(domains: str, place: str, kills: int) -> None:
    posteriori.domains.__path__.append(domains)
    job = Job.of("fruit/apple-mass", {"readings": "2000"})
    whole = run(job, Path(place) / "whole")
    began = time.perf_counter()
    run(job, Path(place) / "timed")
    length = time.perf_counter() - began
    moments, broken, survived = random.Random(0), [], 0
    for attempt in range(10 * kills):
        if survived == kills:
            break
        folder = Path(place) / "killed"
        child = os.fork()
        if child == 0:
            run(job, folder)
            os._exit(0)
        time.sleep(moments.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        survived += os.WIFSIGNALED(status)
        broken += [f"{attempt}: {name}" for name in unreadable(job, folder)]
        if folder.exists():
            if digests(folder, skip=BESIDE) != whole.record.results:
                broken.append(f"{attempt}: folder differs")
            folder.rename(folder.with_name(f"done-{attempt}"))
    resumed = run(job, Path(place) / "killed")
    print(
        json.dumps(
            {"whole": whole.record.results, "resumed": resumed.record.results, "kills": survived, "broken": broken}
        )
    )


def unreadable(job: Job, folder: Path) -> list[str]:
    """Checkpoints that cannot be read back."""
    store, found = Store(checkpoints(job, folder)), []
    for path in store.folder.glob("[!.]*.safetensors"):
        try:
            store.load(path.stem)
        except Exception as problem:
            found.append(f"{path.name}: {problem}")
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
