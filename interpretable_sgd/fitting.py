"""A head of a few units a class on cached features, fitted in the manner of scikit-learn."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from interpretable_sgd.analysis.names import Names
from interpretable_sgd.analysis.study.record import Study
from interpretable_sgd.analysis.study.study import study
from interpretable_sgd.optimizer.sgd import InterpretableSGD

BATCH = 256
WARM_UP = 0.05  # of the steps


class FittedHead(NamedTuple):
    """A fitted head, and what there is to say of it.

    Attributes:
        module: from features as they were given, (n, m), to logits, (n, c); in evaluation mode.
        study: of the rows that were held out; `print` shows each class's formula, and
            `interpretable_sgd.report.write` makes a page of it.
    """

    module: nn.Sequential
    study: Study


def fit_head(
    X: Any,
    y: Any,
    k: int = 5,
    *,
    adapter: int | None = None,
    steps: int = 2000,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    held_out: float = 0.2,
    feature_names: Names | None = None,
    seed: int = 0,
) -> FittedHead:
    """Fit a head in which every class reads at most `k` units, to features that are in memory.

    Features are standardised for training; the module takes them as they are. A bare head can only
    choose among the features. Where those were not made for few connections, a small adapter, which
    learns units for them, is where routing pays.

    Args:
        X: features, (n, m); an array, a tensor, or rows of numbers.
        y: class of each row, (n,); numbers or names.
        k: connections that a class may keep, >= 1.
        adapter: units of a Linear layer with a ReLU, trained between features and head; None for none.
        steps: of training, each on 256 rows, >= 100.
        lr: largest learning rate, > 0; it warms up and falls as a cosine.
        momentum: in [0, 1).
        weight_decay: >= 0.
        held_out: share of the rows, in (0, 1), that is not trained on, for the study.
        feature_names: of the m features.
        seed: of the split, the initial weights and the batches.

    Raises:
        ValueError: shapes do not fit, a feature is not finite, there is one class only, or an
            argument is out of its range.

    >>> X = torch.rand(600, 8, generator=torch.Generator().manual_seed(0))
    >>> y = np.where(X[:, 0] > X[:, 1], "first", "second")
    >>> module, study = fit_head(X, y, k=2, steps=400)
    >>> int((module[-1].weight != 0).sum(1).max()), study.decisions.accuracy > 0.9
    (2, True)
    """
    features, labels, classes = _checked(X, y)
    for name, value, least in (("k", k, 1), ("adapter", adapter, 1), ("steps", steps, 100)):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be in (0, 1), got {held_out}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(features), generator=generator)
    kept_apart = round(held_out * len(order))
    if not 0 < kept_apart < len(order):
        raise ValueError(f"held_out must leave rows on both sides, got {held_out} of {len(order)}")
    test, train = order[:kept_apart], order[kept_apart:]
    mean, std = features[train].mean(0), features[train].std(0, correction=0)
    std[std == 0] = 1
    module = _network(features.shape[1], adapter, len(classes), generator)
    optimizer = InterpretableSGD(
        module.parameters(), lr, momentum, weight_decay=weight_decay, block_size=k
    )
    warm_up = max(1, round(WARM_UP * steps))
    rises = LinearLR(optimizer, 0.1, 1.0, warm_up)
    falls = CosineAnnealingLR(optimizer, steps - warm_up)
    schedule = SequentialLR(optimizer, [rises, falls], [warm_up])
    for _ in range(steps):
        rows = train[torch.randint(len(train), (BATCH,), generator=generator)]
        optimizer.zero_grad()
        cross_entropy(module((features[rows] - mean) / std), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    optimizer.detach()
    _take_raw(module[0], mean, std)
    found = study(
        module.eval(),
        list(zip(features[test].split(1024), labels[test].split(1024), strict=True)),
        class_names=classes,
        input_names=feature_names,
        picture=None,
        name=f"head of {k} units a class",
        config={"adapter": adapter, "steps": steps, "trained on": len(train)},
        seed=seed,
    )
    return FittedHead(module, found)


def _checked(X: Any, y: Any) -> tuple[Tensor, Tensor, list[str]]:
    """Features, class numbers, and names of the classes in order."""
    features = torch.as_tensor(X if isinstance(X, Tensor) else np.asarray(X)).detach().float()
    given = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if features.dim() != 2:
        raise ValueError(f"X must be (rows, features), got shape {tuple(features.shape)}")
    if given.shape != features.shape[:1]:
        raise ValueError(f"y must be ({len(features)},), one class a row, got shape {given.shape}")
    if not features.isfinite().all():
        row, column = (~features.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"X must be finite, got {features[row, column]} in row {row}, {column=}")
    classes, numbers = np.unique(given, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must have at least two classes, got {classes.tolist()}")
    return features.cpu(), torch.from_numpy(numbers).long(), [str(name) for name in classes]


def _network(
    inputs: int, adapter: int | None, classes: int, generator: torch.Generator
) -> nn.Sequential:
    """The head, with an adapter before it or not; torch's own initialisation, from the generator."""
    widths = [inputs, *([adapter] if adapter else []), classes]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.ReLU()]
        for parameter in layers[-2].parameters():
            nn.init.uniform_(parameter, -(wide**-0.5), wide**-0.5, generator=generator)
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def _take_raw(layer: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Let a layer that was trained on (x - mean) / std take x: the same outputs."""
    assert isinstance(layer, nn.Linear)
    layer.weight.div_(std)
    layer.bias.sub_(layer.weight @ mean)
