"""Explained sets against the model itself with units taken away, and the passes that make and try rules."""

import pytest
import torch
from torch import nn

from interpretable_sgd.analysis import explain, find_head, reading
from interpretable_sgd.analysis.batches import hashes
from interpretable_sgd.analysis.conformal import SetRule, uniform
from interpretable_sgd.analysis.prediction_sets import sets_of
from interpretable_sgd.analysis.set_trial import calibrate, try_sets
from tests.analysis.classifiers import BUILD, CLASSES, UNITS, classifier, images, outputs

LOOSE = SetRule(0.9, 0.8, penalty=0.0, free=1, images=100)
NAMES = [f"class {c}" for c in range(CLASSES)], [f"unit {m}" for m in range(UNITS)]


def explained(model, pixels, rule, noise=None, top=UNITS):
    head = find_head(model, None, pixels[:2])
    with reading(model, head) as read:
        units, logits = read.run(pixels)
    return head, units, logits, sets_of(head, units, logits, rule, noise, *NAMES, top=top)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("kind", BUILD)
def test_members_are_the_rule_s_and_a_needed_unit_s_loss_takes_its_class_out(kind, noisy):
    model, ((pixels, _), *_) = classifier(kind), images()
    noise = uniform(torch.arange(len(pixels))) if noisy else None
    head, units, logits, found = explained(model, pixels, LOOSE, noise)

    def members(logits, n):
        held = LOOSE.sets(logits.softmax(1), None if noise is None else noise[n : n + 1])
        return set(held[0].nonzero().flatten().tolist()) | {int(logits[0].argmax())}

    needed = 0
    for n, one in enumerate(found):
        order = [member.class_index for member in one.members]
        assert set(order) == members(logits[n : n + 1], n)
        chances = [member.probability for member in one.members]
        assert chances == sorted(chances, reverse=True)
        assert chances == pytest.approx(logits.softmax(1)[n, order].tolist())
        for member in one.members:
            c = torch.tensor([member.class_index])
            parts = head.parts(units[n : n + 1], c)[0]
            given = [keeper.contribution for keeper in member.keepers]
            assert given == pytest.approx(sorted(parts[parts > 0].tolist(), reverse=True))
            for keeper in member.keepers:
                without = units[n : n + 1].clone()
                without[:, keeper.unit] = 0
                left = members(head.logits(without), n)
                assert keeper.is_needed == (member.class_index not in left)
                needed += keeper.is_needed
    assert needed or "rectified" in kind


def test_an_image_that_shows_nothing_has_no_unit_to_speak_for_it():
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3))
    (shown,) = explain(model, torch.zeros(1, 4), rule=LOOSE)
    assert shown.set.abstains and all(not member.keepers for member in shown.set.members)
    assert "no unit of the first is on" in str(shown)
    (other,) = explain(model, torch.ones(1, 4), rule=LOOSE)
    assert not other.set.abstains and "90% set" in str(other)
    assert explain(model, torch.ones(1, 4))[0].set is None


def test_a_binary_head_has_sets_of_two_classes():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    everything = SetRule(0.9, 2.0, penalty=0.0, free=1, images=100)
    (shown,) = explain(model, torch.rand(1, 4), rule=everything, class_names=["ill"])
    assert {member.name for member in shown.set.members} == {"ill", "not ill"}


def test_sets_of_labels_that_are_sets_are_refused():
    model = nn.Linear(4, 3)
    with pytest.raises(ValueError, match="rule must be None where labels are sets of classes"):
        explain(model, torch.rand(2, 4), torch.eye(3)[:2], rule=LOOSE)


@pytest.mark.parametrize("kind", ["linear", "at most 3"])
def test_a_trial_counts_what_the_rules_hold(kind):
    model, held_out, studied = classifier(kind), images(60, seed=2), images(40, seed=3)
    head = find_head(model, None, studied[0][0][:2])
    rules = calibrate(model, held_out, head)
    assert [(rule.name, rule.coverage, rule.images) for rule in rules] == [
        ("APS", 0.9, 60),
        ("APS", 0.95, 60),
        ("RAPS", 0.9, 60),
        ("RAPS", 0.95, 60),
    ]
    found = try_sets(model, studied, rules, head)
    assert found.sizes.shape == found.held.shape == (4, 40)
    # the batches that images come in do not matter
    whole = [tuple(map(torch.cat, zip(*studied, strict=True)))]
    assert torch.equal(try_sets(model, whole, rules, head).sizes, found.sizes)
    probabilities, labels = outputs(model, studied).softmax(1), whole[0][1]
    loose = SetRule(0.9, 2.0, penalty=0.0, free=1, images=60)
    assert try_sets(model, studied, [loose], head).held.all()
    for rule, sizes, held in zip(rules, found.sizes, found.held, strict=True):
        certain, none = (rule.sets(probabilities, torch.full((40,), u)) for u in (0.0, 1.0))
        assert (none.sum(1) <= sizes).all() and (sizes <= certain.sum(1)).all()
        own = torch.arange(40), labels
        assert (none[own] <= held).all() and (held <= certain[own]).all()


def test_images_that_are_studied_do_not_calibrate():
    model, batches = classifier("linear"), images(60)
    head = find_head(model, None, batches[0][0][:2])
    seen = torch.cat([hashes(*batch) for batch in batches])
    assert calibrate(model, batches, head, seen=seen[:20])[0].images == 40
    with pytest.raises(ValueError, match="not studied, of 60 it gave none is"):
        calibrate(model, batches, head, seen=seen)
    with pytest.raises(ValueError, match="needs one class an image, its labels are sets"):
        sets = [(pixels, torch.eye(CLASSES)[labels]) for pixels, labels in batches]
        calibrate(model, sets, head)
