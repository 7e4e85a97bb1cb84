"""The three phases of a routed layer, read off the learning-rate schedule that the user has anyway.

A layer *forms* under the base optimizer, is *routed* while its rows narrow, and is *settled* from then
on: its support is fixed. Phases never go back.

Under a schedule the clock is the rate over the largest rate so far: a warm-up is still forming, and no
length of a run is asked for. Where the rate is constant there is nothing to read, and steps are counted.
"""

import math
from typing import Literal, NamedTuple, get_args

Phase = Literal["form", "route", "settle"]
PHASES: tuple[Phase, ...] = get_args(Phase)

FORM_RATE, SETTLE_RATE = 0.8, 0.5
FORM_STEPS, SETTLE_STEPS = 500, 1000
# A schedule of few drops passes both rates at once: routing then lasts this share of forming after all.
LEAST_ROUTING = 2 / 3


class Clock(NamedTuple):
    """When a layer is routed, and when it settles.

    Args:
        form: forming lasts for so many steps (an int), or until the rate has fallen to this share of
            the largest so far (a float).
        settle: the same for routing.
    """

    form: float
    settle: float

    def has_formed(self, steps: int, rate: float, peak: float) -> bool:
        """Whether the next step is routed.

        Args:
            steps: taken so far.
            rate: learning rate of the next step.
            peak: the largest so far.

        >>> Clock(form=0.8, settle=0.5).has_formed(steps=9, rate=0.08, peak=0.1)
        True
        """
        if _counts(self.form):
            return steps >= self.form
        return peak > 0 and rate <= self.form * peak

    def progress(self, steps: int, rate: float, peak: float, formed: int) -> float:
        """Position in the phase of routing, from 0 at its beginning to 1 where the layer settles.

        Args:
            steps, rate, peak: see `has_formed`.
            formed: steps that forming took.

        >>> Clock(form=100, settle=200).progress(steps=150, rate=0.1, peak=0.1, formed=100)
        0.5
        """
        if _counts(self.settle):
            return _ratio(steps - formed, self.settle - formed)
        high = 1.0 if _counts(self.form) else self.form
        share = rate / peak if peak > 0 else 1.0
        fallen = _ratio(high - share, high - self.settle)
        return min(fallen, _ratio(steps - formed, LEAST_ROUTING * formed))

    def __str__(self) -> str:
        if self.settle == math.inf:
            return "never settles by itself"
        if _counts(self.settle):
            return f"settles at step {self.settle:.0f}"
        return f"settles when the rate has fallen to {self.settle:g} of its largest"


def clock(form: float | None, settle: float | None, scheduled: bool) -> Clock:
    """The clock of a layer's options; None is by the rate under a schedule, else by steps.

    >>> clock(None, None, scheduled=False)
    Clock(form=500, settle=1000)
    """
    if form is None:
        form = FORM_RATE if scheduled else FORM_STEPS
    if settle is None:
        settle = SETTLE_RATE if scheduled else max(SETTLE_STEPS, 2 * form)
    return Clock(form, settle)


def _counts(limit: float) -> bool:
    """Whether a limit is a number of steps rather than a share of the rate."""
    return isinstance(limit, int) or limit == math.inf


def _ratio(part: float, whole: float) -> float:
    """part / whole within [0, 1]; 1 where there is no way to go."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 1.0
