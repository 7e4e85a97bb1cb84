"""Which layer of a classifier makes its logits."""

from torch import nn

from interpretable_sgd.analysis.heads import Head


def find_head(model: nn.Module, head: Head | nn.Module | str | None = None) -> Head:
    """The head of a classifier.

    Args:
        model: any module.
        head: the layer or its dotted name. None for the last Linear layer in the order of
            registration, or without one the last 1x1 convolution.

    Returns:
        The layer with its name; whether its terms make the logits shows in a forward pass only.

    Raises:
        TypeError: the layer is neither Linear nor a 1x1 convolution.
        ValueError: the model has no such layer.

    >>> find_head(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))).name
    '2'
    """
    if isinstance(head, Head):
        return head
    modules = dict(model.named_modules())
    if head is None:
        layers = [name for name, module in modules.items() if _can_head(module)]
        names = [name for name in layers if isinstance(modules[name], nn.Linear)] or layers
        if not names:
            raise ValueError(
                "the model has neither a Linear layer nor a 1x1 convolution: it has no head"
            )
        name = names[-1]
    elif isinstance(head, str):
        if head not in modules:
            raise ValueError(f"head must name a layer of the model, got {head!r}")
        name = head
    else:
        own = [name for name, module in modules.items() if module is head]
        if not own:
            raise ValueError(f"head must be a layer of the model, got {head}, which is not in it")
        name = own[0]
    layer = modules[name]
    if not _can_head(layer):
        raise TypeError(
            "head must be a Linear layer or a 1x1 convolution without groups and padding, "
            f"got {layer}"
        )
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
