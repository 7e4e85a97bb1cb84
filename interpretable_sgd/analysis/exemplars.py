"""Images that excite each unit most, found in one pass that keeps a few small pictures alone.

Index legend: `n` image of a batch, `u` unit, `j` place among the best.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.batches import Inputs, call, on, rows, split_batch
from interpretable_sgd.analysis.forward import captured, evaluating, placed
from interpretable_sgd.analysis.images import Picture, as_picture, stretched

SIDE = 112  # longest side of a kept picture, in pixels


@dataclass(frozen=True)
class Exemplar:
    """An image that excites a unit.

    Attributes:
        index: of the image in its data set.
        label: its class; None for an image with several.
        peak: largest value of the unit's map.
        picture: small, (3, h, w), uint8; None where the input is no picture.
        map: of the unit, (h', w'), float32.
    """

    index: int
    label: int | None
    peak: float
    picture: Tensor | None
    map: Tensor


@torch.no_grad()
def exemplars(
    model: nn.Module,
    loader: Iterable[Any],
    layer: nn.Module,
    units: Sequence[int],
    *,
    count: int = 4,
    device: torch.device | str | None = None,
    picture: Picture | None = stretched,
    look: Callable[[Tensor, int], None] = lambda maps, first: None,
    report: Callable[[int], None] = lambda images: None,
) -> dict[int, list[Exemplar]]:
    """The `count` images with the largest peak of each unit's map, largest first.

    Memory does not grow with the data: `count` pictures of at most 112 pixels a side for each unit.

    Args:
        model: run in evaluation mode; its mode is restored.
        loader: batches of images and labels.
        layer: that puts out the maps.
        units: which of them.
        count: images of each, >= 1.
        device: where to run; the model's own if None.
        picture: turns an input on the CPU to a picture in [0, 1]; None for none.
        look: shown the maps of each batch, (n, U, h, w), and the position of its first image, for
            whoever has use for them in the same pass.
        report: told after each batch how many images are done.

    Raises:
        ValueError: count is below 1.

    Returns:
        By unit; only images where the unit is active count.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    best: dict[int, list[Exemplar]] = {u: [] for u in units}
    seen = 0
    with evaluating(model), placed(model, device) as place, captured(layer) as maps:
        for inputs, labels in map(split_batch, loader):
            call(model, on(inputs, place))
            values = maps.values.float().cpu()
            look(values, seen)
            _take(best, values, inputs, labels, seen, count, picture)
            seen += len(labels)
            report(seen)
    return best


def _take(
    best: dict[int, list[Exemplar]],
    maps: Tensor,
    inputs: Inputs,
    labels: Tensor,
    seen: int,
    count: int,
    picture: Picture | None,
) -> None:
    """Put a batch's images in the place of weaker ones."""
    peaks = maps.amax((2, 3))
    leaders = peaks.topk(min(count, len(labels)), dim=0).indices
    small: dict[int, Tensor | None] = {}
    for u, kept in best.items():
        floor = kept[-1].peak if len(kept) == count else 0.0
        new = [n for n in leaders[:, u].tolist() if peaks[n, u] > floor]
        for n in new:
            if n not in small:
                small[n] = as_picture(on(rows(inputs, n), torch.device("cpu")), picture, SIDE)
            label = int(labels[n]) if labels[n].numel() == 1 else None
            exemplar = Exemplar(seen + n, label, float(peaks[n, u]), small[n], maps[n, u].clone())
            kept.append(exemplar)
        if new:
            kept.sort(key=lambda exemplar: -exemplar.peak)
            del kept[count:]
