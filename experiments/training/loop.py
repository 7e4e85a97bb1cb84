"""The training loop: forward, backward, step, schedule, average, checkpoint; it goes on where it was cut.

On one CPU with the same number of threads, a run that is killed and resumed equals the uninterrupted
one bit for bit: everything that shapes the next step is in a checkpoint, or is a function of its number.
Several ranks compute the same run to rounding, and a checkpoint of theirs goes on with any other number.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from experiments import rng
from experiments.training import checkpoints, signals
from experiments.training.config import PRECISIONS, Plan
from experiments.training.distributed import ALONE, Ranks
from experiments.training.ema import Average
from experiments.training.replication import Build, Parts, Whole
from experiments.training.sampler import Order

EMA = "ema:"  # before the names of the average's tensors


class Progress(NamedTuple):
    """Where a run stands after a step."""

    step: int
    steps: int
    epoch: int
    loss: Callable[[], float]  # mean of this epoch and rank so far; asking waits for the device
    lr: float


class Training:
    """A run: net, optimizer, schedule, order and position.

    Args:
        model: trained in place, on `device`.
        optimizer: over its parameters, not yet attached to the layers of the model; or what makes it
            from the model, which must be so where ranks hold the net in parts.
        images: map-style data set asked by (epoch, image) that gives (image, label), as `Augmented`.
        plan: how to train.
        config: of net, data and optimizer, as JSON; a checkpoint of another one is refused.
        penalty: added to the loss, a function of the model.
        each_epoch: numbers of the model to record at the end of an epoch; called on every rank.
        device: of the model.
        workers: processes that read images, of each rank.
        ranks: that train the run together, whose device it is then.

    Raises:
        ValueError: fewer images than a batch; ranks that cannot share one; a penalty with "fsdp".
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | Build,
        images: Dataset[Any],
        plan: Plan,
        *,
        config: Mapping[str, Any] | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        each_epoch: Callable[[nn.Module], Mapping[str, float]] | None = None,
        device: torch.device | str = "cpu",
        workers: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.plan, self.images, self.workers, self.ranks = plan, images, workers, ranks
        self.device = torch.device(device) if ranks.count == 1 else ranks.device
        self.config = {**(config or {}), "plan": plan.config()}
        self.penalty, self.each_epoch = penalty, each_epoch
        self.order = self._order(0)
        self.steps = len(self.order) // plan.accumulate
        if plan.channels_last:
            model.to(memory_format=torch.channels_last)
        in_parts = plan.parallel == "fsdp" and ranks.count > 1
        if in_parts and penalty is not None:
            raise ValueError(
                "penalty must be None with parallel='fsdp', whose weights are in parts"
            )
        self._net = (Parts if in_parts else Whole)(model, optimizer, ranks)
        self.model, self.optimizer = self._net.model, self._net.optimizer
        self.average: Average | None = None if plan.ema is None else self._net.average(plan.ema)
        self._forward = torch.compile(self._net.forward) if plan.compiled else self._net.forward
        self.schedule = LambdaLR(self.optimizer, self._factor)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "float16")
        self.step = 0
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self._loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self._random: dict[str, Any] | None = None

    @property
    def trained(self) -> nn.Module:
        """What is evaluated, whole: the average where the plan wants one, or the model.

        Where ranks hold it in parts it is gathered, so all of them must ask.
        """
        return self._net.trained if self.average is None else self.average.module

    def run(
        self, folder: Path | None = None, report: Callable[[Progress], None] = lambda at: None
    ) -> None:
        """Train to the end, from the newest checkpoint of the folder if there is one.

        Args:
            folder: of checkpoints, which the first rank writes; None keeps none.
            report: told after each step, on the first rank.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM on any rank; the step was finished and a
                checkpoint written.
            CheckpointError: one cannot be read or written, or is of another run.
            FloatingPointError: the loss of an epoch is not finite; no checkpoint holds it.
        """
        with rng.isolated():
            if folder is not None:
                self.resume(folder)
            if self._random is None:
                rng.seed(rng.derived(self.plan.seed))
            else:
                rng.restore(self._random)
            with signals.deferred(patient=self.ranks.count > 1) as stop:
                self._go(folder, report, stop)

    def resume(self, folder: Path) -> bool:
        """Load the newest intact checkpoint of the folder; whether there was one."""
        snapshot = self.ranks.first_does(lambda: checkpoints.latest(folder))
        if snapshot is not None:
            self.load(snapshot)
        return snapshot is not None

    def snapshot(self) -> checkpoints.Snapshot:
        """All that shapes the next step, and what was recorded so far; all ranks must ask."""
        weights = self._net.weights()
        averaged = 0
        if self.average is not None:
            weights |= {EMA + k: v for k, v in self.average.weights().items()}
            averaged = int(self.average.n_averaged)
        state = {
            "optimizer": self._net.state(),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "scaler": self.scaler.state_dict(),
            "averaged": averaged,
            "random": rng.capture(),
            "epochs": self.epochs,
            "loss": self._shared_loss(),
            "seconds": self.seconds,
        }
        return checkpoints.Snapshot(self.step, weights, state, self.config)

    def load(self, snapshot: checkpoints.Snapshot) -> None:
        """Continue where a snapshot was taken; nothing is changed if it is of another run or model."""
        checkpoints.check_config(snapshot.config, self.config)
        weights = {k: v for k, v in snapshot.weights.items() if not k.startswith(EMA)}
        checkpoints.check_weights(weights, self.model.state_dict())
        state = snapshot.state
        self._net.load_weights(weights)
        if self.average is not None:
            averaged = {k: v for k, v in snapshot.weights.items() if k.startswith(EMA)}
            averaged = {k[len(EMA) :]: v for k, v in averaged.items()}
            self.average.load(averaged, state["averaged"])
        self._net.load_state(state["optimizer"])
        self.schedule.load_state_dict({**state["schedule"], "lr_lambdas": [None] * self._groups})
        self.scaler.load_state_dict(state["scaler"])
        self._random = state["random"]
        self.epochs, self.seconds = list(state["epochs"]), state["seconds"]
        self._loss.fill_(state["loss"])
        self.step = snapshot.step

    @property
    def _groups(self) -> int:
        return len(self.optimizer.param_groups)

    def _order(self, start: int) -> Order:
        plan, ranks = self.plan, self.ranks
        n, share = len(self.images), (ranks.rank, ranks.count)  # type: ignore[arg-type]
        return Order(n, plan.batch, plan.epochs, plan.seed, start, plan.accumulate, *share)

    def _factor(self, step: int) -> float:
        return self.plan.schedule.factor(step / self.order.steps_per_epoch, self.plan.epochs)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts of batches from the present step to the end, on the device."""
        loader = DataLoader(
            self.images,
            batch_sampler=self._order(self.step),
            num_workers=self.workers,
            # the loader seeds its workers from this one, and leaves the global generator alone
            generator=torch.Generator(),
            worker_init_fn=_ignore_interrupts,
            pin_memory=self.device.type == "cuda",
        )
        layout = torch.channels_last if self.plan.channels_last else torch.preserve_format
        for images, labels in loader:
            images = images.to(self.device, non_blocking=True, memory_format=layout)
            yield images, labels.to(self.device, non_blocking=True)

    def _go(
        self, folder: Path | None, report: Callable[[Progress], None], stop: signals.Stop
    ) -> None:
        batches = self._batches()
        self.model.train()
        start, before = time.perf_counter(), self.seconds
        while self.step < self.steps:
            self._advance(batches)
            self.step += 1
            self.seconds = before + time.perf_counter() - start
            epoch, within = divmod(self.step, self.order.steps_per_epoch)
            mean = self._mean_of(self._loss, within or self.order.steps_per_epoch)
            if within == 0:
                self._close()
            if self.ranks.first:
                report(Progress(self.step, self.steps, epoch, mean, self._lr))
            due = self.step % self.plan.checkpoint_every == 0 or self.step == self.steps
            asked = self.ranks.any(stop.asked)
            if folder is not None and (due or asked):
                self._save(folder, within or self.order.steps_per_epoch)
            if asked:
                raise KeyboardInterrupt

    def _advance(self, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
        """One optimizer step."""
        plan = self.plan
        dtype = PRECISIONS[plan.precision]
        if self.ranks.count > 1:
            # no checkpoint holds the generators of ranks that there may not be next time
            rng.seed(rng.derived(plan.seed, self.step, self.ranks.rank))
        self.optimizer.zero_grad()
        for number in range(plan.accumulate):
            images, labels = next(batches)
            with self._net.part(last=number == plan.accumulate - 1):
                with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
                    loss = nn.functional.cross_entropy(self._forward(images), labels)
                self._loss += loss.detach() / plan.accumulate
                if self.penalty is not None:
                    loss = loss + self.penalty(self.model)
                self.scaler.scale(loss / plan.accumulate).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)

    @property
    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _close(self) -> None:
        """Record an epoch."""
        loss = self._shared_loss() / self.order.steps_per_epoch
        self._finite(loss)
        more = {} if self.each_epoch is None else dict(self.each_epoch(self.trained))
        self.epochs.append({"loss": loss, "lr": self._lr, **more})
        self._loss = torch.zeros_like(self._loss)

    def _save(self, folder: Path, steps: int) -> None:
        snapshot = self.snapshot()
        self._finite(snapshot.state["loss"] / steps)
        self.ranks.first_does(lambda: checkpoints.save(folder, snapshot))

    def _shared_loss(self) -> float:
        """The sum of this epoch's losses so far, the mean of all ranks'."""
        return self.ranks.total(self._loss).item() / self.ranks.count

    def _mean_of(self, total: Tensor, steps: int) -> Callable[[], float]:
        return lambda: total.item() / steps

    def _finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of this epoch is {loss} at step {self.step}")


def _ignore_interrupts(worker: int) -> None:
    # Ctrl-C goes to every process of the terminal, but the loop still needs the batch it is at
    signal.signal(signal.SIGINT, signal.SIG_IGN)
