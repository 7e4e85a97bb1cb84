"""The vocabulary of the scenes: shapes, colours and textures, and the concepts made of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Region = Callable[[Plane, Plane], NDArray[np.bool_]]


def _reach(x: Plane, y: Plane) -> Plane:
    return np.maximum(abs(x), abs(y))


def _plus(x: Plane, y: Plane) -> NDArray[np.bool_]:
    return (np.minimum(abs(x), abs(y)) <= 0.27) & (_reach(x, y) <= 0.92)


# Regions of the unit disc, y downwards. Only sums, products and comparisons: these are exact in IEEE arithmetic,
# so a pixel is the same whatever batch it is computed in.
SHAPES: dict[str, Region] = {
    "disc": lambda x, y: x * x + y * y <= 0.75,
    "square": lambda x, y: _reach(x, y) <= 0.7,
    "triangle": lambda x, y: (y <= 0.55) & (2 * abs(x) <= y + 0.95),
    "plus": _plus,
    "ring": lambda x, y: abs(x * x + y * y - 0.62) <= 0.34,
    "bar": lambda x, y: (abs(x) <= 0.92) & (abs(y) <= 0.34),
    "cross": lambda x, y: _plus(0.7071 * (x + y), 0.7071 * (x - y)),
    "pillar": lambda x, y: (abs(x) <= 0.34) & (abs(y) <= 0.92),
    "diamond": lambda x, y: abs(x) + abs(y) <= 0.95,
    "frame": lambda x, y: abs(_reach(x, y) - 0.53) <= 0.18,
    "bowtie": lambda x, y: (abs(x) <= 0.7) & (abs(y) <= abs(x)),
    "corner": lambda x, y: (_reach(x, y) <= 0.7) & ((x <= -0.15) | (y >= 0.15)),
}

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.9, 0.2, 0.2),
    "green": (0.2, 0.8, 0.25),
    "blue": (0.25, 0.35, 0.95),
    "yellow": (0.9, 0.85, 0.2),
    "magenta": (0.85, 0.25, 0.85),
    "cyan": (0.2, 0.85, 0.85),
}


def _odd(x: Plane) -> NDArray[np.bool_]:
    return np.floor(x) % 2 == 1


# Where the colour is darkened.
TEXTURES: dict[str, Region] = {
    "plain": lambda x, y: np.zeros(x.shape, dtype=bool),
    "striped": lambda x, y: _odd(2.2 * y + 0.5),
    "checked": lambda x, y: _odd(1.8 * x) != _odd(1.8 * y),
    "barred": lambda x, y: _odd(2.2 * x + 0.5),
}

MOST_CONCEPTS = len(SHAPES) * len(COLOURS) * len(TEXTURES)


def concept_parts(concept: int) -> tuple[int, int, int]:
    """Shape, colour and texture number of a concept; distinct for distinct concepts below :data:`MOST_CONCEPTS`.

    The enumeration walks through the first eight shapes, then again in the next colour, so that already a few
    concepts share shapes and share colours, and neither names a concept alone.

    >>> len({concept_parts(k) for k in range(MOST_CONCEPTS)}) == MOST_CONCEPTS
    True
    """
    block, rest = divmod(concept, 8 * len(COLOURS) * len(TEXTURES))
    width = min(8, len(SHAPES) - 8 * block)
    round_, shape = divmod(rest, width)
    texture_round, colour = divmod(round_, len(COLOURS))
    return (
        8 * block + shape,
        (colour * 2 + colour // 3 + shape) % len(COLOURS),
        (texture_round + shape + colour) % len(TEXTURES),
    )


def render_concept(
    concept: int, x: Plane, y: Plane
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Plane]:
    """Inside and dark pixels of a concept at local coordinates (both of their shape), and its colour (3,)."""
    shape, colour, texture = concept_parts(concept)
    return (
        list(SHAPES.values())[shape](x, y),
        list(TEXTURES.values())[texture](x, y),
        np.array(list(COLOURS.values())[colour], dtype=np.float32),
    )


def concept_name(concept: int) -> str:
    """Words for a concept.

    >>> concept_name(0)
    'red plain disc'
    """
    shape, colour, texture = concept_parts(concept)
    return f"{list(COLOURS)[colour]} {list(TEXTURES)[texture]} {list(SHAPES)[shape]}"
