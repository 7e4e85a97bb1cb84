"""Made-up maps and labels of the sizes and kinds of Broden's, for benchmarks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from interpretable_sgd.analysis.concepts import Concept, ConceptSample, ConceptTable

LABELS, SIDE = 1197, 112
# how many of Broden's 1197 labels are of each category
CATEGORIES = {"color": 11, "object": 584, "part": 234, "material": 32, "scene": 289, "texture": 47}
PIXELS = ("color", "object", "part", "material")
PATCHES = 14


def table() -> ConceptTable:
    """1197 labels numbered from 1, by category."""
    kinds = [kind for kind, count in CATEGORIES.items() for _ in range(count)]
    return ConceptTable(tuple(Concept(n, f"{kind} {n}", kind) for n, kind in enumerate(kinds, 1)))


def maps(images: int, units: int, side: int, generator: torch.Generator) -> Tensor:
    """Smooth rectified maps, (n, u, side, side), with strong and weak images for every unit."""
    coarse = torch.randn(images, units, 4, 4, generator=generator)
    level = torch.randn(images, units, 1, 1, generator=generator)
    return (functional.interpolate(coarse, (side, side), mode="bilinear") + level).relu()


class Samples:
    """Labelled images, each drawn once and then given again and again, to stand for any number.

    Four planes of patches of eight pixels, a third of them unlabelled, about ten labels in each; every
    other image has a scene and a texture too.

    Args:
        n: length of the data set.
        distinct: images to draw.
        channels: of an image.
        side: of an image, in pixels.
    """

    def __init__(self, n: int, distinct: int = 64, channels: int = 16, side: int = 7) -> None:
        self.n, self.table = n, table()
        rng = np.random.default_rng(0)
        kinds = [concept.category for concept in self.table.concepts]
        numbers = {kind: 1 + np.flatnonzero(np.array(kinds) == kind) for kind in CATEGORIES}
        self._drawn = [_draw(rng, numbers, i, channels, side) for i in range(distinct)]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> ConceptSample:
        return self._drawn[index % len(self._drawn)]

    def name(self, index: int) -> str:
        """The index."""
        return str(index)


def _draw(
    rng: np.random.Generator, numbers: dict[str, np.ndarray], index: int, channels: int, side: int
) -> ConceptSample:
    entries: list[np.ndarray | int] = []
    for kind in PIXELS:
        shown = np.append(rng.choice(numbers[kind], 10), np.zeros(5, dtype=int))
        patches = rng.choice(shown, (PATCHES, PATCHES))
        entries.append(patches.repeat(SIDE // PATCHES, 0).repeat(SIDE // PATCHES, 1))
    if index % 2:
        entries += [int(rng.choice(numbers[kind])) for kind in ("scene", "texture")]
    image = torch.from_numpy(rng.normal(size=(channels, side, side))).float()
    return ConceptSample(image, entries, (SIDE, SIDE), str(index))


def labels(images: int) -> Sequence[ConceptSample]:
    """So many labelled images."""
    samples = Samples(images, images)
    return [samples[i] for i in range(images)]
