"""Concept data for dissection: drawn scenes and glyphs, where it is known which pixels show what."""

from pathlib import Path

import torch

from experiments.datasets import broden, presets
from experiments.datasets.presets import stand_in, written
from experiments.datasets.registry import OUT, check_scale
from experiments.datasets.rng import check_integer, check_split
from experiments.datasets.spec import parse
from experiments.datasets.synthetic.base import Generated
from interpretable_sgd.analysis.concepts import Broden, ConceptArrays, ConceptSample, numbered


class GeneratedConcepts:
    """Labelled images of one split of a generated data set; each is drawn when it is asked for.

    Args:
        source: such as `Scenes`.
        split: "train", "validation" or "test".
        n: number of images.

    >>> from experiments.datasets.synthetic.scenes import Scenes
    >>> concepts = GeneratedConcepts(Scenes(), "test", 3)
    >>> len(concepts.table), concepts[0].image.shape, concepts[0].size
    (16, torch.Size([3, 24, 24]), (24, 24))
    """

    def __init__(self, source: Generated, split: str, n: int) -> None:
        check_split(split)
        check_integer("n", n, 1)
        self.source, self.split, self.n = source, split, n
        self.table = numbered(source.concept_names)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> ConceptSample:
        images, _ = self.source.tensors(self.split, [index])
        masks = self.source.masks(self.split, [index])[0]
        # masks of visible pixels do not overlap: one plane holds them all
        numbers = torch.arange(1, len(masks) + 1)
        plane = (masks * numbers[:, None, None]).sum(0)
        size = plane.shape[0], plane.shape[1]
        return ConceptSample(images[0], [plane.numpy()], size, self.name(index))

    def name(self, index: int) -> str:
        """Split and number."""
        return f"{self.split} {index}"


def concept_arrays(source: Generated, split: str, n: int) -> ConceptArrays:
    """The first n images of a split with their masks, drawn once: for those who read them often."""
    images, _ = source.tensors(split, n)
    return ConceptArrays.of_masks(images, source.masks(split, n), names=source.concept_names)


def open_concepts(
    text: str, *, scale: str = "tiny", size: int | None = None, out: Path | None = None
) -> Broden:
    """Concept data by name: ``broden:/path``.

    Without a path it is, at the scales tiny and small, a stand-in in Broden's format that shows and
    labels the scenes which the stand-in of Places365 shows; written once, below ``out/data``.

    Args:
        text: ``broden`` or ``broden:path``.
        scale: tiny, small or paper.
        size: pixels of a side of a stand-in's images, as for `open_data`.
        out: folder below which a stand-in is written; None for ``runs``.

    Raises:
        DataError: no path where one is needed; what lies there is missing or something else.
        ValueError: no such name or scale; options, of which there are none.
    """
    check_scale(scale)
    name, path, options = parse(text)
    if name != "broden":
        raise ValueError(f"name must be broden, got {name!r}")
    if options:
        raise ValueError(f"broden takes a path and no options, got {', '.join(options)}")
    if path is None:
        scenes = stand_in(scale, presets.PLACES365, "broden", broden.EXPECTED, size)
        path = written(
            (out or OUT) / "data",
            "broden",
            scenes.parameters(),
            lambda draft: broden.write_broden(draft, scenes),
        )
    return Broden(broden.find(path))
