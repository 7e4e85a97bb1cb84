"""Finished runs of a rate check on disk: one file each, written whole or not at all."""

import functools
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from interpretable_sgd.convergence.recorder import Recorder

PLAIN = (int, float, str, bool, bytes, type(None))


class FinishedRun(NamedTuple):
    """What is kept of one run.

    Attributes:
        start: its name.
        horizon: T.
        seed: that it was trained with.
        average: of the measure, over its steps or those that count.
        first: the measure at the first of them, or None.
        tail: average of the measure over the last quarter of them, or None.
        loss: where they begin, or None.
        travel: sum of the effective step sizes, or None where a step has no one size.
    """

    start: str
    horizon: int
    seed: int
    average: float
    first: float | None = None
    tail: float | None = None
    loss: float | None = None
    travel: float | None = None


def finished(
    result: Recorder | float, start: str, horizon: int, seed: int, measure: str, since: float
) -> FinishedRun:
    """What is kept of what a training function returned.

    Args:
        result: the recorder of a run, or the average alone.
        start, horizon, seed: that it was called with.
        measure: name of the series.
        since: share of the run that is left out.

    Raises:
        TypeError: the result is neither.
        ValueError: the recorder did not count as many steps as the horizon.
    """
    if not isinstance(result, Recorder):
        try:
            return FinishedRun(start, horizon, seed, float(result))
        except (TypeError, ValueError) as error:
            kind = type(result).__name__
            message = f"train must return a Recorder or a number, got {kind}"
            raise TypeError(message) from error
    if result.steps != horizon:
        raise ValueError(f"train counted {result.steps} steps in a run of horizon {horizon}")
    begin = int(since * horizon)
    quarter = begin + (horizon - begin) * 3 // 4
    steps, values = result.series(measure)
    times, losses = result.series("loss")
    travel = result.travel
    return FinishedRun(
        start,
        horizon,
        seed,
        result.average(measure, begin),
        first=float(values[steps > begin][0]),
        tail=result.average(measure, quarter) if steps[-1] > quarter else None,
        loss=float(losses[times > begin][0]),
        travel=None if travel is None else travel * (1 - begin / horizon),
    )


class RunStore:
    """A folder of finished runs of one training function.

    Args:
        folder: made if it is not there; None keeps nothing.
        made_by: `fingerprint` of the training function, with what else decides the runs.

    Raises:
        ValueError: the folder holds runs of another training function.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, made_by: str) -> None:
        self._folder = None if folder is None else Path(folder)
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        stamp = self._folder / "made_by.json"
        if not stamp.exists():
            _write(stamp, made_by)
        elif json.loads(stamp.read_text()) != made_by:
            raise ValueError(
                f"folder {str(folder)!r} holds runs of another train function, or of this one with "
                "other code or constants: use another folder, or delete it"
            )

    def _path(self, start: str, horizon: int, seed: int) -> Path | None:
        name = hashlib.sha256(json.dumps([start, horizon, seed]).encode()).hexdigest()[:16]
        return None if self._folder is None else self._folder / f"{name}.json"

    def load(self, start: str, horizon: int, seed: int) -> FinishedRun | None:
        """A run that is finished, or None."""
        path = self._path(start, horizon, seed)
        if path is None or not path.exists():
            return None
        return FinishedRun(**json.loads(path.read_text()))

    def save(self, run: FinishedRun) -> None:
        """Keep a run."""
        path = self._path(run.start, run.horizon, run.seed)
        if path is not None:
            _write(path, run._asdict())


def _write(path: Path, content: Any) -> None:
    """A file that is there in full, or as it was before, whenever the program is stopped."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(draft, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def fingerprint(function: Callable[..., Any]) -> str:
    """A hash of a function's code and of the plain constants that it sees.

    It covers the source text, defaults, arguments of `functools.partial`, and numbers, texts and
    tuples of these that the function closes over or reads from its module. It does not cover data
    or other functions' code.

    >>> def scaled(by):
    ...     return lambda x: by * x
    >>> fingerprint(scaled(2)) == fingerprint(scaled(2)) != fingerprint(scaled(3))
    True
    """
    parts: list[str] = []
    while isinstance(function, functools.partial):
        parts.append(_constants(dict(enumerate(function.args)) | function.keywords))
        function = function.func
    code = getattr(function, "__code__", None)
    try:
        parts.append(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError):
        parts.append(code.co_code.hex() if code else type(function).__qualname__)
    if code is not None:
        parts.append(repr(code.co_consts) if "<" not in repr(code.co_consts) else "")
        seen = inspect.getclosurevars(function)
        parts.append(_constants({**seen.globals, **seen.nonlocals}))
        defaults = inspect.signature(function).parameters.items()
        parts.append(_constants({name: of.default for name, of in defaults}))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _constants(values: Mapping[Any, Any]) -> str:
    def plain(value: Any) -> bool:
        return isinstance(value, PLAIN) or (
            isinstance(value, tuple) and all(plain(item) for item in value)
        )

    return repr(sorted((str(name), repr(v)) for name, v in values.items() if plain(v)))
