"""Small drawings of places whose class is the pair of things in them, such as a boat and a house: a harbour.

Index legend: `n` image, `k` thing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE, FINE = 64, 4  # of an image in pixels, and how much finer it is drawn
MOST = 3  # further things in an image
PLACES = {
    "harbour": ("boat", "house"),
    "beach": ("boat", "sun"),
    "lake": ("fish", "boat"),
    "pond": ("fish", "flower"),
    "village": ("house", "tree"),
    "campsite": ("tent", "tree"),
    "street": ("house", "car"),
    "parking": ("car", "tree"),
    "garden": ("flower", "house"),
    "desert camp": ("tent", "sun"),
}
Colour = tuple[int, int, int]
Draw = ImageDraw.ImageDraw
Rng = np.random.Generator


@dataclass(frozen=True)
class Drawn:
    """Images and what they show.

    Attributes:
        images: (n, 64, 64, 3), uint8.
        things: the topmost thing of each pixel, (n, 64, 64), uint8, 0 for none, else k + 1.
        labels: (n,), the place.
    """

    images: NDArray[np.uint8]
    things: NDArray[np.uint8]
    labels: NDArray[np.int64]


def drawn(count: int, rng: Rng) -> Drawn:
    """So many images, the places in turn."""
    names = list(THINGS)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    things = np.zeros((count, SIDE, SIDE), np.uint8)
    labels = np.arange(count) % len(PLACES)
    pairs = [{names.index(name) for name in pair} for pair in PLACES.values()]
    for n in range(count):
        own = pairs[labels[n]]
        shown = _with_others(own, [pair for pair in pairs if pair != own], rng)
        images[n], things[n] = _image(shown, rng)
    return Drawn(images, things, labels)


def _with_others(own: set[int], others: list[set[int]], rng: Rng) -> list[int]:
    """Things to draw, the lowest first: some more than the place's own, that make up no other place."""
    more: list[int] = []
    for k in rng.permutation(len(THINGS))[: rng.integers(MOST + 1)].tolist():
        if k not in own and not any(pair <= own | {k, *more} for pair in others):
            more.append(k)
    return more + rng.permutation(sorted(own)).tolist()


def _image(shown: list[int], rng: Rng) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    picture = _ground(rng)
    mask = Image.new("L", picture.size, 0)
    corners = rng.permutation(4).tolist()  # one thing in each quarter, so none is hidden wholly
    for k, corner in zip(shown, corners, strict=False):
        size = rng.uniform(15, 30)
        x, y = ((SIDE / 2) * (corner >> b & 1) + SIDE / 4 + rng.uniform(-7, 7) for b in (0, 1))
        draw = list(THINGS.values())[k]
        strokes = draw(rng)
        for target, fixed in ((picture, None), (mask, k + 1)):
            pen = ImageDraw.Draw(target)
            for kind, points, colour in strokes:
                place = [((x + u * size / 2) * FINE, (y + v * size / 2) * FINE) for u, v in points]
                getattr(pen, kind)(place, fill=colour if fixed is None else fixed)
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    things = mask.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return np.asarray(small), np.asarray(things)


def _ground(rng: Rng) -> Image.Image:
    """Sky above, land or water below, each of a colour that drifts."""
    sky = rng.integers((150, 185, 205), (215, 225, 245))
    grounds = [(120, 160, 90), (205, 190, 140), (105, 150, 185), (150, 145, 140)]
    land = np.clip(np.array(grounds[rng.integers(4)]) + rng.integers(-20, 21, 3), 0, 255)
    side, edge = SIDE * FINE, int(rng.uniform(0.35, 0.75) * SIDE * FINE)
    shade = np.linspace(0.92, 1.08, side)[:, None, None]
    rows = np.where(np.arange(side)[:, None, None] < edge, sky, land) * shade
    return Image.fromarray(rows.clip(0, 255).astype(np.uint8).repeat(side, axis=1))


Stroke = tuple[str, list[tuple[float, float]], Colour]


def _colour(rng: Rng, *choices: Colour) -> Colour:
    near = np.array(choices[rng.integers(len(choices))]) + rng.integers(-18, 19, 3)
    red, green, blue = near.clip(0, 255).tolist()
    return red, green, blue


def _box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, bottom)]


def _boat(rng: Rng) -> list[Stroke]:
    hull = _colour(rng, (150, 70, 50), (60, 70, 110), (120, 85, 60))
    sail = _colour(rng, (245, 240, 230), (235, 210, 180))
    return [
        ("polygon", [(-0.9, 0.35), (0.9, 0.35), (0.55, 0.85), (-0.55, 0.85)], hull),
        ("polygon", [(-0.05, -0.95), (-0.05, 0.25), (-0.75, 0.25)], sail),
        ("polygon", [(0.1, -0.7), (0.1, 0.25), (0.7, 0.25)], sail),
    ]


def _house(rng: Rng) -> list[Stroke]:
    wall = _colour(rng, (235, 215, 180), (225, 170, 150), (225, 225, 220))
    roof = _colour(rng, (165, 60, 50), (100, 60, 60))
    dark = _colour(rng, (80, 60, 55))
    return [
        ("rectangle", _box(-0.7, -0.15, 0.7, 0.9), wall),
        ("polygon", [(-0.95, -0.1), (0, -0.95), (0.95, -0.1)], roof),
        ("rectangle", _box(-0.15, 0.35, 0.2, 0.9), dark),
        ("rectangle", _box(-0.55, 0.1, -0.3, 0.35), dark),
    ]


def _tree(rng: Rng) -> list[Stroke]:
    leaf, trunk = _colour(rng, (40, 105, 50), (70, 125, 45)), _colour(rng, (105, 75, 45))
    return [
        ("rectangle", _box(-0.13, 0.3, 0.13, 0.95), trunk),
        ("ellipse", _box(-0.75, -0.45, 0.15, 0.45), leaf),
        ("ellipse", _box(-0.15, -0.45, 0.75, 0.45), leaf),
        ("ellipse", _box(-0.5, -0.95, 0.5, 0.15), leaf),
    ]


def _sun(rng: Rng) -> list[Stroke]:
    colour = _colour(rng, (250, 205, 60), (250, 180, 50))
    strokes: list[Stroke] = [("ellipse", _box(-0.5, -0.5, 0.5, 0.5), colour)]
    for turn in np.arange(8) * np.pi / 4 + rng.uniform(0, np.pi / 4):
        tip = (0.95 * np.cos(turn), 0.95 * np.sin(turn))
        sides = [(0.55 * np.cos(turn + d), 0.55 * np.sin(turn + d)) for d in (-0.22, 0.22)]
        strokes.append(("polygon", [tip, *sides], colour))
    return strokes


def _tent(rng: Rng) -> list[Stroke]:
    cloth = _colour(rng, (215, 120, 50), (60, 125, 130), (190, 175, 80))
    return [
        ("polygon", [(-0.95, 0.75), (0, -0.75), (0.95, 0.75)], cloth),
        ("polygon", [(-0.28, 0.75), (0, -0.35), (0.28, 0.75)], _colour(rng, (55, 45, 45))),
    ]


def _car(rng: Rng) -> list[Stroke]:
    body = _colour(rng, (200, 50, 50), (50, 90, 180), (70, 70, 75))
    tyre, glass = _colour(rng, (35, 35, 38)), _colour(rng, (190, 215, 225))
    return [
        ("polygon", [(-0.5, -0.45), (0.35, -0.45), (0.65, 0.0), (-0.75, 0.0)], body),
        ("polygon", [(-0.4, -0.35), (0.28, -0.35), (0.48, 0.0), (-0.55, 0.0)], glass),
        ("rectangle", _box(-0.95, -0.02, 0.95, 0.42), body),
        ("ellipse", _box(-0.72, 0.2, -0.22, 0.7), tyre),
        ("ellipse", _box(0.22, 0.2, 0.72, 0.7), tyre),
    ]


def _fish(rng: Rng) -> list[Stroke]:
    scales = _colour(rng, (235, 130, 60), (150, 160, 185), (220, 100, 110))
    eye = _colour(rng, (30, 30, 35))
    return [
        ("ellipse", _box(-0.7, -0.42, 0.6, 0.42), scales),
        ("polygon", [(0.4, 0.0), (0.95, -0.5), (0.95, 0.5)], scales),
        ("ellipse", _box(-0.45, -0.18, -0.27, 0.0), eye),
    ]


def _flower(rng: Rng) -> list[Stroke]:
    petal = _colour(rng, (225, 90, 150), (240, 240, 245), (150, 95, 200))
    strokes: list[Stroke] = [
        ("rectangle", _box(-0.06, 0.0, 0.06, 0.95), _colour(rng, (60, 130, 60)))
    ]
    for turn in np.arange(6) * np.pi / 3:
        x, y = 0.38 * np.cos(turn), -0.35 + 0.38 * np.sin(turn)
        strokes.append(("ellipse", _box(x - 0.24, y - 0.24, x + 0.24, y + 0.24), petal))
    return [*strokes, ("ellipse", _box(-0.2, -0.55, 0.2, -0.15), _colour(rng, (240, 200, 60)))]


THINGS: dict[str, Callable[[Rng], list[Stroke]]] = {
    "boat": _boat,
    "house": _house,
    "tree": _tree,
    "sun": _sun,
    "tent": _tent,
    "car": _car,
    "fish": _fish,
    "flower": _flower,
}
