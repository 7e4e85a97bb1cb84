"""What torchrun starts: `launched.py FOLDER` trains one run of the paper's on all ranks."""

import sys
from pathlib import Path

import torch

from experiments.launch import Event, one_after_another
from experiments.run import Environment
from experiments.training.distributed import joined, leave
from tests.experiments.conftest import planned

PLANNED = planned()


def main(folder: str) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as ranks:
        environment = Environment(Path(folder), ranks=ranks)

        def tell(event: Event) -> None:
            # In one write: torchrun's ranks are unbuffered, and print writes the line's end apart.
            sys.stdout.write(f"{ranks.rank} {event.kind}\n")

        one_after_another([PLANNED, PLANNED], environment, tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
