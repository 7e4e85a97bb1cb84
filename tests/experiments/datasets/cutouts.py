"""Small cut-outs in the tree of Debian's tuxpaint-stamps-default, one colour each."""

from pathlib import Path

import numpy as np
from PIL import Image

from experiments.datasets.synthetic.stamps import STAMPS

SHARE = 317 / 21**2  # of the square around a disc


def colour(k: int) -> np.ndarray:
    """Of the k-th cut-out, bytes."""
    return np.array([40 + 5 * k, 255 - 6 * k, (97 * k) % 256], np.uint8)


def write_cutouts(folder: Path) -> Path:
    """A disc of its own colour for every stamp, off the middle of a transparent picture."""
    y, x = np.mgrid[:30, :40]
    disc = (x - 25) ** 2 + (y - 12) ** 2 <= 100
    for k, stamp in enumerate(STAMPS):
        pixels = np.zeros((30, 40, 4), np.uint8)
        pixels[..., :3] = colour(k)
        pixels[..., 3] = 255 * disc
        file = folder / f"{stamp}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return folder
