"""Edits of a head: what each does to its weights, and how they are written down.

Index legend: `m` unit (input of the head), `c` class, `o` output of the head.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

Change = Literal["disable", "scale", "move"]
KEY = "edits"  # of a checkpoint's metadata


@dataclass(frozen=True)
class Edit:
    r"""A change of what one class, or every class, reads of a unit.

    - ``"scale"``: :math:`W_{cm} \gets f W_{cm}, \; b_c \gets b_c + (1 - f) W_{cm} v`, so that what is
      taken away is held at the value v.
    - ``"disable"``: the same with f = 0.
    - ``"move"``: :math:`W_{cm'} \gets W_{cm'} + W_{cm}, \; W_{cm} \gets 0`.

    Attributes:
        change: which.
        unit: m, counted from 0.
        in_class: c; None for all classes. A head of one output has one row for both of its classes.
        factor: f.
        held: v.
        to: m', of a move.
    """

    change: Change
    unit: int
    in_class: int | None = None
    factor: float = 0.0
    held: float = 0.0
    to: int | None = None

    def __str__(self) -> str:
        return self.text()

    def text(self, unit: str | None = None, to: str | None = None, name: str | None = None) -> str:
        """In words, with names of the units and of the class; their numbers where there are none.

        >>> Edit("scale", 3, in_class=1, factor=0.5).text(name="cat")
        'scale unit 3 by 0.5 in cat'
        """
        said = f"{self.change} {unit or f'unit {self.unit}'}"
        if self.change == "scale":
            said += f" by {self.factor:g}"
        if self.to is not None:
            said += f" to {to or f'unit {self.to}'}"
        if self.held:
            said += f", held at {self.held:.3g},"
        return f"{said} in {'all classes' if self.in_class is None else name or f'class {self.in_class}'}"


def edited(weight: Tensor, bias: Tensor, edits: Iterable[Edit]) -> tuple[Tensor, Tensor]:
    """W and b after some edits, one after another.

    Args:
        weight: of the layer, (O, M).
        bias: of the layer, (O,).
        edits: in their order.

    Returns:
        New tensors, (O, M) and (O,).

    >>> import torch
    >>> edit = Edit("move", 0, in_class=0, to=1)
    >>> edited(torch.tensor([[2.0, 1.0], [4.0, 3.0]]), torch.zeros(2), [edit])[0]
    tensor([[0., 3.],
            [4., 3.]])
    """
    weight, bias = weight.clone(), bias.clone()
    for edit in edits:
        own = slice(None) if edit.in_class is None or len(weight) == 1 else edit.in_class
        before = weight[own, edit.unit].clone()
        weight[own, edit.unit] = 0 if edit.change == "move" else edit.factor * before
        if edit.to is not None:
            weight[own, edit.to] += before
        elif edit.held:
            bias[own] += (1 - edit.factor) * edit.held * before
    return weight, bias


def to_json(edits: Iterable[Edit]) -> str:
    """A log of edits, as a checkpoint's metadata hold it."""
    return json.dumps([asdict(edit) for edit in edits])


def edits_of(path: str | Path) -> tuple[Edit, ...]:
    """The edits that a checkpoint's weights have been through, from its metadata.

    Args:
        path: of a .safetensors file, as `Editor.save` writes it; of any other file there are none.

    Raises:
        ValueError: the file cannot be read, or its log is none.
    """
    if Path(path).suffix != ".safetensors":
        return ()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get(KEY, "[]")
        return tuple(Edit(**entry) for entry in json.loads(found))
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"path must be of weights with a log of edits, {path}: {error}") from error
