"""One image explained: the units that made its logits, where they looked, and what is left over.

Index legend: `n` image, `m` unit, `c` class; the predicted class comes first, the runner-up second.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.forward import reading
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.images import Picture, as_bytes, stretched
from interpretable_sgd.analysis.maps import Maps, captured


@dataclass(frozen=True)
class Reason:
    """One unit's part in a logit.

    Attributes:
        unit: counted from 0.
        contribution: signed; parts, rest and bias add up to the logit.
        map: of the unit, (h, w), float32; None where the layer has no maps.
    """

    unit: int
    contribution: float
    map: Tensor | None


@dataclass(frozen=True)
class Verdict:
    """A logit as a sum: reasons, largest first, then the rest of the units, then the bias."""

    class_index: int
    logit: float
    bias: float
    reasons: tuple[Reason, ...]
    rest: float

    @property
    def residual(self) -> float:
        """Share of the sum of the units' contributions that the reasons leave out."""
        total = sum(reason.contribution for reason in self.reasons) + self.rest
        return self.rest / total if total else 0.0


@dataclass(frozen=True)
class Explanation:
    """An image with the verdicts on it: the predicted class, then the runner-up.

    Attributes:
        index: of the image in its data set, counted from 0.
        label: its true class.
        picture: (3, h, w), uint8.
        verdicts: two, or one if there is one class only.
    """

    index: int
    label: int
    picture: Tensor
    verdicts: tuple[Verdict, ...]

    @property
    def is_right(self) -> bool:
        """Whether the predicted class is the label."""
        return self.verdicts[0].class_index == self.label


@torch.no_grad()
def explain(
    model: nn.Module,
    images: Tensor,
    labels: Sequence[int],
    head: Head,
    layer: nn.Module | None = None,
    *,
    top: int = 5,
    indices: Sequence[int] | None = None,
    picture: Picture = stretched,
) -> list[Explanation]:
    r"""Explain the decisions on some images by the parts that their logits are the sum of.

    .. math:: z_{nc} = b_{nc} + \sum_{m \in top} P_{ncm} + \text{rest}

    The predicted class is explained, not the true one, which would hide errors.

    Args:
        model: run in evaluation mode; its mode is restored.
        images: inputs of the model, (n, channels, h, w), on its device.
        labels: true classes, n.
        head: as `find_head` gives it.
        layer: whose output maps are the head's units, for the heat maps.
        top: reasons shown of each verdict, >= 1, by size.
        indices: of the images in their data set; 0, 1, ... if None.
        picture: turns an input on the CPU to RGB or grey in [0, 1], (1 or 3, h, w).

    Raises:
        ValueError: top is below 1.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    >>> (image,) = explain(model, torch.rand(1, 3, 2, 2), [0], Head(model[1], "1"), top=4)
    >>> verdict = image.verdicts[0]
    >>> parts = sum(reason.contribution for reason in verdict.reasons)
    >>> abs(parts + verdict.rest + verdict.bias - verdict.logit) < 1e-6
    True
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    with reading(model, head) as read, captured(layer) if layer else nullcontext(Maps()) as maps:
        model(images)
        units, logits = read.take()
    values = maps.values.float().cpu() if layer else None
    classes = logits.topk(min(2, logits.shape[1]), dim=1).indices
    verdicts = [
        _verdicts(logits, head, units, classes[:, j], values, top) for j in range(classes.shape[1])
    ]
    return [
        Explanation(
            index=n if indices is None else indices[n],
            label=int(labels[n]),
            picture=as_bytes(picture(images[n].cpu())),
            verdicts=tuple(of_class[n] for of_class in verdicts),
        )
        for n in range(len(images))
    ]


def _verdicts(
    logits: Tensor, head: Head, units: Tensor, classes: Tensor, maps: Tensor | None, top: int
) -> list[Verdict]:
    """One verdict an image, on one class each."""
    parts, biases = (tensor.double().cpu() for tensor in head.terms(units, classes))
    found = []
    for n, c in enumerate(classes.tolist()):
        kept = parts[n].abs().topk(min(top, parts.shape[1])).indices.tolist()
        reasons = tuple(
            Reason(m, float(parts[n, m]), None if maps is None else maps[n, m].clone())
            for m in kept
            if parts[n, m] != 0
        )
        rest = float(parts[n].sum()) - sum(reason.contribution for reason in reasons)
        others = parts.shape[1] - len(reasons)
        found.append(
            Verdict(c, float(logits[n, c]), float(biases[n]), reasons, rest if others else 0.0)
        )
    return found
