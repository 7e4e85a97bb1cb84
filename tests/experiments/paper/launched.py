"""What torchrun starts: `launched.py FOLDER` trains one run of the paper's on all ranks."""

import sys
from pathlib import Path

import torch

from experiments.paper.place import Place
from experiments.paper.planned import Planned
from experiments.paper.workers import one_after_another
from experiments.train.leaving import leave
from experiments.train.ranks import joined
from tests.experiments.paper.conftest import DATA

PLANNED = Planned("resnet18_isgd", "isgd epochs=2", DATA, "tiny", 0)


def main(folder: str) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as ranks:
        place = Place(Path(folder), {}, ranks=ranks)
        one_after_another([PLANNED, PLANNED], place, lambda event: print(ranks.rank, event.kind))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
