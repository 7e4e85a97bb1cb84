"""A layer that trains under a schedule, and what its optimizer says."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as schedulers

from interpretable_sgd import InterpretableSGD

Schedule = Callable[[torch.optim.Optimizer], Any]
UNITS, CLASSES = 9, 3


class Run:
    """A layer that trains under a schedule, and the phase after each step."""

    def __init__(self, schedule: Schedule | None = None, kind: type = InterpretableSGD, **options):
        torch.manual_seed(0)
        self.layer = nn.Linear(UNITS, CLASSES)
        self.optimizer = kind(self.layer.parameters(), **({"lr": 0.1, "block_size": 2} | options))
        self.schedule = schedule(self.optimizer) if schedule else None
        self.phases: list[str] = []
        self.rates: list[float] = []
        self.reads: list[int] = []

    def step(self) -> None:
        self.optimizer.zero_grad()
        x, y = torch.randn(8, UNITS).relu(), torch.randint(CLASSES, (8,))
        loss = cross_entropy(self.layer(x), y)
        loss.backward()
        self.rates.append(float(self.optimizer.param_groups[0]["lr"]))
        self.optimizer.step()
        if isinstance(self.schedule, schedulers.ReduceLROnPlateau):
            self.schedule.step(1.0)
        elif self.schedule is not None:
            self.schedule.step()
        self.phases.append(self.optimizer.phase)
        self.reads.append(int((self.layer.weight != 0).sum(1).max()))

    def train(self, steps: int) -> "Run":
        for _ in range(steps):
            self.step()
        return self

    def began(self, phase: str) -> int | None:
        """Steps taken when a phase began."""
        return self.phases.index(phase) + 1 if phase in self.phases else None


UNSETTLED = (
    r"layer 'Linear' has not settled: a row reads up to 9 connections, not 2. It settles .*; "
    r"optimizer.settle\(\) cuts at the next step"
)


def heard(read: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        read()
    return [str(warning.message) for warning in record]
