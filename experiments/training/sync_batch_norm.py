"""Batch norm over the images of all ranks, also on a CPU, where torch.nn.SyncBatchNorm does not run."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class MeanOfRanks(torch.autograd.Function):
    """The mean of each rank's tensor; so is its gradient of the sum of each rank's loss."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """All ranks call it."""
        total = value.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """All ranks call it, at the same point of their backward passes."""
        return MeanOfRanks.apply(gradient)


class SharedBatchNorm(_BatchNorm):
    r"""Batch norm whose mean and variance are those of W ranks with equally many images each.

    .. math:: \mu = \frac1W \sum_r \mu_r, \qquad
        \sigma^2 = \frac1W \sum_r \frac1n \sum_{i} (x_{r i} - \mu)^2

    Both sums are differentiated through, so that gradients are those of one process with the whole
    batch. The tensors it keeps are those of the batch norm that it stands in for.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """What a batch norm takes depends on which one it stands in for."""

    def forward(self, input: Tensor) -> Tensor:
        """Of an input (n, c, ...)."""
        if not self.training:
            return super().forward(input)
        across = [d for d in range(input.dim()) if d != 1]
        x = input.transpose(1, -1).to(torch.promote_types(input.dtype, torch.float32))
        flat = x.reshape(-1, x.shape[-1])
        mean = MeanOfRanks.apply(flat.mean(0))
        variance = MeanOfRanks.apply((flat - mean).square().mean(0))
        self._follow(mean.detach(), variance.detach(), len(flat) * dist.get_world_size())
        shape = [1 if d in across else -1 for d in range(input.dim())]
        y = (input - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Let the statistics of a batch of `count` values into the running ones."""
        if not self.track_running_stats:
            return
        mean_so_far, variance_so_far = self.running_mean, self.running_var
        assert mean_so_far is not None and variance_so_far is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        mean_so_far.lerp_(mean, weight)
        variance_so_far.lerp_(variance * count / (count - 1), weight)


def shared(model: nn.Module, device: torch.device) -> nn.Module:
    """A net whose batch norms see all ranks' images; its parameters are the same objects."""
    if device.type != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, _BatchNorm):
        return _shared(model)
    for name, child in model.named_children():
        model.add_module(name, shared(child, device))
    return model


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    twin = SharedBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    twin._parameters, twin._buffers, twin.training = norm._parameters, norm._buffers, norm.training
    return twin
