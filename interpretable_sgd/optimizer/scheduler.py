"""A schedule for the block size, in the manner of `torch.optim.lr_scheduler`."""

from typing import Any

from torch.optim import Optimizer

from interpretable_sgd.optimizer.block_size import progress


class BlockSizeScheduler:
    """Narrow the block from whole rows to `block_size` over a number of scheduler steps.

    Sets the param-group key `narrowing`, the progress p in [0, 1] of K_t = M^(1 - p) K^p, in place of
    the optimizer's own count of steps. Call `step` after `optimizer.step`, every batch or every epoch.

    Args:
        optimizer: an `InterpretableSGD`.
        total_steps: N >= 1 calls of `step` until the block is `block_size`; about 40 % of a run.
        start: calls of `step` before the block begins to narrow, >= 0.

    Raises:
        TypeError: the optimizer has no block to narrow.
        ValueError: an argument out of its range.

    >>> import torch, interpretable_sgd
    >>> model = torch.nn.Linear(100, 2)
    >>> optimizer = interpretable_sgd.InterpretableSGD(model.parameters(), block_size=1)
    >>> scheduler = interpretable_sgd.BlockSizeScheduler(optimizer, total_steps=2)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_narrowing()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, start: int = 0) -> None:
        if not all("narrowing" in group for group in optimizer.param_groups):
            raise TypeError(
                "optimizer must be an InterpretableSGD, whose param groups have a block to narrow, "
                f"got {type(optimizer).__name__}"
            )
        if total_steps < 1:
            raise ValueError(f"total_steps must be at least 1, got {total_steps}")
        if start < 0:
            raise ValueError(f"start must be at least 0, got {start}")
        self.optimizer, self.total_steps, self.start = optimizer, total_steps, start
        self.last_step = -1
        self.step()

    def step(self) -> None:
        """Go one step further on the schedule."""
        self.last_step += 1
        for group in self.optimizer.param_groups:
            group["narrowing"] = progress(max(0, self.last_step - self.start), self.total_steps)

    def get_last_narrowing(self) -> list[float]:
        """Progress in each param group."""
        return [group["narrowing"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a schedule where `state_dict` was taken."""
        self.__dict__.update(state_dict)
