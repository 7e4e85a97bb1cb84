"""All that is recorded of a trained net, in the order in which it is measured; test images are read here, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.datasets.dataset import Images
from experiments.evaluation.explained import top_images, verdicts
from experiments.evaluation.frozen import frozen_heads
from experiments.evaluation.judging import (
    class_f1,
    decision_numbers,
    head_numbers,
    read,
    unit_numbers,
)
from experiments.evaluation.snapshots import decisions, inner_routes, named
from experiments.evaluation.unit_labels import Labeller
from experiments.models.resnets import UNITS
from experiments.paper.place import required

SPLITS = ("train", "validation", "test")
Record = dict[str, Any]
Arrays = dict[str, np.ndarray]


def judged(
    model: nn.Module,
    images: Images,
    labeller: Labeller | None,
    composition: Tensor | None,
    frozen: int,
    workers: int = 0,
) -> tuple[Record, Arrays]:
    """The numbers and the arrays of a trained net.

    Args:
        model: trained.
        images: its data.
        labeller: labels its units; None where no concepts are known.
        composition: which of the labeller's concepts make up which class; None where that is not known.
        frozen: training images that sparse heads are fitted on; 0 fits none.
        workers: processes that read images.
    """
    held_out = required(images.validation)
    validation, test = (read(model, x, workers) for x in (held_out, images.test))
    record: Record = {
        **head_numbers(model),
        **decision_numbers(model, test),
        "validation_top1": validation.top1,
        "unit_labels": None,
        "n": {name: len(getattr(images, name)) for name in SPLITS},
    }
    arrays = decisions(model, images) | inner_routes(model, labeller)
    if labeller is not None:
        found = labeller.label(model, UNITS)
        weight = torch.from_numpy(arrays["weight"])
        f1 = None if composition is None else class_f1(weight, found, composition)
        record["unit_labels"] = {**unit_numbers(found), "f1": f1}
        arrays |= named(found, "unit_")
    arrays |= verdicts(model, arrays)
    arrays |= top_images(model, held_out, arrays, workers)
    if frozen:
        record |= frozen_heads(model, images.plain, frozen, workers, validation, test)
    return record, arrays
