"""Noisy glyphs: grey images whose class is the pair of 5 x 5 binary glyphs they show, near the limit of visibility.

Index legend: ``n`` image, ``t`` glyph of an image, ``k`` concept (glyph).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.rng import Streams, check_integer, check_real, design_generator
from experiments.datasets.synthetic.base import Generated
from experiments.datasets.synthetic.compositions import draw_composition

PARTS = (2,)
SIDE = 5
STROKES = 12
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Glyphs(Generated):
    """Images of ``concepts`` random glyphs in strong noise; a class is a pair of glyphs.

    A glyph has 12 bright pixels of 5 x 5, magnified by ``size // 24``. An image shows the two glyphs of its class and
    up to ``distractors`` others (never all of another class) anywhere, without overlap, on a dark ground.

    Args:
        size: height and width in pixels, >= 18.
        classes: number of classes, >= 2.
        concepts: number of glyphs, 3 to 256.
        distractors: largest number of further glyphs in an image, >= 0; their number is uniform from 0.
        noise: standard deviation of the pixel noise, 0 to 2; the ground is 0, strokes lie in [2/3, 4/3].
        seed: integer >= 0; decides the glyphs, the composition of the classes and all images.

    >>> glyphs = Glyphs()
    >>> images, labels = glyphs.tensors("train", 3)
    >>> images.shape, images.dtype, labels
    (torch.Size([3, 1, 24, 24]), torch.float32, tensor([0, 1, 2]))
    >>> glyphs.composition.sum(1).unique(), glyphs.masks("train", [2]).shape
    (tensor([2]), torch.Size([1, 12, 24, 24]))
    """

    size: int = 24
    classes: int = 20
    concepts: int = 12
    distractors: int = 2
    noise: float = 0.45
    seed: int = 0

    channels: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_integer("size", self.size, 18)
        check_integer("classes", self.classes, 2)
        check_integer("concepts", self.concepts, 3, 256)
        check_integer("distractors", self.distractors, 0, self._grid**2 - 2)
        check_real("noise", self.noise, 0.0, 2.0)
        check_integer("seed", self.seed, 0)
        self._rows()

    @property
    def _scale(self) -> int:
        return max(1, self.size // 24)

    @property
    def _grid(self) -> int:
        """Cells along a side; each has room for a glyph and a pixel between neighbours."""
        return self.size // (self._scale * (SIDE + 1))

    @property
    def _slots(self) -> int:
        return PARTS[0] + self.distractors

    @cached_property
    def _design(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        generator = design_generator(self.seed)
        composition = draw_composition(self.classes, self.concepts, PARTS, generator)
        return composition, draw_patterns(self.concepts, generator)

    def _rows(self) -> NDArray[np.bool_]:
        return self._design[0]

    @property
    def patterns(self) -> NDArray[np.bool_]:
        """The glyphs, boolean (concepts, 5, 5)."""
        return self._design[1].copy()

    @property
    def concept_names(self) -> list[str]:
        """Names from "glyph 0"."""
        return [f"glyph {k}" for k in range(self.concepts)]

    @property
    def class_names(self) -> list[str]:
        """Names such as "glyphs 3 + 7"."""
        return [f"glyphs {' + '.join(map(str, np.flatnonzero(row)))}" for row in self._rows()]

    def _draw(
        self, streams: Streams, own: NDArray[np.bool_], extra: NDArray[np.bool_]
    ) -> tuple[Floats, NDArray[np.int16]]:
        shown = own | extra
        image, concept = np.nonzero(shown)
        t = (shown.cumsum(1) - 1)[image, concept]
        row, column = (line[image, t] for line in self._places(streams))
        where = image[:, None, None], row[:, :, None], column[:, None, :]

        strokes = self._design[1].repeat(self._scale, 1).repeat(self._scale, 2)[concept]
        gains = 1 + (2 * streams.uniform(self._slots)[image, t] - 1) / 3
        images = self.noise * streams.normal(1, self.size, self.size)
        images[:, 0][where] += strokes * gains[:, None, None]
        owner = np.full((len(own), self.size, self.size), -1, dtype=np.int16)
        owner[where] = np.where(strokes, concept[:, None, None], -1)
        return images, owner

    def _places(self, streams: Streams) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Pixel rows and columns of glyph t, each (n, t, 5 scale), in distinct cells of the grid."""
        pitch, span = self.size // self._grid, self._scale * SIDE
        cell = streams.uniform(self._grid**2).argsort(1, kind="stable")[:, : self._slots]
        offset = (streams.uniform(self._slots, 2) * (pitch - span + 1)).astype(int)
        row = (cell // self._grid) * pitch + offset[..., 0]
        column = (cell % self._grid) * pitch + offset[..., 1]
        return row[..., None] + np.arange(span), column[..., None] + np.arange(span)


def draw_patterns(glyphs: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Random glyphs of 12 strokes, boolean (glyphs, 5, 5), each as unlike the earlier ones as 64 tries allow.

    >>> draw_patterns(12, np.random.default_rng(0)).sum((1, 2)).tolist() == [12] * 12
    True
    """
    patterns = np.zeros((glyphs, SIDE * SIDE), dtype=bool)
    for k in range(glyphs):
        tries = generator.random((64, SIDE * SIDE)).argsort(1) < STROKES
        common = (tries[:, None] & patterns[None, :k]).sum(2).max(1, initial=0)
        patterns[k] = tries[common.argmin()]
    return patterns.reshape(glyphs, SIDE, SIDE)
