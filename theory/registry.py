"""All claims, in the order of the table."""

from types import ModuleType

from theory.claim import Claim
from theory.claims import (
    biased,
    certificates,
    convolution,
    counterexamples,
    decaying_steps,
    divergence,
    dynamic_k,
    hidden,
    lemma2,
    library,
    power,
    probabilities,
    proof,
    rate_test,
    rates_in_f,
    routed,
    routed_rates,
    settled,
    shared,
    slopes,
    unbiased,
)

MODULES: tuple[ModuleType, ...] = (
    proof,
    counterexamples,
    divergence,
    shared,
    unbiased,
    biased,
    settled,
    routed,
    rates_in_f,
    slopes,
    lemma2,
    hidden,
    convolution,
    probabilities,
    dynamic_k,
    library,
    rate_test,
    routed_rates,
    decaying_steps,
    power,
    certificates,
)


def claims_of(module: ModuleType) -> list[Claim]:
    """A module's claims: those it defines, in their order, and the families in its `CLAIMS`."""
    own = [value for value in vars(module).values() if isinstance(value, Claim)]
    return own + list(getattr(module, "CLAIMS", ()))


CLAIMS = [claim for module in MODULES for claim in claims_of(module)]


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
