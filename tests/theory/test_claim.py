import math

import pytest

from theory.claim import Check, Claim, Verdict


def claim(expected="HOLDS", condition=""):
    return Claim(
        "name", "eq. (0)", "statement", expected, lambda quick, seed: Check(0, 0), condition
    )


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        (Check(1.0, 1.0), "HOLDS"),
        (Check(1.1, 1.0), "FAILS"),
        (Check(1.1, 1.0, tolerance=0.2), "HOLDS"),
        (Check(0.9, 1.0, ">="), "FAILS"),
        (Check(1.1, 1.0, ">="), "HOLDS"),
        (Check(0.9, 1.0, "=", tolerance=0.05), "FAILS"),
        (Check(0.9, 1.0, "=", tolerance=0.1), "HOLDS"),
        (Check(0.9, 1.0, error=0.04), "INCONCLUSIVE"),
        (Check(0.9, 1.0, error=0.03), "HOLDS"),
        (Check(1.1, 1.0, error=0.04), "INCONCLUSIVE"),
        (Check(1.1, 1.0, error=0.03), "FAILS"),
        (Check(1.1, 1.0, "=", error=0.03), "FAILS"),
        (Check(1.1, 1.0, "=", error=0.04), "HOLDS"),
        (Check(math.nan, 1.0), "FAILS"),
        (Check(math.inf, 1.0), "FAILS"),
        (Check(math.inf, 1.0, ">="), "HOLDS"),
        (Check(0.0, 1.0, unclear="no data"), "INCONCLUSIVE"),
        (Check(0.0, 1.0, skipped="absent"), "SKIPPED"),
    ],
)
def test_a_comparison_needs_three_standard_errors(check, outcome):
    assert check.outcome() == outcome


def test_a_claim_fails_with_its_worst_part_and_the_table_shows_that_part():
    parts = (Check(0.0, 1.0), Check(3.0, 1.0, note="the part"))
    check = Check(0.5, 1.0, note="whole", also=parts)
    assert check.outcome() == "FAILS"
    assert (check.decisive().measured, check.decisive().note) == (3.0, "the part")


def test_a_claim_that_holds_shows_its_first_part():
    check = Check(0.5, 1.0, also=(Check(0.9, 1.0),))
    assert check.decisive() is check


def test_a_failing_part_outweighs_an_unclear_one():
    check = Check(0.5, 1.0, also=(Check(0.0, 1.0, unclear="?"), Check(2.0, 1.0)))
    assert check.outcome() == "FAILS"


def test_a_condition_turns_holds_into_holds_under():
    verdict = Verdict(claim("HOLDS UNDER", "eta <= 1 / L"), Check(0.0, 1.0))
    assert verdict.verdict == "HOLDS UNDER"
    assert verdict.as_documented


def test_another_verdict_is_not_as_documented_but_a_skipped_one_contradicts_nothing():
    assert not Verdict(claim("FAILS"), Check(0.0, 1.0)).as_documented
    assert Verdict(claim("FAILS"), Check(0.0, 1.0, skipped="absent")).as_documented


def test_a_relation_is_one_of_three():
    with pytest.raises(ValueError, match=r"relation must be one of .* got '<'"):
        Check(0.0, 1.0, "<")


def test_an_expected_verdict_is_one_of_five():
    with pytest.raises(ValueError, match=r"expected must be one of .* got 'TRUE'"):
        claim("TRUE")


@pytest.mark.parametrize(("expected", "condition"), [("HOLDS", "if"), ("HOLDS UNDER", "")])
def test_a_condition_goes_with_one_verdict(expected, condition):
    with pytest.raises(ValueError, match="a condition goes with the verdict HOLDS UNDER"):
        claim(expected, condition)
