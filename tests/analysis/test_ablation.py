"""Units taken away one by one in loops; contributions foretell it exactly where a head is dense."""

import pytest
import torch
from scipy.stats import spearmanr

from interpretable_sgd import route
from interpretable_sgd.analysis.ablation import ablate, losses, rank_correlation
from interpretable_sgd.analysis.contributions import top_units
from interpretable_sgd.analysis.forward import reading
from interpretable_sgd.analysis.head_search import find_head
from tests.analysis.classifiers import BUILD, CLASSES, UNITS, classifier, images, outputs

DENSE = ["linear", "linear without bias", "convolution", "convolution with stride"]
COUNTS = (0, 1, 3, UNITS)


def read_all(model, data):
    head = find_head(model)
    with reading(model, head) as read:
        model(torch.cat([pixels for pixels, _ in data]))
        units, logits = read.take()
    return head, units, logits, torch.cat([labels for _, labels in data])


@pytest.fixture(params=BUILD)
def model(request):
    return classifier(request.param)


def test_all_units_are_the_network_and_none_its_biases(model):
    ablation = ablate(model, images(), counts=COUNTS)
    whole = ablation.whole
    for curve, full, empty in (
        (ablation.keep, -1, 0),
        (ablation.remove, 0, -1),
        (ablation.prune, -1, 0),
    ):
        assert curve.accuracy[full] == whole.accuracy[0]
        torch.testing.assert_close(curve.logit[full], whole.logit[0])
        torch.testing.assert_close(curve.class_logit[full], whole.class_logit[0])
        torch.testing.assert_close(curve.accuracy[empty], ablation.keep.accuracy[0])
    labels = torch.cat([y for _, y in images()])
    bias = find_head(model).bias
    bias = bias.relu() if find_head(model).rectified else bias
    assert ablation.keep.accuracy[0].item() == pytest.approx(
        (labels == bias.argmax()).double().mean().item()
    )


def test_curves_are_those_of_units_set_to_zero_one_image_at_a_time(model):
    """The network itself runs on what is left, all else is as in a forward pass."""
    data = images(12, 5)
    ablation = ablate(model, data, counts=COUNTS)
    head, units, logits, labels = read_all(model, data)
    parts = head.parts(units, logits.argmax(1))
    own = {"keep": torch.zeros(4, 12), "remove": torch.zeros(4, 12)}
    right = {"keep": torch.zeros(4, 12), "remove": torch.zeros(4, 12)}
    tail = list(model)[list(model).index(head.layer) :]
    for n in range(12):
        order = sorted(range(UNITS), key=lambda m: -float(parts[n, m]))
        for j, count in enumerate(COUNTS):
            for name, kept in (("keep", order[:count]), ("remove", order[count:])):
                left = torch.zeros_like(units[n : n + 1])
                left[0, kept] = units[n, kept]
                z = forward_of(tail, head, left)
                own[name][j, n] = z[0, logits[n].argmax()]
                right[name][j, n] = float(z.argmax() == labels[n])
    for name in own:
        curve = getattr(ablation, name)
        torch.testing.assert_close(curve.logit, own[name].mean(1))
        torch.testing.assert_close(curve.accuracy, right[name].mean(1))
        for c in range(CLASSES):
            of_class = labels == c
            torch.testing.assert_close(
                curve.class_accuracy[:, c], right[name][:, of_class].mean(1), equal_nan=True
            )


def forward_of(tail, head, units):
    """The layers from the head on; units have been read at the head's stride already."""
    layer = head.layer
    if units.dim() == 2 and layer.weight.dim() == 4:
        return units @ head.weight.T + head.bias
    with torch.no_grad():
        if units.dim() == 4:
            stride, layer.stride = layer.stride, (1, 1)
        for module in tail:
            units = module(units)
        if layer.weight.dim() == 4:
            layer.stride = stride
    return units


@pytest.mark.parametrize("kind", DENSE)
def test_contributions_of_a_dense_head_are_what_ablation_takes(kind):
    ablation = ablate(classifier(kind), images())
    torch.testing.assert_close(ablation.agreement, torch.ones(30).double())
    assert ablation.gap.max() < 1e-12


def test_a_routed_head_puts_the_next_unit_in_place_of_one_taken_away():
    """Kept 5 and 3 of 5, 3, 2, 1: without 5 the logit loses 5 - 2; without 3 it loses 3 - 2."""
    layer = torch.nn.Linear(4, 2, bias=False).double()
    layer.weight.data[:] = torch.tensor([[5.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    head = find_head(route(layer, k=2))
    units, classes = torch.ones(1, 4).double(), torch.tensor([0])
    assert losses(head, units, classes, torch.tensor([[0, 1, 2, -1]])).tolist() == [[3, 1, 0, 0]]
    ablation = ablate(head.layer, [(units, torch.tensor([0]))], compared=2)
    assert ablation.agreement.item() == 1
    assert ablation.gap.item() == pytest.approx(2 / 8)


def test_kept_logits_of_a_dense_head_are_its_largest_contributions():
    model, data = classifier("linear"), images()
    ablation = ablate(model, data, counts=(2, 5))
    head, units, logits, _ = read_all(model, data)
    predicted = logits.argmax(1)
    parts = head.parts(units, predicted).sort(1, descending=True).values
    for j, count in enumerate((2, 5)):
        kept = (parts[:, :count].sum(1) + head.bias[predicted]).mean()
        assert ablation.keep.logit[j].item() == pytest.approx(kept.item(), rel=1e-6)


def test_losses_are_of_a_pass_without_the_unit(model):
    data = images(6, 6)
    head, units, logits, _ = read_all(model, data)
    classes = logits.argmax(1)
    chosen = top_units(head.parts(units, classes), 4)
    found = losses(head, units, classes, chosen)
    for n in range(6):
        for slot, m in enumerate(chosen[n].tolist()):
            if m < 0:
                assert found[n, slot] == 0
                continue
            without = units[n : n + 1].clone()
            without[:, m] = 0
            expected = logits[n, classes[n]] - head.logits(without)[0, classes[n]]
            assert found[n, slot].item() == pytest.approx(expected.item(), abs=1e-12)


def test_rank_correlation_is_scipys():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(4, (20, 6), generator=generator).double()
    second = first + torch.randint(4, (20, 6), generator=generator)
    found = rank_correlation(first, second)
    for n in range(20):
        assert found[n].item() == pytest.approx(spearmanr(first[n], second[n]).statistic)
    assert rank_correlation(torch.ones(1, 3), first[:1, :3]).isnan().all()


def test_default_counts_end_at_the_width_and_the_model_is_left_alone():
    model = classifier("linear").train()
    done = []
    ablation = ablate(model, images(), report=done.append)
    assert ablation.counts == (0, 1, 2, 3, 5, 10) and done == [8, 16, 24, 30]
    assert model.training and not any(module._forward_hooks for module in model.modules())
    accuracy = outputs(model.eval(), images()).argmax(1) == torch.cat([y for _, y in images()])
    assert ablation.whole.accuracy.item() == pytest.approx(accuracy.double().mean().item())


def test_arguments_are_checked():
    model = classifier("linear")
    with pytest.raises(ValueError, match=r"counts must be in 0 \.\. 12, .*, got 13"):
        ablate(model, images(), counts=[1, 13])
    with pytest.raises(ValueError, match="compared must be at least 2, got 1"):
        ablate(model, images(), compared=1)
    with pytest.raises(ValueError, match="loader must give at least one image, got none"):
        ablate(model, [])
