"""A model from the command line: by name or by a function, with weights from a file."""

import importlib
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

PREFIXES = ("module.", "_orig_mod.")  # of data parallel and of compiled models
NESTED = ("state_dict", "model", "model_state_dict")


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
    return model.eval()


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
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"weights {path} cannot be read: {error}") from error
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"weights {path} must hold a state dict, names and tensors")
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _of_torchvision(name: str, state: dict[str, Tensor]) -> nn.Module:
    """The model with as many classes as the weights have."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"model must be one of torchvision's classifiers, got {name!r}")
    model = models.get_model(name, weights=None)
    own = {key: value.shape for key, value in model.state_dict().items()}
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
    except ModuleNotFoundError as error:
        if error.name is None or not f"{source}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"model must name a module that can be imported: {error}") from None
    make = getattr(module, name, None)
    if not callable(make):
        raise ValueError(f"model must name a callable, and {source} has no callable {name!r}")
    model = make()
    if not isinstance(model, nn.Module):
        raise ValueError(f"{source}:{name} must return a module, got {type(model).__name__}")
    return model


def _fill(model: nn.Module, state: dict[str, Tensor]) -> None:
    own = model.state_dict()
    wrong = [f"no {key}" for key in own if key not in state]
    wrong += [f"{key} that the model has not" for key in state if key not in own]
    wrong += [
        f"{key} of {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"weights must fit the model, they hold {', '.join(wrong[:3])}{more}")
    model.load_state_dict(state)
