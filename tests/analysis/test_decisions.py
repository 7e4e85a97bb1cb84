"""One streaming pass against the same figures from all images at once, and a pass cut off."""

import dataclasses

import pytest
import torch
from torch import nn

from interpretable_sgd import DynamicLinear
from interpretable_sgd.analysis.accumulator import DecisionAccumulator, scramble
from interpretable_sgd.analysis.contributions import residuals, shares, units_to_reach
from interpretable_sgd.analysis.decisions import Decisions, decide
from interpretable_sgd.analysis.forward import reading
from interpretable_sgd.analysis.head_search import find_head
from tests.analysis.classifiers import BUILD, CLASSES, UNITS, classifier, images, outputs


def same(left: Decisions, right: Decisions) -> bool:
    """Bit for bit."""
    pairs = zip(dataclasses.astuple(left), dataclasses.astuple(right), strict=True)
    return all(identical(a, b) for a, b in pairs)


def identical(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(identical(left[k], right[k]) for k in left)
    if isinstance(left, torch.Tensor):
        return torch.equal(left.nan_to_num(-1), right.nan_to_num(-1))
    return left == right


@pytest.fixture(params=BUILD)
def model(request):
    return classifier(request.param)


def test_contributions_and_bias_add_up_to_the_logits_of_both_classes(model):
    data = images()
    decisions = decide(model, data, keep=UNITS)
    z = outputs(model, data)
    ranked = z.sort(1, descending=True)
    assert torch.equal(decisions.logits, ranked.values[:, :2])
    assert torch.equal(decisions.predicted, ranked.indices[:, 0])
    assert torch.equal(decisions.runner_up, ranked.indices[:, 1])
    sums = decisions.contributions.sum(2) + decisions.biases
    torch.testing.assert_close(sums, decisions.logits, rtol=0, atol=1e-12)


def test_a_pass_records_what_all_images_at_once_give(model):
    data = images()
    decisions = decide(model, data, keep=4)
    head = find_head(model)
    with reading(model, head) as read:
        z = model(torch.cat([pixels for pixels, _ in data]))
        maps, _ = read.take()
    labels, x = torch.cat([y for _, y in data]), head.activations(maps)
    parts, biases = head.terms(maps, z.argmax(1))
    products = head.products(maps, z.argmax(1))
    top = parts.abs().sort(1, descending=True).values[:, :4]
    torch.testing.assert_close(decisions.contributions[:, 0].abs(), top)
    kept = decisions.units[:, 0]
    assert ((kept == -1) == (top == 0)).all()
    gathered = parts.gather(1, kept.clamp(min=0)).masked_fill(kept < 0, 0)
    torch.testing.assert_close(decisions.contributions[:, 0], gathered)

    faithful = shares(parts, biases)
    expected = {
        "faithful": residuals(faithful, 4),
        "signed": residuals(shares(products, None, "signed"), 4),
        "absolute": residuals(shares(products, None, "absolute"), 4),
    }
    assert decisions.residuals.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(decisions.residuals[name], values, equal_nan=True)
    for level, values in decisions.reach.items():
        torch.testing.assert_close(values, units_to_reach(faithful, level), equal_nan=True)

    own = head.parts(maps, labels)
    for c in range(CLASSES):
        torch.testing.assert_close(decisions.mean_parts[c], own[labels == c].mean(0).float())
        torch.testing.assert_close(decisions.class_means[c], x[labels == c].mean(0).float())
    assert torch.equal(decisions.counts, torch.bincount(labels, minlength=CLASSES))
    torch.testing.assert_close(decisions.mean_units, x.mean(0).float())
    torch.testing.assert_close(decisions.minimum, x.min(0).values.float())
    torch.testing.assert_close(decisions.activity, (x > 0).double().mean(0).float())
    mass = parts.abs() / parts.abs().sum(1, keepdim=True)
    torch.testing.assert_close(decisions.mass, mass.nan_to_num(0).mean(0).float())
    assert torch.equal(decisions.sample, torch.arange(30))
    torch.testing.assert_close(decisions.sample_units, x)


@pytest.mark.parametrize("kind", ["linear", "at most 3"])
def test_a_network_of_16_bits_is_read_in_32(kind):
    model = classifier(kind).bfloat16()
    data = [(pixels.bfloat16(), labels) for pixels, labels in images()]
    decisions = decide(model, data, keep=UNITS)
    assert decisions.logits.dtype == decisions.sample_units.dtype == torch.float32
    sums = decisions.contributions.sum(2) + decisions.biases
    # The layer rounds its output to 8 bits of mantissa.
    torch.testing.assert_close(sums, decisions.logits, rtol=2**-8, atol=2**-8)


def test_batches_do_not_matter():
    model = classifier("at most 3")
    assert len(decide(model, images(30, 7))) == 30
    a, b = decide(model, images(30, 30), sample=5), decide(model, images(30, 4), sample=5)
    assert torch.equal(a.predicted, b.predicted) and torch.equal(a.sample, b.sample)
    torch.testing.assert_close(a.contributions, b.contributions)
    torch.testing.assert_close(a.mean_parts, b.mean_parts)


def test_accuracy_is_of_the_predictions_and_the_model_is_left_alone():
    model, data = classifier("linear").train(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    decisions = decide(model, data)
    right = outputs(model.eval(), data).argmax(1) == torch.cat([y for _, y in data])
    assert decisions.accuracy == right.double().mean().item()
    assert torch.equal(decisions.correct, right)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_all_figures_are_on_the_cpu_without_gradients_and_of_their_shapes():
    decisions = decide(classifier("linear"), images(), keep=3)
    assert decisions.units.shape == decisions.contributions.shape == (30, 2, 3)
    assert all(values.shape == (30, 3) for values in decisions.residuals.values())
    assert decisions.weight.shape == decisions.mean_parts.shape == (CLASSES, UNITS)
    for value in vars(decisions).values():
        for tensor in value.values() if isinstance(value, dict) else [value]:
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == "cpu" and not tensor.requires_grad


def test_memory_grows_by_the_rows_of_the_images_alone():
    """Per image: labels and classes, and for two classes and keep slots what is kept of them."""

    def held(count: int) -> int:
        decisions = decide(classifier("linear"), images(count), keep=3, sample=10)
        found = [
            tensor
            for value in vars(decisions).values()
            for tensor in (value.values() if isinstance(value, dict) else [value])
            if isinstance(tensor, torch.Tensor)
        ]
        assert all(tensor.untyped_storage().nbytes() <= 3 * tensor.nbytes for tensor in found)
        return sum(tensor.numel() for tensor in found)

    # and probabilities of two classes, and a hash
    per_image = 3 + 2 * (2 + 2 * 3) + 3 * 3 + 2 + 1 + 2 + 1
    assert held(60) - held(20) == 40 * per_image


def test_a_class_without_images_has_no_means():
    pixels = images(4, 4)[0][0]
    decisions = decide(classifier("linear"), [(pixels, torch.tensor([0, 0, 1, 1]))])
    assert decisions.mean_parts[2:].isnan().all() and decisions.class_means[2:].isnan().all()
    assert not decisions.mean_parts[:2].isnan().any()


def test_the_draw_is_uniform_and_the_same_for_every_model():
    """Of 30 images 5 are drawn: over 2000 runs of 30 numbers, each is drawn in 1/6 of them.

    The largest of 30 deviations of a binomial share; 4.5 standard errors, p below 2e-4.
    """
    first, second = (decide(classifier("linear", seed), images(), sample=5) for seed in (0, 1))
    assert torch.equal(first.sample, second.sample) and len(first.sample) == 5
    every = decide(classifier("linear", 0), images())
    assert torch.equal(first.sample_units, every.sample_units[first.sample])
    keys = scramble(torch.arange(2000 * 30)).view(2000, 30)
    share = (
        torch.zeros(30).scatter_add_(0, keys.argsort(1)[:, :5].flatten(), torch.ones(2000 * 5))
        / 2000
    )
    error = (1 / 6 * 5 / 6 / 2000) ** 0.5
    assert ((share - 1 / 6).abs() < 4.5 * error).all()


def test_scramble_is_splitmix64():
    """First outputs for seed 0, from the reference implementation (Vigna, splitmix64.c)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert scramble(torch.arange(3)).tolist() == [value & (2**63 - 1) for value in expected]


class CutOff(Exception):
    """The pass ends early."""


def cut(data, after):
    yield from data[:after]
    raise CutOff


def test_a_pass_that_was_cut_off_goes_on_bit_for_bit(model, tmp_path):
    data, path, calls = images(30, 8), tmp_path / "runs" / "pass.pt", []
    whole = decide(model, data, sample=10)
    with pytest.raises(CutOff):
        decide(model, cut(data, 2), sample=10, checkpoint=path)
    handle = model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    done = []
    again = decide(model, data, sample=10, checkpoint=path, report=done.append)
    assert same(whole, again)
    # two images find the head, and two show that the model decides as it did
    assert calls == [2, 2, 8, 6] and done == [8, 16, 24, 30]
    assert same(whole, decide(model, data, sample=10, checkpoint=path))
    assert calls == [2, 2, 8, 6, 2, 2]
    handle.remove()


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    model, data, path = classifier("linear"), images(), tmp_path / "pass.pt"
    decide(model, data, checkpoint=path)
    with pytest.raises(ValueError, match=r"must be of model '.*', got '.*': remove it"):
        decide(classifier("linear", seed=1), data, checkpoint=path)
    with pytest.raises(ValueError, match="must be of keep 3, got 10"):
        decide(model, data, keep=3, checkpoint=path)


def other_labels(data):
    return [(pixels, (labels + 1) % CLASSES) for pixels, labels in data]


def one_pixel(data):
    """The last image of the second batch, changed in its last digits."""
    data = [(pixels.clone(), labels) for pixels, labels in data]
    data[1][0][-1, 0, 0, 0] += 1e-12
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_labels, r"another data set, or another order: the labels of images 0 .. 7 differ"),
        (one_pixel, r"the contents \(files or preprocessing\) of images 8 .. 15 differ"),
        (lambda data: data[::-1], "the logits of images 0 .. 1 differ"),
        (lambda data: data[:1], "is of 30 images, the loader gave 8"),
        (lambda data: [(2 * x, y) for x, y in data], "the logits of images 0 .. 1 differ"),
    ],
)
def test_a_checkpoint_of_other_data_is_set_aside(tmp_path, change, message):
    """The numbers are those of the data that were asked about, and what was kept is not lost."""
    model, data, path = classifier("linear"), images(), tmp_path / "pass.pt"
    decide(model, data, checkpoint=path)
    kept = path.read_bytes()
    with pytest.warns(UserWarning, match=message):
        found = decide(model, change(data), checkpoint=path)
    assert same(found, decide(model, change(data)))
    assert (tmp_path / "pass.pt.other").read_bytes() == kept
    assert same(found, decide(model, change(data), checkpoint=path))


def test_data_that_come_once_cannot_be_walked_again(tmp_path):
    model, data, path = classifier("linear"), images(), tmp_path / "pass.pt"
    decide(model, data, checkpoint=path)
    with pytest.raises(ValueError, match="another data set"):
        decide(model, iter(one_pixel(data)), checkpoint=path)


def test_a_model_that_computes_otherwise_with_the_same_weights(tmp_path):
    """A hook, a patched function: nothing that weights or layers show."""
    model, data, path = classifier("linear"), images(), tmp_path / "pass.pt"
    decide(model, data, checkpoint=path)
    handle = model[0].register_forward_hook(lambda layer, args, output: 3 * output)
    with pytest.warns(UserWarning, match="or of a model that decides otherwise"):
        found = decide(model, data, checkpoint=path)
    assert same(found, decide(model, data))
    handle.remove()


def test_a_batch_that_was_cut_off_inside_is_not_kept(tmp_path, monkeypatch):
    """A checkpoint holds whole batches only: sums that disagree are not written."""
    model, data, path = classifier("linear"), images(30, 8), tmp_path / "pass.pt"
    add_sums, calls = DecisionAccumulator._add_sums, []

    def cut_in_the_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise CutOff
        add_sums(*arguments)

    monkeypatch.setattr(DecisionAccumulator, "_add_sums", cut_in_the_second)
    with pytest.raises(CutOff):
        decide(model, data, checkpoint=path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"sample": -1}, "sample must be at least 0, got -1"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        decide(classifier("linear"), images(), **options)


def test_nothing_to_decide_is_an_error():
    with pytest.raises(ValueError, match="loader must give at least one image, got none"):
        decide(classifier("linear"), [])


def test_a_layer_with_a_forward_of_its_own_is_refused():
    class Scaled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    data = [(torch.rand(3, 4), torch.tensor([0, 1, 1]))]
    with pytest.raises(ValueError, match="head '' must add up to the logit, they miss it by"):
        decide(Scaled(4, 2), data)


def binary(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)).double()


def rows(count=40, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("head", ["linear", "at most 3"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("squash", [nn.Identity(), nn.Sigmoid()])
def test_one_output_decides_between_two_classes_and_its_terms_add_up(head, shape, squash):
    """Class 1 by the logit z itself, class 0 by -z; probabilities are those of the sigmoid."""
    model, x = binary(), rows()
    if head == "at most 3":
        model[2] = DynamicLinear(8, 1, k=3).double()
    with torch.no_grad():
        z = model(x)[:, 0]
    y = (torch.arange(40) % 2).double()
    decisions = decide(nn.Sequential(model, squash), [(x, y.view(shape))], keep=8)
    assert torch.equal(decisions.predicted, (z > 0).long())
    assert torch.equal(decisions.logits, torch.stack([z.abs(), -z.abs()], 1))
    sums = decisions.contributions.sum(2) + decisions.biases
    torch.testing.assert_close(sums, decisions.logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(decisions.probabilities[:, 0], z.abs().sigmoid())
    assert decisions.accuracy == ((z > 0) == (y > 0)).double().mean().item()
    assert torch.equal(decisions.weight[0], -decisions.weight[1])


def test_sets_of_classes_are_decided_each_by_its_sign():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    x = rows()
    y = torch.randint(2, (40, 4), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        hidden, z = model[:2](x), model(x)
    decisions = decide(
        nn.Sequential(model, nn.Sigmoid()), [(x[:25], y[:25]), (x[25:], y[25:])], keep=8
    )
    assert decisions.is_multilabel and torch.equal(decisions.labels, y.bool())
    assert decisions.accuracy == ((z > 0) == y.bool()).double().mean().item()
    assert torch.equal(decisions.counts, y.sum(0))
    sums = decisions.contributions.sum(2) + decisions.biases
    torch.testing.assert_close(sums, decisions.logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(decisions.probabilities, decisions.logits.sigmoid())
    top = z.argmax(1)
    rows_ = torch.arange(40)
    assert torch.equal(decisions.correct, y[rows_, top].bool() == (z[rows_, top] > 0))
    for c in range(4):
        own = y[:, c].bool()
        mean = model[2].weight[c].detach() * hidden[own].mean(0)
        torch.testing.assert_close(decisions.mean_parts[c], mean.float())
        for has in (0, 1):
            for given in (0, 1):
                count = ((y[:, c] == has) & ((z[:, c] > 0) == bool(given))).sum()
                assert decisions.outcomes[c, has, given] == count
        assert torch.equal(decisions.of_class(c), own)


def test_outcomes_of_single_labels_are_a_literal_count():
    model, data = classifier("linear"), images()
    decisions = decide(model, data)
    for c in range(CLASSES):
        for has in (0, 1):
            for given in (0, 1):
                count = sum(
                    int((y == c) == has and (p == c) == given)
                    for y, p in zip(
                        decisions.labels.tolist(), decisions.predicted.tolist(), strict=True
                    )
                )
                assert decisions.outcomes[c, has, given] == count


@pytest.mark.parametrize("wrap", ["dict", "tuple", "object", "auxiliary first"])
def test_outputs_may_hold_the_logits_among_others(wrap):
    class Wrapped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.aux = inner, nn.Linear(6, 5).double()

        def forward(self, x=None):
            z, aux = self.inner(x), self.aux(x)
            if wrap == "dict":
                return {"aux": aux, "logits": z}
            if wrap == "object":
                return Output(loss=aux.sum(), logits=z)
            return {"logits": z, "aux": aux} if wrap == "auxiliary first" else (z, aux)

    @dataclasses.dataclass
    class Output:
        loss: torch.Tensor
        logits: torch.Tensor

    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5)).double()
    x, y = rows(), torch.arange(40) % 5
    expected = decide(inner, [(x, y)])
    # the auxiliary head, registered last, is not taken for the head
    found = decide(Wrapped(inner), [{"x": x, "labels": y}])
    assert found.head == "inner.2" and torch.equal(found.logits, expected.logits)
    assert torch.equal(found.contributions, expected.contributions)


def test_a_head_that_is_named_may_be_any_output():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 5).double(), nn.Linear(6, 3).double()

        def forward(self, x):
            return self.first(x), self.second(x)

    model, x = Two(), rows()
    assert decide(model, [(x, torch.arange(40) % 5)]).head == "first"
    found = decide(model, [(x, torch.arange(40) % 3)], "second")
    assert torch.equal(found.predicted, model.second(x).argmax(1))


def test_a_model_whose_output_no_layer_makes_is_refused():
    class Scaled(nn.Sequential):
        def forward(self, x):
            return 3 * super().forward(x)

    model = Scaled(nn.Linear(6, 5).double())
    with pytest.raises(ValueError, match=r"none of '0' makes what it returns: name the layer"):
        decide(model, [(rows(), torch.arange(40) % 5)])


def test_a_short_repr():
    said = repr(decide(classifier("linear"), images()))
    assert said.startswith("Decisions(30 images, 5 classes, 12 units, head '5', accuracy 0.")
    assert len(said) < 100
