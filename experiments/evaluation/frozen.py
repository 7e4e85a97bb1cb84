"""Sparse heads on the dense net's frozen units: what one does who has trained already."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from experiments.evaluation.callbacks import spread
from experiments.evaluation.judging import Read, read
from experiments.evaluation.sparse_heads import glm_saga_path, l1_path, sparse_heads

STRENGTHS = (0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002, 0.0005)  # lambda of each head, literally
MISSING = "glm_saga is not installed, so its heads are left out: pip install -e '.[peers]'"


def frozen_heads(
    model: nn.Module, plain: Dataset[Any], images: int, workers: int, validation: Read, test: Read
) -> dict[str, Any]:
    """Accuracy against weights per class along the path of scikit-learn's saga, and of glm_saga's.

    Args:
        model: the dense net.
        plain: training images without augmentation.
        images: how many of them heads are fitted on.
        workers: processes that read them.
        validation: chooses between each head and its refit.
        test: read once for each strength.

    Returns:
        "sparse_heads", and "glm_saga_heads", None where that is not installed.
    """
    read_there = read(model, spread(plain, images), workers)
    fit, choose, judge = ((r.units, r.labels) for r in (read_there, validation, test))
    theirs = sparse_heads(fit, choose, judge, glm_saga_path) if installed() else None
    ours = sparse_heads(fit, choose, judge, partial(l1_path, strengths=STRENGTHS))
    return {"sparse_heads": ours, "glm_saga_heads": theirs}


def installed() -> bool:
    """Whether glm_saga, and what it forgets to ask for, are there."""
    return all(importlib.util.find_spec(name) for name in ("glm_saga", "tqdm"))
