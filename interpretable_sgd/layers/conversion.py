"""Turn plain layers of a model into routed ones and back, keeping weights, hooks and names."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from interpretable_sgd.layers.dynamic import DynamicConv2d, DynamicLinear
from interpretable_sgd.layers.head_search import can_be_head, head_name
from interpretable_sgd.layers.top_k import Selection, check_k, check_selection

Predicate = Callable[[str, nn.Module], bool]
_Layer = TypeVar("_Layer", bound=nn.Module)


def route(
    model: nn.Module,
    k: int | Mapping[str, int] = 5,
    *,
    where: Predicate | None = None,
    insert: Mapping[str, int] | None = None,
    selection: Selection = "at_most_k",
) -> nn.Module:
    r"""Replace layers of a model by routed ones.

    The model is changed in place and returned; only if it is itself a layer, a new one is returned.
    The new layers hold the parameters of the old ones, so that an optimizer made before still
    trains them, except where ``insert`` widens a stage.

    **A routed head becomes sparse by weight decay alone**, as a weight that nothing reads has no other
    gradient: over a run it shrinks to about :math:`\exp(-\lambda \sum_t \eta_t / (1 - m))` of itself. The
    paper's CIFAR-10 recipe has 7.6 in that exponent, and at 0.1 nearly all weights stay: where a run is short,
    give the head a group of its own with more weight decay :math:`\lambda`.

    Args:
        model: any module with nn.Linear or 1x1 nn.Conv2d layers.
        k: units an output may listen to. An int routes the classification head, see `head_name`.
            A mapping names layers, each with its k.
        where: ``where(name, layer)`` says whether to route that nn.Linear or 1x1 nn.Conv2d, with an
            int k, instead of the head.
        insert: names of residual stages, each with its k. Before the stage goes a 1x1 DynamicConv2d
            without bias that brings its input to the width of its first block, whose convolutions
            of that input are widened to match and start anew. The supplement's Res18-d[32,32,5]a is
            ``route(resnet18(), k=5, insert={"layer3": 32, "layer4": 32})``.
        selection: as in `DynamicLinear`.

    Returns:
        The routed model.

    Raises:
        TypeError: a layer to be routed is no plain nn.Linear or nn.Conv2d.
        ValueError: a name matches nothing; a convolution is not 1x1; k exceeds the input units.

    >>> model = route(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), k=2)
    >>> model[2]
    DynamicLinear(in_features=6, out_features=3, bias=True, k=2, selection='at_most_k')
    """
    check_selection(selection)
    if isinstance(k, Mapping) and where is not None:
        raise ValueError("where needs one int k, got a mapping")
    wanted = dict(k) if isinstance(k, Mapping) else dict.fromkeys(_targets(model, where), k)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in [*wanted, *(insert or {})]:
        if name not in modules:
            raise ValueError(f"the model has no layer named {name!r}")
    # everything is checked before anything is changed
    routed = {name: _routed(name, modules[name], kept, selection) for name, kept in wanted.items()}
    for name in wanted:
        _check_parent(name, modules[name.rpartition(".")[0]] if name else None)
    entries = {
        name: _entry(name, modules[name], kept, selection) for name, kept in (insert or {}).items()
    }
    result = _replace(model, {modules[name]: layer for name, layer in routed.items()})
    for name, entry in entries.items():
        _widen(modules[name][0], entry.out_channels)
        _replace(model, {modules[name]: nn.Sequential(entry, *modules[name])})
    return result


def unroute(model: nn.Module) -> nn.Module:
    """Turn every routed layer back into the plain one of the same weights, in place.

    The plain layer sums all its inputs again: the outputs change, by what routing had left out.

    >>> unroute(route(nn.Sequential(nn.Linear(8, 3)), k=2))[0]
    Linear(in_features=8, out_features=3, bias=True)
    """
    plain: dict[nn.Module, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, (DynamicLinear, DynamicConv2d)):
            kind = nn.Linear if isinstance(module, DynamicLinear) else nn.Conv2d
            plain[module] = _recast(module, kind)
            del plain[module].k, plain[module].selection
    return _replace(model, plain)


def _targets(model: nn.Module, where: Predicate | None) -> list[str]:
    """Names of the layers that the predicate wants, or of the head."""
    if where is None:
        return [head_name(model)]
    names = [name for name, m in model.named_modules() if _is_plain(m) and where(name, m)]
    if not names:
        raise ValueError("where accepts none of the model's nn.Linear and 1x1 nn.Conv2d layers")
    return names


def _is_plain(module: nn.Module) -> bool:
    return type(module) in (nn.Linear, nn.Conv2d) and can_be_head(module)


def _routed(name: str, module: nn.Module, k: int, selection: Selection) -> nn.Module:
    """The routed layer with the parameters, hooks and mode of a plain one."""
    routed: DynamicLinear | DynamicConv2d
    if type(module) is nn.Linear:
        _check(name, k, module.in_features)
        routed = _recast(module, DynamicLinear)
    elif type(module) is nn.Conv2d:
        if not can_be_head(module):
            raise ValueError(
                f"{name!r} is no 1x1 convolution without groups and padding: {module}; "
                "insert= puts a routed 1x1 layer before a stage"
            )
        _check(name, k, module.in_channels)
        routed = _recast(module, DynamicConv2d)
    else:
        raise TypeError(
            f"{name!r} must be a plain nn.Linear or nn.Conv2d, got {type(module).__name__}: "
            "name another layer with k={name: k}, or replace this one"
        )
    routed.k, routed.selection = k, selection
    return routed


def _check(name: str, k: int, in_features: int) -> None:
    try:
        check_k(k, in_features)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name!r}: {error}") from None


def _check_parent(name: str, parent: nn.Module | None) -> None:
    """Raise where the parent reads the weights itself and would bypass the routed forward."""
    if isinstance(parent, (nn.TransformerEncoderLayer, nn.MultiheadAttention)):
        raise TypeError(
            f"{name!r} cannot be routed: its {type(parent).__name__} reads the weights directly"
        )


def _recast(module: nn.Module, kind: type[_Layer]) -> _Layer:
    """A module of another class around the same parameters, buffers and hooks."""
    recast = kind.__new__(kind)
    recast.__dict__ = dict(module.__dict__)
    return recast


def _replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put the new modules wherever the old ones are registered."""
    # a module may be registered under several names
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name and module in replacements:
            _put(model, name, replacements[module])
    return replacements.get(model, model)


def _entry(name: str, stage: nn.Module, k: int, selection: Selection) -> DynamicConv2d:
    """The routed 1x1 layer that goes before a stage."""
    convs = _entry_convs(stage[0]) if isinstance(stage, nn.Sequential) and len(stage) else {}
    conv = convs.get("conv1")
    if conv is None or any(c.groups != 1 for c in convs.values()):
        raise ValueError(
            "insert needs a stage of residual blocks, an nn.Sequential whose first block has an "
            f"ungrouped conv1; {name!r} is {type(stage).__name__}"
        )
    _check(name, k, conv.in_channels)
    device, dtype = conv.weight.device, conv.weight.dtype
    return DynamicConv2d(
        conv.in_channels,
        conv.out_channels,
        k,
        bias=False,
        device=device,
        dtype=dtype,
        selection=selection,
    )


def _entry_convs(block: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions of a residual block that read its input."""
    convs = {"conv1": getattr(block, "conv1", None)}
    downsample = getattr(block, "downsample", None)
    if isinstance(downsample, nn.Sequential):
        convs["downsample.0"] = downsample[0]
    return {name: conv for name, conv in convs.items() if type(conv) is nn.Conv2d}


def _widen(block: nn.Module, channels: int) -> None:
    """Rebuild the convolutions that read the block's input for that many channels."""
    for name, conv in _entry_convs(block).items():
        wide = nn.Conv2d(
            channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            bias=conv.bias is not None,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )
        _put(block, name, wide)


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """`set_submodule`, which torch 2.4 does not have."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
