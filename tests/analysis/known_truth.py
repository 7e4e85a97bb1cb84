"""A network whose units are the concepts, and whose classes are pairs of them: every number is known.

Images show a red, green or blue square of 2 x 2 pixels for each concept of their class, on black;
unit k is colour k. A square covers less than 0.5 % of the positions, so a unit's threshold is 0.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis import Study, study
from interpretable_sgd.analysis.concepts import ConceptArrays

SIDE, IMAGES, CLASSES = 24, 60, 3
COLOURS = ("red", "green", "blue")
TRUTH = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=torch.bool)


def network() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, CLASSES),
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3)[:, :, None, None])
        model[4].weight.copy_(TRUTH.float())
        model[4].bias.zero_()
    return model.eval()


def images(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, 3, side, side), classes (n,), and masks (n, 3, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(IMAGES) % CLASSES
    masks = torch.zeros(IMAGES, 3, SIDE, SIDE, dtype=torch.bool)
    for n, c in enumerate(labels.tolist()):
        for k in TRUTH[c].nonzero().flatten().tolist():
            # each colour has rows of its own: squares never overlap
            y = 8 * k + int(torch.randint(6, (), generator=generator))
            x = int(torch.randint(SIDE - 2, (), generator=generator))
            masks[n, k, y : y + 2, x : x + 2] = True
    return masks.float(), labels, masks


def known_study(
    class_names: Sequence[str] = ("red green", "red blue", "green blue"),
    concept_names: Sequence[str] = COLOURS,
    mislabelled: int = 6,
    model: nn.Module | None = None,
    **options: Any,
) -> Study:
    """A study of the network; some images have the next class's label, so that they are wrong."""
    pixels, labels, masks = images()
    labels = labels.clone()
    labels[:mislabelled] = (labels[:mislabelled] + 1) % CLASSES
    return study(
        network() if model is None else model,
        list(zip(pixels.split(25), labels.split(25), strict=True)),
        class_names=class_names,
        concepts=ConceptArrays.of_masks(pixels, masks, names=concept_names),
        **{
            "truth": TRUTH,
            "permutations": 19,
            "augment": lambda batch: batch.roll(1, 3),
            **options,
        },
    )
