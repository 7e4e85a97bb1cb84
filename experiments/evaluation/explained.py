"""What figures show of single decisions and units, computed with the library once a net is trained.

Beside the arrays of `pictured`, a run stores, for the test images of `images` (n) and both their highest
classes (the predicted one, the runner-up):

- `pictures` (n, h, w, 3), bytes;
- `verdict_classes` (n, 2), `verdict_parts` (n, 2, M), `verdict_biases` (n, 2): parts and bias add up to
  the logit of the class, whatever the head; units that a routed head leaves out have the part 0;

and for each stage of `shown.STAGES` whose readers are stored, with J pictures of each unit:

- `top_targets:STAGE` (T,): the classes, or channels of a routed convolution, that are shown;
- `top_units:STAGE` (U,): the units that those read most, counted from 0;
- `top_pictures:STAGE` (U, J, h, w, 3), bytes: the images that excite a unit most, strongest first;
- `top_maps:STAGE` (U, J, h', w'): the unit's maps there;
- `top_counts:STAGE` (U,): how many of the J it has; it is silent on all other images;
- `top_thresholds:STAGE` (U,): what 0.5 % of the unit's values on the images exceed, as in dissection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.evaluation import selection
from experiments.evaluation.callbacks import spread
from interpretable_sgd import analysis

COUNT = 3  # pictures of a unit
AMONG = 2000  # images, evenly spaced
QUANTILE = 0.005
AT_ONCE = 250  # images in a forward pass
Arrays = dict[str, np.ndarray]


@torch.no_grad()
def verdicts(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Parts of the two highest logits of each image.

    Args:
        model: whose head made the logits.
        arrays: `images`, `units` and `logits`.
    """
    head = analysis.find_head(model)
    device = head.weight.device
    units, logits = (torch.from_numpy(arrays[name]).to(device) for name in ("units", "logits"))
    classes = logits.topk(min(2, logits.shape[1]), dim=1).indices
    terms = [head.terms(units, of_class) for of_class in classes.T]
    found = {
        "verdict_classes": classes,
        "verdict_parts": torch.stack([parts for parts, _ in terms], dim=1),
        "verdict_biases": torch.stack([biases for _, biases in terms], dim=1),
    }
    pictures = [_picture(torch.from_numpy(image)) for image in arrays["images"]]
    return {name: value.cpu().numpy() for name, value in found.items()} | {
        "pictures": np.stack(pictures)
    }


def top_images(
    model: nn.Module, images: Dataset[Any], arrays: Mapping[str, np.ndarray], workers: int = 0
) -> Arrays:
    """The images that excite most the units which figures show, of every stage whose readers are stored.

    Args:
        model: the net.
        images: to look among, (image, label); validation images, as the test is for numbers.
        arrays: `weight`, and those of `pictured.inner_routes`.
        workers: processes that read images.
    """
    found: Arrays = {}
    loader = DataLoader(spread(images, AMONG), AT_ONCE, num_workers=workers)
    for stage, reader in selection.STAGES.items():
        if reader in arrays:
            targets = _targets(arrays, reader)
            weight = arrays[reader]
            units = np.unique(
                np.concatenate([[], *(selection.strongest(weight[t]) for t in targets)])
            ).astype(int)
            of_stage = _of_units(model, loader, stage, units) | {"targets": targets, "units": units}
            found |= {f"top_{name}:{stage}": value for name, value in of_stage.items()}
    return found


def _targets(arrays: Mapping[str, np.ndarray], reader: str) -> np.ndarray:
    """Evenly spaced classes; of a convolution the channels with the best labels, where there are labels."""
    weight = arrays[reader]
    iou, names = (f"inner_out_{what}:{reader.removeprefix('inner:')}" for what in ("iou", "names"))
    if iou in arrays:
        return selection.best(arrays[iou], arrays[names], weight)
    return selection.spaced(len(weight))


def _of_units(
    model: nn.Module, loader: Iterable[Any], stage: str, units: np.ndarray
) -> dict[str, np.ndarray]:
    values: list[Tensor] = []
    best = analysis.exemplars(
        model,
        loader,
        model.get_submodule(stage),
        units.tolist(),
        count=COUNT,
        look=lambda maps, first: values.append(maps[:, units].half()),
    )
    size = next((e.picture.shape[1:] for some in best.values() for e in some), (1, 1))
    pictures = np.zeros((len(units), COUNT, *size, 3), dtype=np.uint8)
    maps = np.zeros((len(units), COUNT, *values[0].shape[2:]), dtype=np.float32)
    for place, some in enumerate(best.values()):
        for rank, exemplar in enumerate(some):
            pictures[place, rank] = exemplar.picture.movedim(0, -1).numpy()
            maps[place, rank] = exemplar.map.numpy()
    return {
        "pictures": pictures,
        "maps": maps,
        "counts": np.array([len(some) for some in best.values()]),
        "thresholds": _thresholds(torch.cat(values)),
    }


def _thresholds(values: Tensor) -> np.ndarray:
    """The value of each unit, (n, u, h, w), that a share QUANTILE of its values exceeds, (u,)."""
    flat = values.movedim(1, 0).flatten(1)
    above = min(flat.shape[1] - 1, int(QUANTILE * flat.shape[1]))
    return flat.float().topk(above + 1, dim=1).values[:, -1].numpy()


def _picture(image: Tensor) -> np.ndarray:
    """An input of a net as bytes (h, w, 3), stretched to their range."""
    low, high = min(0.0, float(image.min())), max(1.0, float(image.max()))
    grey = ((image - low) / (high - low) * 255).round().to(torch.uint8)
    return grey.expand(3, -1, -1).movedim(0, -1).numpy()
