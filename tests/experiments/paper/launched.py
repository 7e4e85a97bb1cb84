"""What torchrun starts: `launched.py FOLDER` trains one run of the paper's on all ranks."""

import sys
from pathlib import Path

import torch

from experiments.paper.place import Place
from experiments.paper.planned import Planned
from experiments.paper.workers import Event, one_after_another
from experiments.training.distributed import joined
from experiments.training.hard_exit import leave
from tests.experiments.paper.conftest import DATA

PLANNED = Planned("resnet18_isgd", "isgd epochs=2", DATA, "tiny", 0)


def main(folder: str) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as ranks:
        place = Place(Path(folder), {}, ranks=ranks)

        def tell(event: Event) -> None:
            # In one write: torchrun's ranks are unbuffered, and print writes the line's end apart.
            sys.stdout.write(f"{ranks.rank} {event.kind}\n")

        one_after_another([PLANNED, PLANNED], place, tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
