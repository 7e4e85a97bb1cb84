"""Search for the layer that makes a classifier's logits."""

from typing import Any

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.batches import Inputs, call, primary_output
from interpretable_sgd.analysis.forward import evaluating
from interpretable_sgd.analysis.heads import Head


def find_head(
    model: nn.Module, head: Head | nn.Module | str | None = None, inputs: Inputs | None = None
) -> Head:
    """The head of a classifier.

    Args:
        model: any module.
        head: the layer or its dotted name. None to find it: the last Linear layer in the order of
            registration, or without one the last 1x1 convolution.
        inputs: of a few images. With them the model runs once, in evaluation mode, and the head is
            the layer whose output the model returns, wherever it is registered.

    Returns:
        The layer with its name; without inputs, whether its terms make the logits shows in a
        forward pass only.

    Raises:
        TypeError: the layer is neither Linear nor a 1x1 convolution.
        ValueError: the model has no such layer, or none makes what it returns.

    >>> find_head(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))).name
    '2'
    """
    if isinstance(head, Head):
        return head
    modules = dict(model.named_modules())
    if head is None:
        return _search(model, modules, inputs)
    if isinstance(head, str):
        if head not in modules:
            raise ValueError(f"head must name a layer of the model, got {head!r}")
        name = head
    else:
        own = [name for name, module in modules.items() if module is head]
        if not own:
            raise ValueError(f"head must be a layer of the model, got {head}, which is not in it")
        name = own[0]
    if not _can_head(modules[name]):
        raise TypeError(
            "head must be a Linear layer or a 1x1 convolution without groups and padding, "
            f"got {modules[name]}"
        )
    return _head_of(modules, name)


def _search(model: nn.Module, modules: dict[str, nn.Module], inputs: Inputs | None) -> Head:
    layers = [name for name, module in modules.items() if _can_head(module)]
    if not layers:
        raise ValueError(
            "the model has neither a Linear layer nor a 1x1 convolution: it has no head"
        )
    names = [name for name in layers if isinstance(modules[name], nn.Linear)] or layers
    if inputs is None:
        return _head_of(modules, names[-1])
    heads = [_head_of(modules, name) for name in layers]
    makers = _makers_of_the_output(model, heads, inputs)
    if makers is None:
        return _head_of(modules, names[-1])
    if not makers:
        raise ValueError(
            "the model must return the logits of a Linear layer or a 1x1 convolution, or their "
            f"softmax or sigmoid; none of {', '.join(map(repr, layers[-3:]))} makes what it returns: "
            "name the layer that makes the logits with head="
        )
    # the last one registered where two make the same, as a head of tied weights does
    return max(makers, key=lambda head: layers.index(head.name))


@torch.no_grad()
def _makers_of_the_output(model: nn.Module, heads: list[Head], inputs: Inputs) -> list[Head] | None:
    """Those whose logits are the model's output; None where it is not finite, and equals nothing."""
    logits: dict[str, Tensor] = {}
    handles = []
    for head in heads:

        def keep(layer: nn.Module, args: Any, output: Any, head: Head = head) -> None:
            if isinstance(output, Tensor) and output.dim() in (2, 4):
                logits[head.name] = head.pool(output)

        handles.append(head.layer.register_forward_hook(keep))
    try:
        with evaluating(model):
            output = primary_output(call(model, inputs))
    finally:
        for handle in handles:
            handle.remove()
    if output is None:
        return []
    if not output.isfinite().all():
        return None
    return [
        head for head in heads if head.name in logits and head.explains(output, logits[head.name])
    ]


def _head_of(modules: dict[str, nn.Module], name: str) -> Head:
    layer = modules[name]
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return Head(layer, name, _is_rectified(modules, name))


def _can_head(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        unpadded = module.padding in ((0, 0), "valid", "same")
        return module.kernel_size == (1, 1) and module.groups == 1 and unpadded
    return isinstance(module, nn.Linear)


def _is_rectified(modules: dict[str, nn.Module], name: str) -> bool:
    """Whether a ReLU follows a convolution in its Sequential."""
    parent = modules.get(name.rpartition(".")[0]) if name else None
    if not isinstance(parent, nn.Sequential) or not isinstance(modules[name], nn.Conv2d):
        return False
    children = list(parent)
    after = children[children.index(modules[name]) + 1 :]
    return bool(after) and isinstance(after[0], nn.ReLU)
