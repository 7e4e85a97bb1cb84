"""The layer that makes a classifier's logits, by the order in which layers are registered."""

from torch import nn


def head_name(model: nn.Module) -> str:
    """The dotted name of the last Linear layer, or without one of the last 1x1 convolution.

    The one search of the package, for whoever sees a model at rest. An optimizer sees it run, and takes
    the last layer that does.

    Raises:
        ValueError: the model has no such layer.

    >>> head_name(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)))
    '2'
    """
    layers = [(name, module) for name, module in model.named_modules() if can_be_head(module)]
    linear = [name for name, module in layers if isinstance(module, nn.Linear)]
    names = linear or [name for name, _ in layers]
    if not names:
        raise ValueError(
            "the model has neither a Linear layer nor a 1x1 convolution: it has no head"
        )
    return names[-1]


def can_be_head(module: nn.Module) -> bool:
    """Whether a layer is Linear, or a 1x1 convolution without groups and padding."""
    if isinstance(module, nn.Conv2d):
        unpadded = module.padding in ((0, 0), "valid", "same")
        return module.kernel_size == (1, 1) and module.groups == 1 and unpadded
    return isinstance(module, nn.Linear)
