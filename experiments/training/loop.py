"""The training loop: forward, backward, step, schedule, average, checkpoint; it goes on where it was cut.

On one CPU with the same number of threads, a run that is killed and resumed equals the uninterrupted
one bit for bit: everything that shapes the next step is in a checkpoint, or is a function of its number.
Several ranks compute the same run to rounding, and a checkpoint of theirs goes on with any other number.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from experiments import rng
from experiments.recipes import Recipe
from experiments.training import checkpoints, signals
from experiments.training.distributed import ALONE, Ranks
from experiments.training.sampler import EpochSampler
from experiments.training.sync_batch_norm import shared

EMA = "ema:"  # before the names of the average's tensors
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
Numbers = Mapping[str, float]


class Progress(NamedTuple):
    """Where a run stands after a step."""

    step: int
    steps: int
    epoch: int
    loss: Callable[[], float]  # mean of this epoch and rank so far; asking waits for the device
    lr: float


class Samples(Protocol):
    """Training samples, as `LabelledData.train`."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]: ...


class Training:
    """A run: network, optimizer, schedules, order and position.

    Args:
        model: trained in place, on `device`.
        optimizer: over its parameters, not yet attached to the layers of the model.
        samples: map-style data set asked by (epoch, number) that gives (sample, label).
        recipe: how to train.
        seed: of the order and of every global generator.
        config: of network, data and optimizer, as JSON; a checkpoint of another one is refused.
        each_step: numbers to record after a step, of the model, the step's number and its loss.
        each_epoch: numbers to record of the model before the first epoch, 0, and at the end of each; called
            on every rank.
        collate: makes a batch of what the samples give.
        device: of the model.
        workers: processes that read samples, of each rank.
        ranks: that train the run together, whose device it is then.

    Raises:
        ValueError: fewer samples than a batch; ranks that cannot share one.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        samples: Samples,
        recipe: Recipe,
        *,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
        each_step: Callable[[nn.Module, int, Tensor], Numbers] | None = None,
        each_epoch: Callable[[nn.Module, int], Numbers] | None = None,
        collate: Callable[[Any], Any] | None = None,
        device: torch.device | str = "cpu",
        workers: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.recipe, self.seed, self.samples = recipe, seed, samples
        self.workers, self.ranks, self.collate = workers, ranks, collate
        self.device = torch.device(device) if ranks.count == 1 else ranks.device
        self.config = {**(config or {}), "recipe": recipe.config(), "training_seed": seed}
        self.each_step, self.each_epoch = each_step, each_epoch
        self.order = self._order(0)
        self.steps = len(self.order) // recipe.accumulate
        if recipe.channels_last:
            model.to(memory_format=torch.channels_last)
        self.model = self._replica = model
        if ranks.count > 1:
            self.model = shared(model, ranks.device)
            devices = [ranks.device] if ranks.device.type == "cuda" else None
            self._replica = DistributedDataParallel(self.model, devices)
        self.optimizer = optimizer
        self.average: AveragedModel | None = None
        if recipe.ema is not None:
            follow = get_ema_multi_avg_fn(recipe.ema)
            self.average = AveragedModel(self.model, multi_avg_fn=follow, use_buffers=True)
        self._forward = torch.compile(self._replica) if recipe.compiled else self._replica
        self.schedule = recipe.scheduler(optimizer, self.order.steps_per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        self.step = 0
        self.epochs: list[dict[str, float]] = []
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.seconds = self.measuring_seconds = 0.0
        self._loss = torch.zeros((), dtype=torch.float64, device=self.device)
        self._random: dict[str, Any] | None = None

    @property
    def trained(self) -> nn.Module:
        """What is evaluated: the average where the recipe wants one, or the model."""
        return self.model if self.average is None else self.average.module

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
                rng.seed(rng.derived(self.seed))
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
        weights = dict(self.model.state_dict())
        averaged = 0
        if self.average is not None:
            weights |= {EMA + k: v for k, v in self.average.module.state_dict().items()}
            averaged = int(self.average.n_averaged)
        state = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged": averaged,
            "random": rng.capture(),
            "epochs": self.epochs,
            "curves": self.curves,
            "loss": self._shared_loss(),
            "seconds": (self.seconds, self.measuring_seconds),
        }
        return checkpoints.Snapshot(self.step, weights, state, self.config)

    def load(self, snapshot: checkpoints.Snapshot) -> None:
        """Continue where a snapshot was taken; nothing is changed if it is of another run or model."""
        checkpoints.check_config(snapshot.config, self.config)
        weights = {k: v for k, v in snapshot.weights.items() if not k.startswith(EMA)}
        checkpoints.check_weights(weights, self.model.state_dict())
        state = snapshot.state
        self.model.load_state_dict(weights)
        if self.average is not None:
            averaged = {
                k.removeprefix(EMA): v for k, v in snapshot.weights.items() if k.startswith(EMA)
            }
            self.average.module.load_state_dict(averaged)
            self.average.n_averaged.fill_(state["averaged"])
        self.optimizer.load_state_dict(dict(state["optimizer"]))
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self._random = state["random"]
        self.epochs = list(state["epochs"])
        self.curves = {name: list(points) for name, points in state["curves"].items()}
        self.seconds, self.measuring_seconds = state["seconds"]
        self._loss.fill_(state["loss"])
        self.step = snapshot.step

    def _order(self, start: int) -> EpochSampler:
        recipe, ranks = self.recipe, self.ranks
        parts, share = recipe.accumulate, (ranks.rank, ranks.count)
        return EpochSampler(
            len(self.samples), recipe.batch, recipe.epochs, self.seed, start, parts, *share
        )

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts of batches from the present step to the end, on the device."""
        loader: DataLoader[Any] = DataLoader(
            self.samples,  # type: ignore[arg-type]
            batch_sampler=self._order(self.step),
            num_workers=self.workers,
            collate_fn=self.collate,
            # the loader seeds its workers from this one, and leaves the global generator alone
            generator=torch.Generator(),
            worker_init_fn=_ignore_interrupts,
            pin_memory=self.device.type == "cuda",
        )
        for samples, labels in loader:
            # of pictures alone: a table's rows have no channels
            last = self.recipe.channels_last and samples.dim() == 4
            layout = torch.channels_last if last else torch.preserve_format
            samples = samples.to(self.device, non_blocking=True, memory_format=layout)
            yield samples, labels.to(self.device, non_blocking=True)

    def _go(
        self, folder: Path | None, report: Callable[[Progress], None], stop: signals.Stop
    ) -> None:
        batches = self._batches()
        self.model.train()
        start, before = time.perf_counter(), (self.seconds, self.measuring_seconds)
        if self.step == 0:
            self._record_epoch(0)
        while self.step < self.steps:
            loss = self._advance(batches)
            self.step += 1
            if self.each_step is not None:
                self._record_step(loss)
            epoch, within = divmod(self.step, self.order.steps_per_epoch)
            mean = self._mean_of(self._loss, within or self.order.steps_per_epoch)
            if within == 0:
                self._record_epoch(epoch)
            measured = self.measuring_seconds - before[1]
            self.seconds = before[0] + time.perf_counter() - start - measured
            if self.ranks.first:
                report(Progress(self.step, self.steps, epoch, mean, self._lr))
            due = self.step % self.recipe.checkpoint_every == 0 or self.step == self.steps
            asked = self.ranks.any(stop.asked)
            if folder is not None and (due or asked):
                self._save(folder, within or self.order.steps_per_epoch)
            if asked:
                raise KeyboardInterrupt

    def _advance(self, batches: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """One optimizer step; returns its loss, of this rank."""
        recipe = self.recipe
        dtype, total = DTYPES[recipe.precision], torch.zeros_like(self._loss)
        if self.ranks.count > 1:
            # no checkpoint holds the generators of ranks that there may not be next time
            rng.seed(rng.derived(self.seed, self.step, self.ranks.rank))
        self.optimizer.zero_grad()
        for number in range(recipe.accumulate):
            samples, labels = next(batches)
            with self._part(last=number == recipe.accumulate - 1):
                with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
                    loss = nn.functional.cross_entropy(self._forward(samples), labels)
                total += loss.detach() / recipe.accumulate
                self.scaler.scale(loss / recipe.accumulate).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self._loss += total
        return total

    def _part(self, last: bool) -> AbstractContextManager[Any]:
        """Around a part of a step's batch: ranks need each other's gradients after the last one."""
        replica = self._replica
        if last or not isinstance(replica, DistributedDataParallel):
            return nullcontext()
        return replica.no_sync()

    @property
    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _record_step(self, loss: Tensor) -> None:
        start = time.perf_counter()
        assert self.each_step is not None
        for name, value in self.each_step(self.model, self.step, loss).items():
            self.curves.setdefault(name, []).append((self.step, value))
        self.measuring_seconds += time.perf_counter() - start

    def _record_epoch(self, epoch: int) -> None:
        """Numbers at the end of an epoch; at 0 those before training, which has no loss."""
        numbers: dict[str, float] = {"epoch": epoch}
        if epoch:
            numbers["loss"] = self._shared_loss() / self.order.steps_per_epoch
            numbers["lr"] = self._lr
            self._finite(numbers["loss"])
        start = time.perf_counter()
        more = {} if self.each_epoch is None else dict(self.each_epoch(self.trained, epoch))
        self.measuring_seconds += time.perf_counter() - start
        if epoch or more:
            self.epochs.append({**numbers, **more})
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
