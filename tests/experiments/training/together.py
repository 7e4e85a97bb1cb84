"""Runs that several ranks train together: a small net with batch norm, routing and an average of weights."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments.datasets.dataset import collate
from experiments.recipes import Recipe
from experiments.training.distributed import ALONE, Ranks
from experiments.training.loop import Training
from experiments.training.sync_batch_norm import SharedBatchNorm
from interpretable_sgd import InterpretableSGD
from tests.experiments.training.victim import SETTINGS, build, dataset

EPOCHS, BATCH = 2, 8  # 20 steps
CASES: dict[str, dict[str, Any]] = {
    "whole": {},
    "in parts": {"accumulate": 2},
    "bfloat16": {"precision": "bfloat16", "routed": False},
}


def training(
    ranks: Ranks = ALONE, routed: bool = True, dropout: float = 0, **changes: Any
) -> Training:
    model = build()
    model[3].p = dropout
    usual = {"schedule": "multistep", "milestones": (1.0,), "gamma": 0.5, "ema": 0.9}
    recipe = Recipe(EPOCHS, BATCH, **{**usual, "checkpoint_every": 3, **changes})
    optimizer: torch.optim.Optimizer = (
        InterpretableSGD(model.parameters(), **SETTINGS, block_size=3, form=8, settle=16)
        if routed
        else torch.optim.SGD(model.parameters(), **SETTINGS)
    )
    return Training(model, optimizer, dataset(), recipe, collate=collate, ranks=ranks)


def here() -> Ranks:
    return Ranks(dist.get_rank(), dist.get_world_size())


def seen(run: Training) -> dict[str, Any]:
    """What is compared: weights and their average, which connections are kept, losses."""
    snapshot = run.snapshot()
    states = snapshot.state["optimizer"]["state"].values()
    return {
        "weights": {k: v.clone() for k, v in snapshot.weights.items()},
        "supports": [state["support"] for state in states if "support" in state],
        "statistics": [state["moments"] for state in states if "moments" in state],
        "epochs": run.epochs,
        "trained": {k: v.clone() for k, v in run.trained.state_dict().items()},
        "step": run.step,
    }


def normalised(norm: nn.Module, images: Tensor) -> list[Tensor]:
    """A batch norm's output, gradients of a loss that couples images, and running statistics."""
    images = images.clone().requires_grad_()
    out = norm(images)
    (out.pow(3) * torch.linspace(-1, 1, out[0].numel()).view(out[0].shape)).mean().backward()
    gradients = [images.grad, norm.weight.grad, norm.bias.grad]
    return [t.detach() for t in (out, *gradients, norm.running_mean, norm.running_var)]


def batch_of_images() -> Tensor:
    return torch.randn(8, 3, 4, 5, generator=torch.Generator().manual_seed(3)) * 2 + 1


def shared_norm() -> list[Tensor]:
    ranks = here()
    return normalised(SharedBatchNorm(3), batch_of_images().chunk(ranks.count)[ranks.rank])


def told(ranks: Ranks) -> dict[str, Any]:
    """What ranks tell each other."""
    answers = {
        "one asks": ranks.any(ranks.rank == ranks.count - 1),
        "none asks": ranks.any(False),
        "done": ranks.first_does(lambda: ranks.rank),
    }
    try:
        ranks.first_does(lambda: 1 / ranks.rank)
    except ZeroDivisionError as error:
        answers["raised"] = str(error)
    return answers


def interrupted(ranks: Ranks, folder: Path) -> tuple[int, bool]:
    """The last rank is told to stop at step 7, and told again; the step it ends at, and whether it stopped."""
    run = training(ranks, checkpoint_every=1000)
    advance, stopped = run._advance, False

    def advance_and_signal(batches: Any) -> None:
        if run.step == 6 and ranks.rank == ranks.count - 1:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        advance(batches)

    run._advance = advance_and_signal  # type: ignore[method-assign]
    try:
        run.run(folder)
    except KeyboardInterrupt:
        stopped = True
    return run.step, stopped


def stopped_at(run: Training, step: int, folder: Path) -> None:
    """Train to a step, and leave a checkpoint."""

    def press(at: Any) -> None:
        if at.step == step:
            signal.raise_signal(signal.SIGTERM)

    try:
        run.run(folder, report=press)
    except KeyboardInterrupt:
        return
    raise AssertionError(f"nothing stopped the run at step {step}")


def pair(rank: int, folder: Path) -> dict[str, Any]:
    """All that two ranks do: every case, and the first part of an elastic run."""
    ranks, found = here(), {}
    for name, options in CASES.items():
        run = training(ranks, **options)
        run.run()
        found[name] = seen(run)
    stopped_at(training(ranks), 7, folder / "elastic")
    found["dropout"] = draws(ranks, folder / "dropout")
    found["norm"] = shared_norm()
    found["told"] = told(ranks)
    found["interrupted"] = interrupted(ranks, folder / "interrupted")
    found["spoilt"] = spoilt(ranks, folder / "spoilt")
    return found


def draws(ranks: Ranks, folder: Path) -> tuple[bool, Tensor]:
    """Whether a run with dropout goes on bit for bit, and which outputs were 0 behind its first draw."""
    whole, cut, rest = (training(ranks, dropout=0.5) for _ in range(3))
    passed: list[Tensor] = []
    whole.model[3].register_forward_hook(lambda layer, i, output: passed.append(output == 0))
    whole.run()
    stopped_at(cut, 7, folder)
    rest.run(folder)
    same = all(map(torch.equal, whole.model.parameters(), rest.model.parameters()))
    return same, passed[0]


def spoilt(ranks: Ranks, folder: Path) -> str:
    """A checkpoint folder that only the first rank finds to be a file."""
    if ranks.first:
        folder.write_text("")
    try:
        training(ranks).run(folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def four(rank: int, folder: Path) -> dict[str, Any]:
    """All that four ranks do: two cases, and the last part of the elastic run."""
    ranks, found = here(), {}
    for name in ("whole", "in parts"):
        run = training(ranks, **CASES[name])
        run.run()
        found[name] = seen(run)
    run = training(ranks)
    run.run(folder / "elastic")
    found["elastic"] = seen(run)
    found["norm"] = shared_norm()
    return found
