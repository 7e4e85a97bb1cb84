"""Whole files of every kind that a report reads, and ways in which disks and downloads hurt them."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from interpretable_sgd.analysis import checkpoints

SUFFIXES = ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm")


def cut(content: bytes, draw: np.random.Generator) -> bytes:
    return content[: draw.integers(0, len(content))]


def flipped(content: bytes, draw: np.random.Generator) -> bytes:
    hurt = bytearray(content)
    for place in draw.integers(0, len(hurt), int(draw.integers(1, 9))):
        hurt[place] ^= 1 << int(draw.integers(8))
    return bytes(hurt)


def overwritten(content: bytes, draw: np.random.Generator) -> bytes:
    """A block of zeros, of ones or of noise, as a bad sector leaves it."""
    start = int(draw.integers(0, len(content)))
    count = min(len(content) - start, int(draw.integers(1, 65)))
    kinds = (bytes(count), b"\xff" * count, draw.bytes(count))
    return content[:start] + kinds[int(draw.integers(3))] + content[start + count :]


def moved(content: bytes, draw: np.random.Generator) -> bytes:
    """A piece twice, or in another place."""
    a, b, c = np.sort(draw.integers(0, len(content), 3))
    return content[:a] + content[b:c] + content[a:b] + content[b:]


def header(content: bytes, draw: np.random.Generator) -> bytes:
    """A number near the beginning that is far too large, or negative."""
    place = int(draw.integers(0, min(64, max(1, len(content) - 4))))
    value = int(draw.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 60000]))
    order = ("little", "big")[int(draw.integers(2))]
    return content[:place] + value.to_bytes(4, order) + content[place + 4 :]


def text(content: bytes, draw: np.random.Generator) -> bytes:
    """Something that spreadsheets and editors put into text."""
    strange = [
        b"\x00",
        b"\r",
        b'"',
        b";",
        b",,,",
        b"\xef\xbb\xbf",
        b"-1",
        b"1e9",
        b"nan",
        b"\xff\xfe",
    ]
    strange += [b"99999999999999999999", b"\n\n", b"=1+1", "\u2028".encode(), b"../../../etc/hosts"]
    place = int(draw.integers(0, len(content) + 1))
    return content[:place] + strange[int(draw.integers(len(strange)))] + content[place:]


WAYS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    *(cut, flipped, overwritten, moved, header, text),
)


def damaged(content: bytes, seed: int) -> bytes:
    """Hurt once to three times; the same for the same seed."""
    draw = np.random.default_rng(seed)
    for _ in range(int(draw.integers(1, 4))):
        content = WAYS[int(draw.integers(len(WAYS)))](content, draw) or b"\x00"
    return content


def images() -> Iterator[tuple[str, bytes]]:
    """Names and contents of small images of every format and mode."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    modes = {"png": ("RGB", "L", "P", "RGBA", "1"), "tif": ("RGB", "L"), "gif": ("P",)}
    for suffix in SUFFIXES:
        for mode in modes.get(suffix, ("RGB",)):
            file = io.BytesIO()
            kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
            Image.fromarray(pixels).convert(mode).save(file, kind)
            yield f"{mode}.{suffix}", file.getvalue()
    for name, array in (
        ("deep.png", pixels[..., 0].astype(np.uint16) * 257),
        ("float.tif", pixels[..., 0].astype(np.float32) / 255),
    ):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "TIFF" if name.endswith("tif") else "PNG")
        yield name, file.getvalue()


def weights() -> dict[str, bytes]:
    """A state dict in every form that is read."""
    state = nn.Linear(4, 3).state_dict()
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": state, "epoch": 3}, zipped)
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    return {"w.pt": zipped.getvalue(), "old.pth": legacy.getvalue(), "w.safetensors": save(state)}


def checkpoint(folder: Path) -> bytes:
    """What a pass that was cut off leaves."""
    path = folder / "whole.pt"
    checkpoints.save({"model": "a", "sums": torch.arange(8), "rows": {"x": torch.rand(3)}}, path)
    return path.read_bytes()


REPORT = json.dumps(
    {
        "model": "a",
        "figures": {"weights_per_class": {"value": 3.0}, "accuracy": {"value": 0.5}},
    }
).encode()
