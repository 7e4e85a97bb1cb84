"""Concept scenes: images whose class is the set of two or three coloured, textured shapes they show.

Index legend: ``n`` image, ``c`` channel, ``t`` object of an image in painting order, ``k`` concept.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.datasets.rng import Streams, check_integer, check_real, design_generator
from experiments.datasets.synthetic import shapes
from experiments.datasets.synthetic.base import Generated
from experiments.datasets.synthetic.compositions import draw_composition

PARTS = (2, 3)
DARK = np.float32(0.4)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scenes(Generated):
    """Scenes of ``concepts`` distinct objects; a class is a set of two or three of them, no set within another.

    An image shows all concepts of its class, up to ``distractors`` others (never all of another class), and clutter
    that is no concept, on a coloured background with a gradient and a grating. Objects may hide parts of one
    another; those of the class lie on top of the distractors and always stay visible.

    Args:
        size: height and width in pixels, >= 16.
        classes: number of classes, >= 2.
        concepts: number of concepts, 4 to 288; 64 are plenty for 365 classes.
        distractors: largest number of further concepts in an image, >= 0; their number is uniform from 0.
        clutter: number of small coloured rectangles in the background, >= 0.
        noise: standard deviation of the pixel noise, 0 to 1 (colours lie in [0, 1]).
        jitter: variation of size, angle and colour of the objects, 0 to 1.
        seed: integer >= 0; decides the composition of the classes and all images.

    >>> scenes = Scenes()
    >>> images, labels = scenes.tensors("train", 3)
    >>> images.shape, images.dtype, labels
    (torch.Size([3, 3, 24, 24]), torch.float32, tensor([0, 1, 2]))
    >>> scenes.composition.shape, scenes.masks("train", [2]).shape
    (torch.Size([24, 16]), torch.Size([1, 16, 24, 24]))
    >>> bool((scenes.split("train", 3)[1][0] == images[1]).all())
    True
    """

    size: int = 24
    classes: int = 24
    concepts: int = 16
    distractors: int = 2
    clutter: int = 4
    noise: float = 0.2
    jitter: float = 0.5
    seed: int = 0

    channels: ClassVar[int] = 3
    least_size: ClassVar[int] = 16
    most_concepts: ClassVar[int] = shapes.MOST_CONCEPTS

    def __post_init__(self) -> None:
        check_integer("size", self.size, self.least_size)
        check_integer("classes", self.classes, 2)
        check_integer("concepts", self.concepts, 4, self.most_concepts)
        check_integer("distractors", self.distractors, 0)
        check_integer("clutter", self.clutter, 0)
        check_real("noise", self.noise, 0.0, 1.0)
        check_real("jitter", self.jitter, 0.0, 1.0)
        check_integer("seed", self.seed, 0)
        self._rows()

    @cached_property
    def _composition(self) -> NDArray[np.bool_]:
        return draw_composition(self.classes, self.concepts, PARTS, design_generator(self.seed))

    def _rows(self) -> NDArray[np.bool_]:
        return self._composition

    @property
    def concept_names(self) -> list[str]:
        """Colour, texture and shape of each concept."""
        return [shapes.concept_name(k) for k in range(self.concepts)]

    @property
    def class_names(self) -> list[str]:
        """The names of each class's concepts, joined by " + "."""
        names = self.concept_names
        return [" + ".join(names[k] for k in np.flatnonzero(row)) for row in self._rows()]

    def _draw(
        self, streams: Streams, own: NDArray[np.bool_], extra: NDArray[np.bool_]
    ) -> tuple[Floats, NDArray[np.int16]]:
        images = background(streams, self.size)
        images = add_clutter(images, streams, self.clutter)
        slots = PARTS[-1] + self.distractors
        order = painting_order(own, extra, streams.uniform(self.concepts), slots)
        poses = draw_poses(streams, self.size, slots, self.jitter)
        tint = 1 + self.jitter * (0.6 * streams.uniform(slots, 3) - 0.3)
        owner = np.full((len(images), self.size, self.size), -1, dtype=np.int16)
        for t in range(slots):
            self._paint(images, owner, order[:, t], local_frame(poses, t, self.size), tint[:, t])
        images += self.noise * streams.normal(3, self.size, self.size)
        return np.clip(images, 0, 1, out=images), owner

    def _paint(
        self,
        images: Floats,
        owner: NDArray[np.int16],
        concept: NDArray[np.int_],
        frame: tuple[Floats, Floats],
        tint: Floats,
    ) -> None:
        """Paint one object into each image, in place; concept (n,), tint (n, 3)."""
        x, y = frame
        for k in np.unique(concept[concept >= 0]):
            which = np.flatnonzero(concept == k)
            inside, dark, colour = shapes.render_concept(int(k), x[which], y[which])
            paint = (colour * tint[which])[:, :, None, None]
            shade = np.where(dark[:, None], DARK * paint, paint)
            images[which] = np.where(inside[:, None], shade, images[which])
            owner[which] = np.where(inside, k, owner[which])


def painting_order(
    own: NDArray[np.bool_], extra: NDArray[np.bool_], keys: Floats, slots: int
) -> NDArray[np.int_]:
    """Concepts of each image from the lowest to the topmost, (n, slots), -1 for none: distractors, then its own.

    >>> own, extra = np.array([[True, False, False]]), np.array([[False, False, True]])
    >>> painting_order(own, extra, np.array([[0.1, 0.5, 0.9]], np.float32), 3)
    array([[-1,  2,  0]])
    """
    height = np.where(own, 1 + keys, np.where(extra, keys, -1))
    order = height.argsort(1, kind="stable")[:, -slots:]
    order = np.where(np.take_along_axis(height, order, 1) < 0, -1, order)
    return np.pad(order, ((0, 0), (slots - order.shape[1], 0)), constant_values=-1)


def background(streams: Streams, size: int) -> Floats:
    """A random colour with a bilinear gradient and a triangle-wave grating, (n, 3, size, size)."""
    corners = 0.25 + 0.4 * streams.uniform(3, 2, 2)[..., None, None]
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    x = y.T
    ground = (1 - y) * ((1 - x) * corners[:, :, 0, 0] + x * corners[:, :, 0, 1]) + y * (
        (1 - x) * corners[:, :, 1, 0] + x * corners[:, :, 1, 1]
    )
    wave = streams.uniform(3)[..., None, None]
    depth = streams.uniform(3)[..., None, None]
    phase = 8 * (wave[:, 0] - 0.5) * x + 8 * (wave[:, 1] - 0.5) * y + wave[:, 2]
    ridge = 4 * abs(phase - np.floor(phase) - 0.5) - 1
    return ground + 0.15 * depth * ridge[:, None]


def add_clutter(images: Floats, streams: Streams, clutter: int) -> Floats:
    """Images with so many small rectangles of random colours."""
    size = images.shape[-1]
    box = streams.uniform(clutter, 4)[..., None, None]
    colour = streams.uniform(clutter, 3)[..., None, None]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    for j in range(clutter):
        inside_x = abs(axis[None, :] - box[:, j, 0]) <= 0.03 + 0.07 * box[:, j, 2]
        inside_y = abs(axis[:, None] - box[:, j, 1]) <= 0.03 + 0.07 * box[:, j, 3]
        images = np.where((inside_x & inside_y)[:, None], colour[:, j], images)
    return images


class Poses(NamedTuple):
    """Where the objects lie: centres and radii in pixels, cosine and sine of the angle, each (n, t)."""

    x: Floats
    y: Floats
    radius: Floats
    cosine: Floats
    sine: Floats


def draw_poses(streams: Streams, size: int, slots: int, jitter: float) -> Poses:
    """Place ``slots`` objects in distinct cells of a grid.

    Centres lie at most 0.15 cell off the middle of the cell and radii are at most 0.6 cell: another object ends
    before it reaches a centre, so two others, and the class has no more, cannot hide an object.
    """
    grid = max(3, ceil(sqrt(slots)))
    cell = size / grid
    place = streams.uniform(grid * grid).argsort(1, kind="stable")[:, :slots]
    shift = 0.3 * streams.uniform(slots, 2) + 0.35
    radius = cell * (0.6 - 0.25 * jitter * streams.uniform(slots))
    # tan(angle / 2); the rational form of the rotation is the same in every batch, cos and sin need not be
    lean = 0.25 * jitter * (2 * streams.uniform(slots) - 1)
    cosine, sine = (1 - lean**2) / (1 + lean**2), 2 * lean / (1 + lean**2)
    x, y = cell * (place % grid + shift[..., 0]), cell * (place // grid + shift[..., 1])
    return Poses(x.astype(np.float32), y.astype(np.float32), radius, cosine, sine)


def local_frame(poses: Poses, t: int, size: int) -> tuple[Floats, Floats]:
    """Every pixel's coordinates in the frame of object ``t``, each (n, size, size); the object fills the unit disc."""
    axis = np.arange(size, dtype=np.float32) + 0.5
    centre_x, centre_y, radius, cosine, sine = (value[:, t, None, None] for value in poses)
    x, y = (axis - centre_x) / radius, (axis[:, None] - centre_y) / radius
    return cosine * x + sine * y, cosine * y - sine * x
