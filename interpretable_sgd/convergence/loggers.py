"""Recorded values, sent to whatever logs curves."""

from collections.abc import Callable, Mapping
from typing import Any


def log_to(logger: Any, prefix: str = "convergence/") -> Callable[[int, Mapping[str, float]], None]:
    """A `Recorder` callback that writes all it reads to a logger.

    Args:
        logger: TensorBoard's `SummaryWriter`, or anything with `add_scalar(name, value, step)`;
            a wandb run, the `wandb` module, or anything with `log(values, step=step)`.
        prefix: of the names.

    Raises:
        TypeError: the logger has neither.

    >>> class Printer:
    ...     def log(self, values, step):
    ...         print(step, values)
    >>> log_to(Printer())(3, {"loss": 0.5})
    3 {'convergence/loss': 0.5}
    """
    if hasattr(logger, "add_scalar"):

        def each(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                logger.add_scalar(prefix + name, value, step)

        return each
    if hasattr(logger, "log"):

        def together(step: int, values: Mapping[str, float]) -> None:
            logger.log({prefix + name: value for name, value in values.items()}, step=step)

        return together
    raise TypeError(
        "logger must have add_scalar(name, value, step) or log(values, step=step), "
        f"got {type(logger).__name__}"
    )
