"""What an optimizer will not do in silence, and the words in which it says so."""

from torch import Tensor

from interpretable_sgd.optimizer.sharding import whole

CE3 = (
    "masks per sample do not descend the loss: on a separable two-class problem this algorithm "
    "ends at 0 % accuracy with a growing loss (counterexample CE3 in docs/method.md); watch "
    "bias_ratio(), or use mask='shared'"
)
NO_HEAD = (
    "no head to route: the last Linear layer has a forward of its own, or no Linear or convolution "
    "layer that owns a parameter has run forward. Every parameter gets plain SGD"
)
UNSEEN = "used without their layer's forward, so trained unmasked: {}"
BORROWED = (
    "a model ran with other tensors in place of the optimizer's parameters, as by "
    "torch.func.functional_call, so its activations tell nothing of them; nothing was updated. Call "
    "the module itself, or pass layers='none'"
)
LOST = (
    "the loaded state routes {}, but holds no statistics of it: its masks start afresh. With "
    "torch.distributed.checkpoint, take a training step before get_optimizer_state_dict, which asks "
    "only for what the optimizer holds by then"
)
SPLIT = (
    "layers must not choose weights that are split within a layer (tensor parallelism), got {}, "
    "whose weight runs as a DTensor; fully_shard is supported"
)
REPLICAS = (
    "torch.nn.DataParallel trains copies of the layers in threads, and InterpretableSGD does not see "
    "what runs through them; use DistributedDataParallel"
)
CAPTURED = (
    "step() cannot be captured in a CUDA graph, which would repeat one mask for ever; capture "
    "forward and backward, and call step() after each replay"
)


def require_dense(gradient: Tensor, name: str) -> None:
    """Raise if the gradient of a routed layer is sparse: a mask is not."""
    if gradient.is_sparse:
        raise RuntimeError(f"a routed layer needs a dense gradient, got a sparse one for {name}")


def require_finite(tensor: Tensor, what: str, name: str) -> None:
    """Raise if a gradient or a statistic is NaN or infinite anywhere, on any process."""
    values = tensor.coalesce().values() if tensor.is_sparse else whole(tensor)
    if not values.isfinite().all():
        raise FloatingPointError(
            f"the {what} of {name} is not finite, and nonfinite='raise'; nothing was updated"
        )
