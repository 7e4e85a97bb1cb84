"""Prediction sets against a literal loop, and their promise against binomial bounds."""

import pytest
import torch

from interpretable_sgd.analysis.conformal import SetRule, calibrated, set_scores, uniform

KINDS = [
    pytest.param({"penalty": penalty, "free": 2}, noisy, id=f"{name}, {kind}")
    for penalty, name in ((0.0, "APS"), (0.05, "RAPS"))
    for noisy, kind in ((True, "randomised"), (False, "deterministic"))
]


def drawn(images, seed, classes=6, digits=None):
    """Probabilities that overstate, and classes drawn from milder ones; rounded, they tie."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    probabilities = (2 * logits).softmax(1)
    if digits is not None:
        probabilities = probabilities.round(decimals=digits)
    return probabilities, labels, torch.rand(images, generator=generator, dtype=torch.float64)


def held_shares(options, noisy, coverage, trials=400, calibration=99, tested=50, digits=None):
    """Share of held classes in each of some independent trials."""
    shares = []
    for trial in range(trials):
        p, labels, u = drawn(calibration + tested, trial, digits=digits)
        noise = u if noisy else None
        of = [
            None if noise is None else noise[:calibration],
            None if noise is None else u[-tested:],
        ]
        rule = calibrated(p[:calibration], labels[:calibration], coverage, of[0], **options)
        sets = rule.sets(p[-tested:], of[1])
        shares.append(sets.gather(1, labels[-tested:, None]).double().mean())
    return torch.stack(shares)


@pytest.mark.parametrize(("options", "noisy"), KINDS)
@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_the_true_class_is_held_as_often_as_promised(options, noisy, coverage):
    """400 trials of 99 and 50 images: ceil(100 x coverage) / 100 is exact, four standard errors 1.0 points."""
    shares = held_shares(options, noisy, coverage)
    error = float(shares.std()) / len(shares) ** 0.5
    assert error < 0.003
    assert float(shares.mean()) == pytest.approx(coverage, abs=4 * error)


@pytest.mark.parametrize(("options", "noisy"), KINDS)
def test_ties_never_hold_it_less_often(options, noisy):
    """Probabilities of one digit; the same 400 trials."""
    shares = held_shares(options, noisy, 0.9, digits=1)
    assert float(shares.mean()) > 0.9 - 4 * float(shares.std()) / len(shares) ** 0.5


@pytest.mark.parametrize(("options", "noisy"), KINDS)
@pytest.mark.parametrize("digits", [None, 1])
def test_scores_are_those_of_a_literal_loop(options, noisy, digits):
    p, _, u = drawn(40, 0, digits=digits)
    found = set_scores(p, u if noisy else None, **options)
    for n, row in enumerate(p.tolist()):
        for c, own in enumerate(row):
            above = sum(other for other in row if other > own)
            alike = sum(other for other in row if other == own)
            rank = sum(other >= own for other in row)
            expected = above + (float(u[n]) if noisy else 1) * alike
            expected += options["penalty"] * max(0, rank - options["free"])
            assert float(found[n, c]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("options", "noisy"), KINDS)
@pytest.mark.parametrize("digits", [None, 1])
def test_the_order_of_the_classes_does_not_matter(options, noisy, digits):
    p, labels, u = drawn(200, 1, digits=digits)
    noise, order = u if noisy else None, torch.randperm(6, generator=torch.manual_seed(0))
    # class c stands at the position that `order` has it
    moved = order.argsort()[labels]
    first, second = (
        calibrated(probabilities, classes, 0.9, noise, **options)
        for probabilities, classes in ((p, labels), (p[:, order], moved))
    )
    assert first.threshold == second.threshold
    assert torch.equal(first.sets(p, noise)[:, order], second.sets(p[:, order], noise))


@pytest.mark.parametrize(("options", "noisy"), KINDS)
def test_sets_grow_from_the_most_likely_class_on(options, noisy):
    p, labels, u = drawn(300, 2)
    noise = u if noisy else None
    low, high = (calibrated(p, labels, level, noise, **options) for level in (0.9, 0.95))
    assert low.threshold <= high.threshold
    small, large = low.sets(p, noise), high.sets(p, noise)
    assert not (small & ~large).any()
    ranked = small.gather(1, p.argsort(1, descending=True))
    assert torch.equal(ranked, ranked.cummin(1).values)


def test_a_penalty_makes_large_sets_smaller():
    p, labels, u = drawn(3000, 3, classes=40)
    sizes = [
        calibrated(p, labels, 0.9, u, penalty=penalty, free=10).sets(p, u).sum(1)
        for penalty in (0.0, 0.2)
    ]
    assert sizes[1].max() < sizes[0].max()
    assert [calibrated(p, labels, penalty=x).name for x in (0.0, 0.2)] == ["APS", "RAPS"]


def test_fixed_noise_is_uniform():
    """10,000 numbers in 10 bins: chi-squared of 9 degrees is below 27.9 with 99.9 %."""
    u = uniform(torch.arange(10_000))
    assert float(u.min()) >= 0 and float(u.max()) < 1
    counts = (u * 10).long().bincount(minlength=10).double()
    assert float((counts - 1000).square().sum() / 1000) < 27.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coverage": 1.0}, "coverage must be between 0 and 1, got 1.0"),
        ({"penalty": -0.5}, "penalty and free must be at least 0, got -0.5 and 1"),
        ({"free": -1}, "penalty and free must be at least 0, got 0.0 and -1"),
        ({"labels": torch.zeros(7)}, r"one class for each of 8 images, got shape \(7,\)"),
        ({"coverage": 0.9}, "coverage 0.9 needs at least 9 calibration images, got 8"),
        ({"coverage": 0.95}, "coverage 0.95 needs at least 19 calibration images, got 8"),
    ],
)
def test_bad_arguments(arguments, message):
    p, labels, _ = drawn(8, 0)
    with pytest.raises(ValueError, match=message):
        calibrated(**{"probabilities": p, "labels": labels, **arguments})


@pytest.mark.parametrize(("coverage", "least"), [(0.9, 9), (0.95, 19)])
def test_as_few_images_as_the_message_says_do(coverage, least):
    p, labels, _ = drawn(least, 0)
    assert isinstance(calibrated(p, labels, coverage), SetRule)
