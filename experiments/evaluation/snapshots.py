"""Arrays that figures need beside the numbers: the head, unit labels, a few images with all that decides them.

Of every run:

- `weight` (C, M), `bias` (C,), `class_names`;
- `unit_iou` (M,), `unit_names` (M,): IoU and concept of each unit, "" for one that shows none, where labelled;
- for the test images that are shown (n): `images`, `maps` (n, M, h', w'), `units` (n, M), `logits` (n, C),
  `labels` (n,), `pictures` (n, h, w, 3) in bytes, and where the data knows them `masks` (n, concepts, h, w) of the
  concepts of the image's class;
- for both highest classes of each, the predicted one and the runner-up: `decision_classes` (n, 2),
  `decision_parts` (n, 2, M), `decision_biases` (n, 2): parts and bias add up to the logit of the class, whatever the
  head; units that a routed head leaves out have the part 0.

Of a routed convolution, such as layer3.0, which reads the units of the stage before it: `inner:layer3.0` (out, in),
and where labelled `inner_in_iou:layer3.0`, `inner_in_names:...`, `inner_out_iou:...`, `inner_out_names:...`.

For each stage of `selection.STAGES` whose readers are stored, with J pictures of each unit:

- `top_targets:STAGE` (T,): the classes, or channels of a routed convolution, that are shown;
- `top_units:STAGE` (U,): the units that those, or of the head all classes, read most, counted from 0;
- `top_pictures:STAGE` (U, J, h, w, 3), bytes: the images that excite a unit most, strongest first;
- `top_maps:STAGE` (U, J, h', w'): the unit's maps there;
- `top_counts:STAGE` (U,): how many of the J it has; it is silent on all other images;
- `top_thresholds:STAGE` (U,): what 0.5 % of the unit's values on the images exceed, as in dissection.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from experiments.datasets.dataset import LabelledData, even_subset
from experiments.evaluation import selection
from experiments.evaluation.unit_labels import UnitLabeller
from experiments.models.registry import units_of
from interpretable_sgd import DynamicConv2d, analysis

COUNT = 3  # pictures of a unit
AMONG = 2000  # images, evenly spaced
QUANTILE = 0.005
AT_ONCE = 250  # images in a forward pass
DRAWN = ("scenes", "glyphs")  # whose test images are numbered as their source numbers them
Arrays = dict[str, np.ndarray]


@torch.no_grad()
def decisions(model: nn.Module, data: LabelledData, shown: int) -> Arrays:
    """Head, class names, and a few test images with all that their logits are made of.

    Args:
        model: trained.
        data: its data.
        shown: how many test images.
    """
    head = analysis.find_head(model)
    device = head.weight.device
    subset = even_subset(data.test, shown)
    batch, labels = next(iter(DataLoader(subset, shown)))
    maps: list[Tensor] = []
    handle = units_of(model).register_forward_hook(
        lambda module, inputs, output: maps.append(output)
    )
    try:
        with analysis.reading(model, head) as last:
            model(batch.to(device))
            units, logits = last.take()
    finally:
        handle.remove()
    tensors = {
        "weight": head.weight,
        "bias": head.bias,
        "images": batch,
        "maps": maps[0],
        "units": units,
        "logits": logits,
        "labels": labels,
        **_highest(head, units, logits),
    }
    arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    arrays["class_names"] = np.array(list(data.class_names))
    arrays["pictures"] = np.stack([_picture(image) for image in batch])
    return arrays | _masks(data, list(subset.indices), labels)


def _highest(head: analysis.Head, units: Tensor, logits: Tensor) -> dict[str, Tensor]:
    """Parts of the two highest logits of each image."""
    classes = logits.topk(min(2, logits.shape[1]), dim=1).indices
    terms = [head.terms(units, of_class) for of_class in classes.T]
    return {
        "decision_classes": classes,
        "decision_parts": torch.stack([parts for parts, _ in terms], dim=1),
        "decision_biases": torch.stack([biases for _, biases in terms], dim=1),
    }


def _masks(data: LabelledData, numbers: list[int], labels: Tensor) -> Arrays:
    """Where the concepts of each image's class are seen; of drawn images, whose numbers are those of the test."""
    source = data.source
    if source is None or data.name not in DRAWN:
        return {}
    own = source.composition[labels][:, :, None, None]
    return {"masks": (source.masks("test", numbers) & own).numpy()}


def labelled(labels: analysis.Dissection, prefix: str, suffix: str = "") -> Arrays:
    """IoU and concept of each unit; "" for a unit that shows none."""
    names = [labels.concept_of(unit) or "" for unit in range(labels.units)]
    return {f"{prefix}iou{suffix}": labels.best.numpy(), f"{prefix}names{suffix}": np.array(names)}


def inner_routes(model: nn.Module, labeller: UnitLabeller | None) -> Arrays:
    """Weights of each routed convolution and, where there are concepts, labels of both sides."""
    arrays: Arrays = {}
    stages = [name for name, _ in model.named_children()]
    for name, layer in model.named_modules():
        if not isinstance(layer, DynamicConv2d):
            continue
        arrays[f"inner:{name}"] = analysis.connections(layer).cpu().numpy()
        before = stages[stages.index(name.partition(".")[0]) - 1]
        if labeller is not None:
            arrays |= labelled(labeller.label(model, before), "inner_in_", f":{name}")
            arrays |= labelled(labeller.label(model, name), "inner_out_", f":{name}")
    return arrays


@torch.no_grad()
def top_images(
    model: nn.Module, images: Dataset[Any], arrays: Mapping[str, np.ndarray], workers: int = 0
) -> Arrays:
    """The images that excite most the units which figures show, of every stage whose readers are stored.

    Args:
        model: the network.
        images: to look among, (image, label); validation images, as the test is for numbers.
        arrays: `weight`, and those of `inner_routes`.
        workers: processes that read images.
    """
    tops: Arrays = {}
    loader: DataLoader[Any] = DataLoader(even_subset(images, AMONG), AT_ONCE, num_workers=workers)
    for stage, reader in selection.STAGES.items():
        if reader in arrays:
            targets = _targets(arrays, reader)
            weight = arrays[reader]
            # of every class, since figures are asked for classes once the network is gone
            readers = weight if reader == "weight" else weight[targets]
            units = np.unique(np.concatenate([[], *map(selection.strongest, readers)])).astype(int)
            layer = units_of(model) if reader == "weight" else model.get_submodule(stage)
            of_stage = _of_units(model, loader, layer, units)
            of_stage |= {"targets": targets, "units": units}
            tops |= {f"top_{name}:{stage}": value for name, value in of_stage.items()}
    return tops


def _targets(arrays: Mapping[str, np.ndarray], reader: str) -> np.ndarray:
    """Evenly spaced classes; of a convolution the channels with the best labels, where there are labels."""
    weight = arrays[reader]
    iou, names = (f"inner_out_{what}:{reader.removeprefix('inner:')}" for what in ("iou", "names"))
    if iou in arrays:
        return selection.best(arrays[iou], arrays[names], weight)
    return selection.spaced(len(weight))


def _of_units(
    model: nn.Module, loader: Iterable[Any], layer: nn.Module, units: np.ndarray
) -> dict[str, np.ndarray]:
    values: list[Tensor] = []
    best = analysis.exemplars(
        model,
        loader,
        layer,
        units.tolist(),
        count=COUNT,
        look=lambda maps, first: values.append(maps[:, units].half()),
    )
    shown = [e.picture for some in best.values() for e in some if e.picture is not None]
    size = shown[0].shape[1:] if shown else (1, 1)
    pictures = np.zeros((len(units), COUNT, *size, 3), dtype=np.uint8)
    maps = np.zeros((len(units), COUNT, *values[0].shape[2:]), dtype=np.float32)
    for place, some in enumerate(best.values()):
        for rank, exemplar in enumerate(some):
            if exemplar.picture is not None:
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
    """An input of a network as bytes (h, w, 3), stretched to their range."""
    low, high = min(0.0, float(image.min())), max(1.0, float(image.max()))
    grey = ((image - low) / (high - low) * 255).round().to(torch.uint8)
    return grey.expand(3, -1, -1).movedim(0, -1).numpy()
