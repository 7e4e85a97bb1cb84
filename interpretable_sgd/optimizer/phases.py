"""The four phases of a routed layer, read off the learning-rate schedule that the user has anyway.

A layer is *braked*: each sample teaches the K connections responsible for its score, and nothing is
emptied, so that the large first steps of a wide head do not collapse its features. Then it *forms*: plain
steps of the base optimizer, in which units become concepts. Then it is *routed* again, per sample, while
idle connections fade. From the cut on it is *settled*: its support is fixed. Phases never go back.

Under a schedule the clock is the rate over the largest rate so far: a warm-up is still the brake's, and no
length of a run is asked for. Where the rate is constant there is nothing to read, and steps are counted.
"""

import math
from typing import Literal, NamedTuple, get_args

Phase = Literal["brake", "form", "route", "settle"]
PHASES: tuple[Phase, ...] = get_args(Phase)

BRAKE_RATE, FORM_RATE, SETTLE_RATE = 0.8, 0.5, 0.25
BRAKE_STEPS, FORM_STEPS, SETTLE_STEPS = 250, 500, 750
# A schedule of few drops passes several rates at once. Phases then last these shares of the steps before
# them after all: little enough that a layer settles whose only drop comes at 85 % of the run.
LEAST_FORMING, LEAST_ROUTING = 1 / 10, 1 / 20


class Clock(NamedTuple):
    """When each phase but the last ends.

    Args:
        brake, form, settle: the phases of brake, forming and routing last for so many steps of the run (an
            int), or until the rate has fallen to this share of the largest so far (a float).
    """

    brake: float
    form: float
    settle: float

    def has_braked(self, steps: int, rate: float, peak: float) -> bool:
        """Whether the next step forms.

        Args:
            steps: taken so far.
            rate: learning rate of the next step.
            peak: the largest so far.

        >>> Clock(0.8, 0.5, 0.25).has_braked(steps=9, rate=0.08, peak=0.1)
        True
        """
        return _has_passed(self.brake, steps, rate, peak)

    def has_formed(self, steps: int, rate: float, peak: float, braked: int) -> bool:
        """Whether the next step is routed.

        Args:
            steps, rate, peak: see `has_braked`.
            braked: steps that the brake took.
        """
        if not _has_passed(self.form, steps, rate, peak):
            return False
        return _counts(self.form) or steps - braked >= LEAST_FORMING * braked

    def progress(self, steps: int, rate: float, peak: float, formed: int) -> float:
        """Position in the phase of routing, from 0 at its beginning to 1 where the layer settles.

        Args:
            steps, rate, peak: see `has_braked`.
            formed: steps that brake and forming took.

        >>> Clock(brake=0, form=100, settle=200).progress(steps=150, rate=0.1, peak=0.1, formed=100)
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


def clock(brake: float | None, form: float | None, settle: float | None, scheduled: bool) -> Clock:
    """The clock of a layer's options; None is by the rate under a schedule, else by steps.

    >>> clock(None, None, None, scheduled=False)
    Clock(brake=250, form=500, settle=750)
    """
    if form is None:
        form = FORM_RATE if scheduled else FORM_STEPS
    if brake is None:
        brake = min(BRAKE_STEPS, form // 2) if _counts(form) else BRAKE_RATE
    if settle is None:
        settle = SETTLE_RATE if scheduled else max(SETTLE_STEPS, form + form // 2)
    return Clock(brake, form, settle)


def _has_passed(limit: float, steps: int, rate: float, peak: float) -> bool:
    if _counts(limit):
        return steps >= limit
    return peak > 0 and rate <= limit * peak


def _counts(limit: float) -> bool:
    """Whether a limit is a number of steps rather than a share of the rate."""
    return isinstance(limit, int) or limit == math.inf


def _ratio(part: float, whole: float) -> float:
    """part / whole within [0, 1]; 1 where there is no way to go."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 1.0
