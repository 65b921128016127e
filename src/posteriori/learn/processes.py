"""One training shared by several spawned processes of this machine."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from posteriori.core.errors import OptionError, PosterioriError
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads
from posteriori.learn.loop import Fitted, Job, run
from posteriori.learn.team import Ranks


def run_together(job: Job) -> Fitted:
    """What one process would give, bit for bit on the CPU.

    Raises:
        OptionError: something in the job that another process cannot be sent, or batch normalisation, whose running
            means would differ between processes.
    """
    size = job.plan.processes
    if any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in job.net.modules()):
        raise OptionError("batch normalisation keeps other running means in each process; use LayerNorm or GroupNorm.")
    quiet = Context(job.context.rng, job.context.device, store=job.context.store)
    with tempfile.TemporaryDirectory(prefix="posteriori-") as folder:
        try:
            torch.save(replace(job, context=quiet), Path(folder) / "job.pt")
        except (AttributeError, TypeError) as error:
            raise OptionError(
                f"{size} processes need a net, loss and plan that can be sent to them ({error}); "
                "define them in a module and use no lambda."
            ) from error
        multiprocessing.spawn(_work, (folder, size), nprocs=size)  # type: ignore[attr-defined, no-untyped-call]
        outcome = torch.load(Path(folder) / "outcome.pt", weights_only=False, map_location=job.context.device)
    if isinstance(outcome, PosterioriError):
        raise outcome
    fitted: Fitted = outcome
    return fitted


def _work(rank: int, folder: str, size: int) -> None:
    """One process: rank 0 leaves the outcome, an error that the caller can mend included."""
    job: Job = torch.load(Path(folder) / "job.pt", weights_only=False)
    if job.context.device == "cuda":
        job = replace(job, context=replace(job.context, device=f"cuda:{rank % torch.cuda.device_count()}"))
    rendezvous = f"file://{Path(folder).absolute()}/rendezvous"
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size)
    outcome: Fitted | PosterioriError
    try:
        with fixed_threads():
            outcome = run(job, Ranks(rank, size))
    except PosterioriError as error:
        outcome = error
    if rank == 0:
        torch.save(outcome, Path(folder) / "outcome.pt")
    distributed.barrier()
    distributed.destroy_process_group()
