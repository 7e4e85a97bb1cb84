"""Processes that train together, on one machine."""

import datetime
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def join(rank: int, folder: str, ranks: int = 2) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=60),
    )


def spawned(target: Callable[..., None], folder: Path, *args: Any, ranks: int = 2) -> list[Any]:
    """Run `target(rank, folder, *args)` in as many processes; what each saved as RANK.pt."""
    torch.multiprocessing.spawn(target, (str(folder), *args), nprocs=ranks)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(ranks)]
