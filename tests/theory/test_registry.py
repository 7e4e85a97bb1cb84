import sys
from dataclasses import replace

import pytest

from theory.claim import Verdict
from theory.claims import certificates, decaying_steps, power, rate_test, routed_rates, shared
from theory.registry import MODULES, claims_of

# Runs of many seconds are tested in files of their own, by some of their claims.
SLOW = (rate_test, routed_rates, decaying_steps, power, certificates)
CLAIMS = [claim for module in MODULES if module not in SLOW for claim in claims_of(module)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_verdict_is_the_documented_one(claim):
    check = claim.function(True, 1)
    verdict = Verdict(claim, check)
    assert verdict.verdict == claim.expected, check.decisive()


@pytest.mark.parametrize("name", ["theorem-a", "ce1", "theorem-n", "lemma2-hidden", "eq8"])
def test_a_check_is_determined_by_its_seed(name):
    claim = next(claim for claim in CLAIMS if claim.name == name)
    first, second, other = (claim.function(True, seed) for seed in (3, 3, 4))
    assert first == second
    assert first.measured != other.measured


def test_names_are_unique_and_can_be_typed():
    names = [claim.name for claim in CLAIMS + claims_of(certificates)]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)


def test_without_pepit_its_claims_are_skipped_with_a_message(monkeypatch):
    monkeypatch.setitem(sys.modules, "PEPit", None)
    for claim in claims_of(certificates):
        check = claim.function(True, 0)
        assert check.outcome() == "SKIPPED"
        assert "pip install" in check.skipped


@pytest.mark.parametrize("claim", claims_of(certificates), ids=lambda claim: claim.name)
def test_pepit_certifies_the_constants(claim):
    pytest.importorskip("PEPit")
    assert Verdict(claim, claim.function(True, 0)).verdict == claim.expected


def numbers(name):
    claim = next(claim for claim in CLAIMS if claim.name == name)
    return claim.function(True, 0).numbers


def test_the_bias_of_ce1_is_the_exact_fraction():
    assert numbers("bias-at-rest")["CE1 s=0.0"] == pytest.approx(288 / 289, abs=1e-9)


def test_ce3_ends_with_every_sample_wrong():
    assert numbers("ce3-signed")["accuracy"] == 0
    assert numbers("ce3-relu")["accuracy"] == 0


def test_a_bound_that_is_ten_times_too_small_is_noticed():
    check = shared.theorem_a(True, 0)
    tightened = replace(check, bound=0.1, also=())
    assert tightened.outcome() == "FAILS"
