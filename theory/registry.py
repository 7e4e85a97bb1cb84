"""All claims, in the order of the table."""

from theory.claim import Claim
from theory.claims import (
    biased,
    certificates,
    convolution,
    counterexamples,
    divergence,
    hidden,
    lemma2,
    library,
    power,
    probabilities,
    proof,
    rate_test,
    rates_in_f,
    routing,
    shared,
    slopes,
    unbiased,
)

CLAIMS: list[Claim] = [
    *proof.CLAIMS,
    *counterexamples.CLAIMS,
    *divergence.CLAIMS,
    *shared.CLAIMS,
    *unbiased.CLAIMS,
    *biased.CLAIMS,
    *rates_in_f.CLAIMS,
    *slopes.CLAIMS,
    *lemma2.CLAIMS,
    *hidden.CLAIMS,
    *convolution.CLAIMS,
    *probabilities.CLAIMS,
    *routing.CLAIMS,
    *library.CLAIMS,
    *rate_test.CLAIMS,
    *power.CLAIMS,
    *certificates.CLAIMS,
]


def named(names: list[str]) -> list[Claim]:
    """The claims of these names, in the order of the table; all without names.

    Raises:
        KeyError: a name that no claim has.
    """
    known = {claim.name: claim for claim in CLAIMS}
    for name in names:
        if name not in known:
            raise KeyError(name)
    return [claim for claim in CLAIMS if not names or claim.name in names]
