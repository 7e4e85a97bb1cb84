"""Models named on the command line, by name or by a function, with weights from a file."""

import importlib
import sys
from collections.abc import Collection
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

# parts of names that compilation, sharding and checkpointed activations put into a model's own
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# where trainers keep a state dict beside other things, best first
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")


def load_model(spec: str, weights: str | Path | None = None) -> nn.Module:
    """A model with its weights, in evaluation mode.

    Args:
        spec: "torchvision:NAME", built for as many classes as the weights have; or
            "MODULE:CALLABLE", a function of no arguments that returns a module, found as Python
            finds modules, the working folder first.
        weights: a state dict, .safetensors or what torch.save wrote; None for the model as built.

    Raises:
        ValueError: there is no such model, it is no module, or the weights do not fit it.
        FileNotFoundError: there is no such file.
    """
    source, colon, name = spec.partition(":")
    if not (source and colon and name):
        raise ValueError(f"model must be torchvision:NAME or MODULE:CALLABLE, got {spec!r}")
    state = None if weights is None else read_state(Path(weights))
    if source == "torchvision":
        if state is None:
            raise ValueError("weights must be given for a torchvision model: none are downloaded")
        model = _of_torchvision(name, state)
    else:
        model = _of_callable(source, name)
    if state is not None:
        _fill(model, state)
    # a half-precision model could not read the images; a float32 one decides as it does, or closer
    return model.float().eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; nothing in the file can run code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no state dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file, and {path} is none")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: object = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise ValueError(f"weights {path} need a package to be read: {error}") from error
    except UnpicklingError as error:
        raise ValueError(
            f"weights {path} cannot be read: they hold objects beside tensors, which could run code; "
            "torch.save(model.state_dict(), ...) writes tensors alone"
        ) from error
    except Exception as error:  # damaged files raise nearly anything
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"weights {path} cannot be read: {why}") from error
    state = _state_in(found)
    if state is None:
        held = list(found)[:5] if isinstance(found, dict) else type(found).__name__
        raise ValueError(
            f"weights {path} must hold a state dict, names and tensors, they hold {held}"
        )
    for wrapper in WRAPPERS:
        state = {name.replace(wrapper, ""): value for name, value in state.items()}
    return state


def _state_in(found: object) -> dict[str, Tensor] | None:
    """The state dict in what a trainer saved: itself, or under a name, at any depth."""
    if not isinstance(found, dict):
        return None
    nested = {key: inner for key in found if (inner := _state_in(found[key])) is not None}
    for key in [*NESTED, *nested]:
        if nested.get(key):
            return nested[key]
    state = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    # counters and the like stand beside tensors; a dict of numbers alone is no state
    return state if state or not found else None


def _under_prefix(state: dict[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Entries without what wrappers put before a model's names: "module.", "model." and the like.

    Args:
        state: as saved; what lies outside the prefix belongs to something else.
        names: of the model's own state.

    Raises:
        ValueError: the state holds the model several times.

    >>> _under_prefix({"net.bias": torch.ones(1), "steps": torch.ones(1)}, ["bias"])
    {'bias': tensor([1.])}
    """
    if not names or all(name in state for name in names):
        return state
    ends = {key.removesuffix(name) for name in names for key in state if key.endswith(f".{name}")}
    fits = {prefix: sum(prefix + name in state for name in names) for prefix in ends}
    whole = sorted(prefix for prefix, count in fits.items() if count == len(names))
    if len(whole) > 1:
        raise ValueError(f"weights must hold the model once, they hold it under {whole}")
    if not fits or 2 * max(fits.values()) < len(names):
        return state
    prefix = whole[0] if whole else max(fits, key=lambda prefix: fits[prefix])
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}


def _of_torchvision(name: str, state: dict[str, Tensor]) -> nn.Module:
    """The model with as many classes as the weights have."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"model must be one of torchvision's classifiers, got {name!r}")
    model = models.get_model(name, weights=None)
    own = {key: value.shape for key, value in model.state_dict().items()}
    state = _under_prefix(state, own)
    other = {
        value.shape[0]
        for key, value in state.items()
        if value.dim() and value.shape != own.get(key) and value.shape[1:] == own.get(key, ())[1:]
    }
    return (
        models.get_model(name, weights=None, num_classes=other.pop()) if len(other) == 1 else model
    )


def _of_callable(source: str, name: str) -> nn.Module:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(source)
    except Exception as error:  # whatever the user's own module raises
        raise ValueError(
            f"model must name a module that can be imported: {type(error).__name__}: {error}"
        ) from error
    make = getattr(module, name, None)
    if not callable(make):
        raise ValueError(f"model must name a callable, and {source} has no callable {name!r}")
    try:
        model = make()
    except Exception as error:
        raise ValueError(
            f"{source}:{name} must return a module when called without arguments, it raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{source}:{name} must return a module, got {type(model).__name__}")
    return model


def _fill(model: nn.Module, state: dict[str, Tensor]) -> None:
    own = model.state_dict()
    state = _under_prefix(state, own)
    lacking = [key for key in own if key not in state]
    wrong = [f"no {key}" for key in lacking]
    wrong += [f"{key} that the model has not" for key in state if key not in own]
    wrong += [
        f"{key} of {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        held = f"; their first names are {', '.join(list(state)[:3])}" if lacking and state else ""
        raise ValueError(
            f"weights must fit the model, they hold {', '.join(wrong[:3])}{more}{held}"
        )
    model.load_state_dict(state)
