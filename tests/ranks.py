"""Processes that train together, on one machine."""

import datetime
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from experiments.training.distributed import leave


def spawned(target: Callable[..., Any], folder: Path, *args: Any, ranks: int = 2) -> list[Any]:
    """What `target(rank, *args)` returned in each of as many processes, which form one group."""
    torch.multiprocessing.spawn(_process, (str(folder), ranks, target, args), nprocs=ranks)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(ranks)]


def _process(
    rank: int, folder: str, ranks: int, target: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=60),
    )
    torch.save(target(rank, *args), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    leave()
