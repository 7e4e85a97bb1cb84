"""Stamp scenes: images whose class is the set of two or three real cut-outs they show, with their exact masks.

Index legend: ``n`` image, ``t`` object of an image in painting order, ``k`` concept.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.datasets.spec import DataError, found_at
from experiments.datasets.synthetic.scenes import Floats, Scenes

DEBIAN = Path("/usr/share/tuxpaint/stamps")
EXPECTED = (
    "a folder of PNG cut-outs in a tree of categories, as Debian's package tuxpaint-stamps-default "
    "(apt-get install tuxpaint-stamps-default) has it"
)
FILL = 0.8  # of an object's unit disc: half of the longer side of a cut-out
# photographs, and drawings as detailed, that are compact, opaque and unlike one another
STAMPS = (
    *("animals/amphibians/frog-1", "animals/birds/turkey", "animals/birds/vulture"),
    *("animals/fish/butterflyfish", "animals/mammals/bears/european-bear"),
    *("animals/mammals/bovines/zebu", "animals/mammals/cats/lion-2", "animals/mammals/pig_golden"),
    *("animals/mammals/rodents/squirrel", "animals/marsupials/koala"),
    *("animals/shellfish/murray-mussel", "food/fruit/Apricot_whole", "food/fruit/cherimoya"),
    *("food/vegetables/broccoli", "food/vegetables/onion", "hobbies/binoculars"),
    *("hobbies/music/percussion/drum_tomtom_floor", "household/Lightbulb"),
    *("household/tools/cementmixer", "people/toys/grannysmith", "plants/flowers/anemone_red"),
    *("plants/flowers/iris", "plants/flowers/pigface", "plants/flowers/whitestar-petunia"),
    *("plants/mushrooms/cep-1", "plants/trees/holm_oak", "plants/trees/pinecone"),
    *("plants/trees/rambutan", "seasonal/christmas/Christmas_pudding"),
    *("seasonal/christmas/Roast_turkey", "seasonal/easter/bunny-egg"),
    *("seasonal/easter/chick-hatched", "space/planets/3_earth", "space/planets/5_jupiter"),
    *("sports/soccer", "town/houses/cartoon/pinkhome", "town/houses/cartoon/wooden_cottage"),
    *("vehicles/construction/cartoon/cementMixer", "vehicles/flight/balloon360"),
    "vehicles/wheel_tractor",
)


@dataclass(frozen=True)
class Stamps(Scenes):
    """Scenes of real cut-outs, composed as `Scenes` composes its shapes.

    Args:
        folder: where the cut-outs lie; they are read, never copied.
        size: height and width in pixels, >= 48.
        classes: number of classes, >= 2.
        concepts: number of cut-outs, 4 to 40.
        distractors: largest number of further concepts in an image, >= 0.
        clutter: number of small coloured rectangles in the background, >= 0.
        noise: standard deviation of the pixel noise, 0 to 1.
        jitter: variation of size, angle and colour of the objects, 0 to 1.
        seed: integer >= 0; decides the composition of the classes and all images.

    Raises:
        DataError: a cut-out is not there, or has no alpha channel.
    """

    size: int = 96
    concepts: int = 32
    noise: float = 0.05
    folder: str = str(DEBIAN)

    least_size: ClassVar[int] = 48
    most_concepts: ClassVar[int] = len(STAMPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._stamps  # noqa: B018  what is missing is said at the door

    @property
    def concept_names(self) -> list[str]:
        """The file of each cut-out, without its folders."""
        return [stamp.rpartition("/")[2] for stamp in STAMPS[: self.concepts]]

    @property
    def sha256(self) -> str:
        """Of the cut-outs, as they are drawn."""
        return hashlib.sha256(b"".join(stamp.tobytes() for stamp in self._stamps)).hexdigest()

    @cached_property
    def _stamps(self) -> list[Floats]:
        side = ceil(self.size / 3)  # of the largest object
        return [_read(Path(self.folder), stamp, side) for stamp in STAMPS[: self.concepts]]

    def _paint(
        self,
        images: Floats,
        owner: NDArray[np.int16],
        concept: NDArray[np.int_],
        frame: tuple[Floats, Floats],
        tint: Floats,
    ) -> None:
        """See `Scenes`: a cut-out in place of a shape."""
        x, y = frame
        for k in np.unique(concept[concept >= 0]):
            which = np.flatnonzero(concept == k)
            pixels = sampled(self._stamps[k], x[which], y[which])
            colour, alpha = pixels[:, :3] * tint[which][:, :, None, None], pixels[:, 3:]
            images[which] = colour + (1 - alpha) * images[which]
            owner[which] = np.where(alpha[:, 0] >= 0.5, k, owner[which])


def sampled(stamp: Floats, x: Floats, y: Floats) -> Floats:
    """A cut-out (4, side, side) at coordinates (n, h, w), between its pixels; nothing outside, (n, 4, h, w).

    >>> red = np.ones((4, 8, 8), np.float32)
    >>> x = np.array([[[0.0, 0.9]]], np.float32)
    >>> sampled(red, x, 0 * x)[0, :, 0].T.tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    side = stamp.shape[1]
    column, row = ((value / FILL + 1) * side / 2 - 0.5 for value in (x, y))
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    edged = np.pad(stamp, ((0, 0), (1, 1), (1, 1)))  # a rim of nothing
    found = np.zeros((4, *x.shape), dtype=np.float32)
    for down in (0, 1):
        for right in (0, 1):
            share = abs(1 - down - (row - top)) * abs(1 - right - (column - left))
            i, j = (np.clip(at + 1, 0, side + 1) for at in (top + down, left + right))
            found += share * edged[:, i, j]
    return found.swapaxes(0, 1)


def _read(folder: Path, stamp: str, side: int) -> Floats:
    """Colours times alpha, and alpha, of a cut-out in a square that its longer side fills, (4, side, side)."""
    file = folder / f"{stamp}.png"
    if not file.is_file():
        raise DataError(f"{file} must be there, as part of {EXPECTED}; found {found_at(folder)}")
    with Image.open(file) as opened:
        picture = opened.convert("RGBa")  # colours times alpha, which resize as they are
        if opened.convert("RGBA").getchannel("A").getextrema() == (255, 255):
            raise DataError(f"{file} must have an alpha channel, got {opened.mode} without")
    box = picture.getchannel("a").point(lambda alpha: 255 * (alpha >= 128)).getbbox()
    if box is None:
        raise DataError(f"{file} must show something, got only transparent pixels")
    longer = max(box[2] - box[0], box[3] - box[1])
    square = Image.new("RGBa", (longer, longer))
    square.paste(
        picture.crop(box), ((longer - box[2] + box[0]) // 2, (longer - box[3] + box[1]) // 2)
    )
    resized = square.resize((side, side), Image.Resampling.BOX)
    return np.asarray(resized, np.float32).transpose(2, 0, 1) / np.float32(255)
