"""Transformers of the transformers package, built from a config, trained end to end with a routed head."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from interpretable_sgd import InterpretableSGD

CLASSES, STEPS, BLOCK = 6, 200, 5


def images(count: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """12 x 12 noise with two bright patches of nine; the class is the first of them, of six."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    others = torch.randint(CLASSES, 9, (count,), generator=generator)
    pixels = 0.3 * torch.randn(count, 1, 3, 4, 3, 4, generator=generator)
    for patch in (labels, others):
        pixels[torch.arange(count), 0, patch // 3, :, patch % 3] += 1
    return {"pixel_values": pixels.reshape(count, 1, 12, 12)}, labels


def texts(count: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Ten words of fifty; one of the first six is in it once and is the class."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    words = torch.randint(CLASSES + 1, 50, (count, 10), generator=generator)
    places = torch.randint(1, 10, (count,), generator=generator)
    words[torch.arange(count), places] = labels
    return {"input_ids": words, "attention_mask": torch.ones_like(words)}, labels


def vit() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=96,
            image_size=12,
            patch_size=4,
            num_channels=1,
            num_labels=CLASSES,
            initializer_range=0.1,
        )
    )


def text_classifier() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    return transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(
            vocab_size=50,
            max_position_embeddings=10,
            n_layers=2,
            n_heads=3,
            dim=48,
            hidden_dim=96,
            dropout=0.0,
            attention_dropout=0.0,
            seq_classif_dropout=0.0,
            num_labels=CLASSES,
            initializer_range=0.1,
        )
    )


def accuracy(model: nn.Module, data: tuple[dict[str, Tensor], Tensor]) -> float:
    with torch.no_grad():
        return float((model.eval()(**data[0]).logits.argmax(1) == data[1]).float().mean())


# Masks of a batch still change when a run ends, so a class reads some more connections than it keeps.
WAYS: dict[str, tuple[dict[str, Any], float]] = {
    "routed": ({"brake": STEPS // 8, "form": STEPS // 4, "settle": STEPS // 2}, BLOCK),
    "shared": ({"method": "shared", "form": STEPS * 2 // 5}, 1.2 * BLOCK),
}
ways = pytest.mark.parametrize(("way", "most"), WAYS.values(), ids=list(WAYS))


def run(model: nn.Module, draw: Any, way: dict[str, Any]) -> tuple[float, Tensor, str]:
    """Accuracy on 1000 new examples, connections per class, and the name of what was routed."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    options = {"lr": 0.1, "momentum": 0.9, "block_size": BLOCK} | way
    optimizer = InterpretableSGD(model.parameters(), **options)
    model.train()
    for _ in range(STEPS):
        given, labels = draw(64, generator)
        optimizer.zero_grad()
        cross_entropy(model(**given).logits, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    ((name, units),) = optimizer.routed_units().items()
    return accuracy(model, draw(1000, generator)), units.support.sum(1), name


@pytest.mark.row(
    "Frameworks",
    "a Vision Transformer (`ViTForImageClassification`), end to end",
    "generated images, 200 steps: classified, with a sparse head",
)
@ways
def test_vision_transformer(way: dict[str, Any], most: float) -> None:
    torch.manual_seed(0)
    right, connections, name = run(vit(), images, way)
    assert name == "classifier"
    assert right > 0.9 and connections.float().mean() <= most


@pytest.mark.row(
    "Frameworks",
    "a text classifier (`DistilBertForSequenceClassification`), end to end",
    "generated texts, 200 steps: classified, with a sparse head",
)
@ways
def test_text_classifier(way: dict[str, Any], most: float) -> None:
    torch.manual_seed(0)
    right, connections, name = run(text_classifier(), texts, way)
    assert name == "classifier"
    assert right > 0.9 and connections.float().mean() <= most
