"""A run small enough to be killed many times: dropout, random transforms, routing, an average of weights."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from experiments.datasets.dataset import Augmented, collate
from experiments.recipes import Recipe
from experiments.training.loop import Training
from interpretable_sgd import InterpretableSGD

EPOCHS, BATCH, IMAGES = 4, 8, 84  # 40 steps; 4 images are left over in each epoch
SETTINGS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}


def noisy(image: torch.Tensor) -> torch.Tensor:
    return image + 0.1 * torch.randn(image.shape)


def dataset() -> Augmented:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(IMAGES, 12, generator=generator)
    labels = (images[:, :3].sum(1) > 0).long() + (images[:, 3] > 0).long()
    return Augmented(TensorDataset(images, labels), noisy, seed=1)


def build(hidden: int = 16) -> nn.Module:
    generator = torch.Generator().manual_seed(7)
    model = nn.Sequential(
        nn.Linear(12, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(hidden, 3),
    )
    for weight in model.parameters():
        weight.data.normal_(0, 0.3, generator=generator)
    return model


def training(hidden: int = 16, routed: bool = True, seed: int = 0, **changes: Any) -> Training:
    model = build(hidden)
    optimizer = (
        InterpretableSGD(model.parameters(), **SETTINGS, block_size=3, form=8, settle=16)
        if routed
        else torch.optim.SGD(model.parameters(), **SETTINGS)
    )
    # a rise over 5 of 40 steps, then times .3 after each 15
    usual = {"schedule": "multistep", "milestones": (1.5, 3), "gamma": 0.3, "warmup": 0.125}
    recipe = Recipe(EPOCHS, BATCH, **{**usual, "ema": 0.9, "checkpoint_every": 3, **changes})
    return Training(model, optimizer, dataset(), recipe, seed=seed, collate=collate)


def train(folder: str, started: Any) -> None:
    """A whole run, in a process of its own."""
    torch.set_num_threads(1)
    run = training()
    started.set()
    run.run(Path(folder))


def train_until(folder: str, event: int) -> None:
    """A run that kills itself when it is about to touch files of the folder for the n-th time."""
    torch.set_num_threads(1)
    touched = 0

    def hook(word: str, args: tuple[Any, ...]) -> None:
        nonlocal touched
        if word in ("open", "os.mkdir", "os.rename", "os.rmdir", "os.remove") and folder in str(
            args[0]
        ):
            touched += 1
            if touched == event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    training().run(Path(folder))
