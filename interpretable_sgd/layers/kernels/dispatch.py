"""Which implementation runs: by device and dtype, or as INTERPRETABLE_SGD_KERNELS says.

``INTERPRETABLE_SGD_KERNELS`` is ``auto`` (the default), ``reference``, ``numba`` or ``triton``. A
named implementation that cannot run raises; ``auto`` falls back to the reference and logs why,
once. Nothing is imported, let alone compiled, before the first call that needs it.
"""

import functools
import importlib
import importlib.util
import logging
import os
from typing import Protocol, cast

import torch
from torch import Tensor

VARIABLE = "INTERPRETABLE_SGD_KERNELS"
CHOICES = ("auto", "reference", "numba", "triton")

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_DTYPES = {"numba": _FLOATS, "triton": (torch.float32, torch.float16, torch.bfloat16)}
_DEVICES = {"numba": "cpu", "triton": "cuda"}
_MODULES = {"numba": "numba_cpu", "triton": "triton_cuda", "reference": "reference"}


class Kernels(Protocol):
    """What every implementation offers; `reference` says what each function computes."""

    def forward(self, x: Tensor, weight: Tensor, k: int, at_most: bool) -> tuple[Tensor, Tensor]:
        """Routed sums and kept units."""

    def routed_sum(self, x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
        """Sums over given units."""

    def input_grad(self, grad_y: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
        """Gradient of the inputs."""

    def weight_grad(self, grad_y: Tensor, x: Tensor, kept: Tensor) -> Tensor:
        """Gradient of the weights."""


def implementation(device: str, dtype: torch.dtype) -> Kernels:
    """The module whose functions compute on this device and dtype.

    Args:
        device: ``tensor.device.type``.
        dtype: of inputs and weights.

    Raises:
        ValueError: the variable names no implementation, or one for another device or dtype.
        ModuleNotFoundError: the variable names one that is not installed.
    """
    chosen = os.environ.get(VARIABLE, "auto")
    if chosen not in CHOICES:
        raise ValueError(f"{VARIABLE} must be one of {CHOICES}, got {chosen!r}")
    if chosen == "auto":
        chosen = _best(device, dtype)
    elif chosen != "reference" and (device != _DEVICES[chosen] or dtype not in _DTYPES[chosen]):
        raise ValueError(f"{VARIABLE}={chosen} does not compute in {dtype} on {device}")
    module = importlib.import_module(f"interpretable_sgd.layers.kernels.{_MODULES[chosen]}")
    return cast(Kernels, module)


def _best(device: str, dtype: torch.dtype) -> str:
    for name, home in _DEVICES.items():
        if home == device and dtype in _DTYPES[name] and _installed(name):
            return name
    return "reference"


@functools.cache
def _installed(package: str) -> bool:
    if importlib.util.find_spec(package) is not None:
        return True
    logging.getLogger(__name__).warning(
        "%s is not installed: routed layers run on plain torch, many times slower; "
        'pip install "interpretable-sgd[kernels]"',
        package,
    )
    return False
