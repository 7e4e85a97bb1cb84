"""Small classifiers as data, and the one training loop of the behaviour tests."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

CLASSES = 4
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A classifier: how to build it, the shape of one input, and the name of its head."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    head: str

    def model(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.build()

    def batches(self, count: int = 4, size: int = 12, seed: int = 1) -> list[Batch]:
        generator = torch.Generator().manual_seed(seed)
        return [
            (
                torch.randn(size, *self.shape, generator=generator),
                torch.randint(CLASSES, (size,), generator=generator),
            )
            for _ in range(count)
        ]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, CLASSES))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3, stride=2, groups=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(48, CLASSES),
    )


def convolution_head() -> nn.Module:
    """As in SqueezeNet: no Linear layer, the classifier is the last convolution."""
    return nn.Sequential(
        nn.Conv2d(2, 10, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(10, CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


CASES = {
    "mlp": Case(mlp, (6,), "2"),
    "bare linear": Case(lambda: nn.Linear(16, CLASSES), (16,), "Linear"),
    "convolutions": Case(convolutions, (2, 5, 5), "5"),
    "convolution head": Case(convolution_head, (2, 5, 5), "2"),
}
MLP = CASES["mlp"]


# Every way to select, in every phase, once a step or two are done.
METHODS = {
    "brake": {"block_size": 3},
    "form": {"brake": 0, "form": 10**6, "block_size": 3},
    "route": {"brake": 0, "form": 1, "settle": 10**6, "block_size": 3},
    "settle": {"brake": 0, "form": 1, "settle": 2, "block_size": 3},
    "shared": {"method": "shared", "form": 0, "block_size": 3},
    "shared, narrowing": {"method": "shared", "form": 3, "block_size": 3},
    "algorithm3": {"method": "algorithm3"},
}


class Spare(nn.Module):
    """The MLP beside a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = MLP.model(), nn.Linear(3, 3)

    def forward(self, input: Tensor) -> Tensor:
        return self.net(input)


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    after: Callable[[], None] = lambda: None,
) -> None:
    for input, target in batches:
        optimizer.zero_grad()
        cross_entropy(model(input), target).backward()
        optimizer.step()
        after()


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(left: Iterable[Tensor], right: Iterable[Tensor]) -> bool:
    """Bit for bit."""
    pairs = list(zip(left, right, strict=True))
    assert pairs
    return all(torch.equal(a, b) for a, b in pairs)
