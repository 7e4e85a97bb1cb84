"""Names of classes, units and inputs, as users give them: sequences, or mappings in either direction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from interpretable_sgd.analysis.batches import Inputs, tensors

Names = Sequence[str] | Mapping[Any, Any]
InputNames = Names | Callable[[Any], str]
SHOWN = 8  # features of a row, largest first
TOKENS = 60  # of a text


def checked_names(argument: str, names: Names, count: int | None = None) -> tuple[str, ...]:
    """Names in the order of their numbers.

    Args:
        argument: what they are called, for messages.
        names: a sequence; or a mapping from numbers to names, as `id2label`, or from names to
            numbers, as `class_to_idx`.
        count: how many there must be; None for any.

    Raises:
        TypeError: one string instead of a sequence of them, or nothing of the kind.
        ValueError: there are more or fewer, or a mapping's numbers are not 0, 1, ...

    >>> checked_names("class_names", {"dog": 1, "cat": 0}, 2)
    ('cat', 'dog')
    >>> checked_names("class_names", {"0": "cat", "1": "dog"}, 2)
    ('cat', 'dog')
    """
    if isinstance(names, Mapping):
        by_number = _by_number(argument, names)
        missing = [k for k in range(count or len(by_number)) if k not in by_number]
        if missing and len(by_number) == (count or len(by_number)):
            raise ValueError(f"{argument} must number its names 0, 1, ..., {missing[0]} is missing")
        found = tuple(by_number[k] for k in sorted(by_number))
    elif isinstance(names, (str, bytes)):
        raise TypeError(f"{argument} must be a sequence of names, got the string {names!r}")
    elif isinstance(names, Sequence) or hasattr(names, "__iter__"):
        found = tuple(map(str, names))
    else:
        raise TypeError(f"{argument} must be a sequence of names, got {type(names).__name__}")
    if count is not None and len(found) != count:
        raise ValueError(f"{argument} must be {count} names, got {len(found)}")
    return found


def _by_number(argument: str, names: Mapping[Any, Any]) -> dict[int, str]:
    for pairs in (names.items(), ((value, key) for key, value in names.items())):
        found = [(number, str(name)) for number, name in pairs]
        if all(_is_number(number) for number, _ in found):
            return {int(number): name for number, name in found}
    raise TypeError(f"{argument} must map numbers to names or names to numbers, got {names!r:.80}")


def _is_number(value: Any) -> bool:
    digits = isinstance(value, str) and value.isdecimal()
    return digits or (isinstance(value, int) and not isinstance(value, bool))


def class_titles(names: Names | None, outputs: int) -> tuple[str, ...]:
    """Names of all classes; of a head of one output also the name of class 1 alone.

    >>> class_titles(["pneumonia"], 1), class_titles(None, 3)
    (('not pneumonia', 'pneumonia'), ('0', '1', '2'))
    """
    count = max(2, outputs)
    if names is None:
        return tuple(map(str, range(count)))
    if outputs == 1 and not isinstance(names, (str, bytes)) and len(names) == 1:
        (name,) = checked_names("class_names", names)
        return f"not {name}", name
    return checked_names("class_names", names, count)


def unit_titles(
    names: Names | None, input_names: InputNames | None, units: Tensor, inputs: Inputs
) -> tuple[str, ...] | None:
    """Names of the head's units: the ones given, or those of the inputs where units are the inputs.

    Args:
        names: of the units, or None.
        input_names: of the inputs, or None.
        units: that the head reads, (n, M).
        inputs: of the same images.
    """
    if names is not None:
        return checked_names("unit_names", names, units.shape[1])
    if input_names is None or callable(input_names):
        return None
    first = next(tensors(inputs))
    same = first.is_floating_point() and first.shape == units.shape
    if not (same and torch.equal(first.to(units), units)):
        return None
    return checked_names("input_names", input_names, units.shape[1])


def in_words(image: Inputs, names: InputNames | None) -> str | None:
    """One input in words: a row by its largest features, a text by its tokens.

    Args:
        image: input of one image, without its first dimension.
        names: of features or of tokens; or a function from the first tensor of the input to text.

    >>> in_words(torch.tensor([0.0, 2.0]), ["age", "height"])
    'height 2'
    >>> in_words(torch.tensor([1, 0]), ["world", "hello"])
    'hello world'
    """
    first = next(tensors(image), None)
    if names is None or first is None:
        return None
    if callable(names):
        return str(names(first))
    if first.dim() != 1:
        return None
    if first.is_floating_point():
        titles = checked_names("input_names", names, len(first))
        largest = first.abs().topk(min(SHOWN, len(first))).indices.tolist()
        return ", ".join(f"{titles[k]} {float(first[k]):.3g}" for k in largest if first[k])
    known = _by_number("input_names", names) if isinstance(names, Mapping) else names
    said = []
    for token in first.tolist()[:TOKENS]:
        try:
            said.append(str(known[token]))
        except (KeyError, IndexError):
            said.append(f"[{token}]")
    return " ".join(said) + (" ..." if len(first) > TOKENS else "")
