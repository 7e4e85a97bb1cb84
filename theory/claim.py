"""Claims, what checking one gives, and the verdict that the two make.

A claim is one function of (quick, seed) that returns a `Check`: a measured value, the bound that
the claim sets on it, and the relation between them. The verdict follows from these alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

HOLDS, HOLDS_UNDER = "HOLDS", "HOLDS UNDER"
FAILS, INCONCLUSIVE, SKIPPED = "FAILS", "INCONCLUSIVE", "SKIPPED"
VERDICTS = (HOLDS, HOLDS_UNDER, FAILS, INCONCLUSIVE, SKIPPED)
RELATIONS = ("<=", ">=", "=")
ERRORS = 3.0
"""Standard errors that random measurements keep from their bounds, on either side."""


@dataclass(frozen=True)
class Check:
    """A measured value against the bound of a claim.

    Attributes:
        measured: what was measured.
        bound: what the claim says of it.
        relation: "<=" (upper bounds), ">=" or "=" (tight claims).
        tolerance: >= 0, absolute, of rounding for exact statements; with "=", how close is equal.
        error: >= 0, standard error of `measured`; 0 for what is not random.
        n: size of what was measured: samples, coordinates, steps; the note says which.
        seeds: independent repetitions; 1 for what is not random.
        note: a sentence with the numbers that matter, for the table.
        numbers: further measured numbers, for theory.json and the documentation.
        also: more comparisons; the claim holds if all of them do, fails if one of them does.
        unclear: why nothing can be concluded, if so.
        skipped: why nothing was measured, if so: an optional dependency that is absent.

    >>> Check(measured=0.9, bound=1.0, error=0.01).outcome()
    'HOLDS'
    >>> Check(measured=0.9, bound=1.0, error=0.1).outcome()
    'INCONCLUSIVE'
    """

    measured: float
    bound: float
    relation: str = "<="
    tolerance: float = 0.0
    error: float = 0.0
    n: int = 1
    seeds: int = 1
    note: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    also: tuple["Check", ...] = ()
    unclear: str = ""
    skipped: str = ""

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"relation must be one of {RELATIONS}, got {self.relation!r}")

    def outcome(self) -> str:
        """HOLDS, FAILS, INCONCLUSIVE or SKIPPED: of this comparison and those in `also`."""
        if self.skipped:
            return SKIPPED
        if self.unclear:
            return INCONCLUSIVE
        outcomes = [_compare(self), *(part.outcome() for part in self.also)]
        for decisive in (FAILS, INCONCLUSIVE, SKIPPED):
            if decisive in outcomes:
                return decisive
        return HOLDS

    def decisive(self) -> "Check":
        """The comparison that the table shows: the first that does not hold, else this one."""
        if self.skipped or self.unclear or _compare(self) != HOLDS:
            return self
        outcome = self.outcome()
        for part in self.also:
            if part.outcome() == outcome != HOLDS:
                return replace(part.decisive(), note=part.note or self.note)
        return self


def _compare(check: Check) -> str:
    """One comparison: it holds or fails by more than `ERRORS` standard errors, or is unclear."""
    if not math.isfinite(check.measured):
        diverged = math.isinf(check.measured) and check.relation != "="
        below = check.measured < 0
        return HOLDS if diverged and below == (check.relation == "<=") else FAILS
    slack = check.tolerance + 1e-12 * abs(check.bound)
    excess = check.measured - check.bound
    if check.relation == "=":
        return HOLDS if abs(excess) <= slack + ERRORS * check.error else FAILS
    excess = excess if check.relation == "<=" else -excess
    if excess + ERRORS * check.error <= slack:
        return HOLDS
    return FAILS if excess - ERRORS * check.error > slack else INCONCLUSIVE


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, or one of ours that takes its place.

    Attributes:
        name: for the command line; lower case, words joined by hyphens.
        source: where it is said: "eq. (6)", "Theorem 1", "Lemma 2", "Theorem A" of docs/theory.
        statement: the claim in one sentence.
        expected: the verdict that the documentation claims.
        function: (quick, seed) -> Check; the seed makes it reproducible.
        condition: under which it holds; the verdict is then HOLDS UNDER, not HOLDS.
    """

    name: str
    source: str
    statement: str
    expected: str
    function: Callable[[bool, int], Check]
    condition: str = ""

    def __post_init__(self) -> None:
        if self.expected not in VERDICTS:
            raise ValueError(f"expected must be one of {VERDICTS}, got {self.expected!r}")
        if (self.expected == HOLDS_UNDER) != bool(self.condition):
            raise ValueError(f"{self.name}: a condition goes with the verdict {HOLDS_UNDER}")

    def __call__(self, quick: bool, seed: int) -> Check:
        """Check it."""
        return self.function(quick, seed)


def claim(
    name: str, source: str, statement: str, expected: str = HOLDS, *, condition: str = ""
) -> Callable[[Callable[[bool, int], Check]], Claim]:
    """Make a function of (quick, seed) the claim that it checks; see `Claim`.

    Args:
        condition: under which it holds, which is then what is expected.
    """

    def decorate(function: Callable[[bool, int], Check]) -> Claim:
        verdict = HOLDS_UNDER if condition else expected
        return Claim(name, source, statement, verdict, function, condition)

    return decorate


@dataclass(frozen=True)
class Verdict:
    """A claim that has been checked.

    Attributes:
        claim: what was checked.
        check: what it gave.
        seconds: of CPU time that it took.
    """

    claim: Claim
    check: Check
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        outcome = self.check.outcome()
        return HOLDS_UNDER if outcome == HOLDS and self.claim.condition else outcome

    @property
    def as_documented(self) -> bool:
        """Whether the verdict is the expected one; what was skipped contradicts nothing."""
        return self.verdict in (self.claim.expected, SKIPPED)
