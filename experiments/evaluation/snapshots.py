"""What figures draw beside the numbers: the head, labels of units, a few images with their maps, inner routes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.datasets.dataset import Images
from experiments.evaluation.callbacks import spread
from experiments.evaluation.unit_labels import Labeller
from experiments.models.resnets import UNITS
from interpretable_sgd import DynamicConv2d, analysis

SHOWN = 8  # test images
Arrays = dict[str, np.ndarray]


@torch.no_grad()
def decisions(model: nn.Module, images: Images) -> Arrays:
    """Head, class names, and a few test images with all that their logits are made of."""
    head = analysis.find_head(model)
    device = head.weight.device
    batch, labels = next(iter(DataLoader(spread(images.test, SHOWN), SHOWN)))
    maps: list[Tensor] = []
    handle = model.get_submodule(UNITS).register_forward_hook(
        lambda module, inputs, output: maps.append(output)
    )
    try:
        with analysis.reading(model, head) as last:
            model(batch.to(device))
            units, logits = last.take()
    finally:
        handle.remove()
    found = {
        "weight": head.weight,
        "bias": head.bias,
        "images": batch,
        "maps": maps[0],
        "units": units,
        "logits": logits,
        "labels": labels,
    }
    names = {"class_names": np.array(list(images.class_names))}
    return {name: value.cpu().numpy() for name, value in found.items()} | names


def named(found: analysis.Dissection, prefix: str, suffix: str = "") -> Arrays:
    """IoU and concept of each unit; "" for a unit that shows none."""
    names = [found.concept_of(unit) or "" for unit in range(found.units)]
    return {
        f"{prefix}iou{suffix}": found.best.numpy(),
        f"{prefix}names{suffix}": np.array(names),
    }


def inner_routes(model: nn.Module, labeller: Labeller | None) -> Arrays:
    """Weights (out, in) of each routed convolution and, where there are concepts, labels of both sides.

    `inner:layer3.0` reads the units of the stage before it, layer2; their labels are
    `inner_in_names:layer3.0`, and its own are `inner_out_names:layer3.0`.
    """
    arrays: Arrays = {}
    stages = [name for name, _ in model.named_children()]
    for name, layer in model.named_modules():
        if not isinstance(layer, DynamicConv2d):
            continue
        arrays[f"inner:{name}"] = analysis.connections(layer).cpu().numpy()
        before = stages[stages.index(name.partition(".")[0]) - 1]
        if labeller is not None:
            arrays |= named(labeller.label(model, before), "inner_in_", f":{name}")
            arrays |= named(labeller.label(model, name), "inner_out_", f":{name}")
    return arrays
