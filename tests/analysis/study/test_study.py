"""A study of a network whose every number is known, and what it refuses."""

import csv
import json

import pytest
import torch

from interpretable_sgd.analysis import Compared, edit, study
from interpretable_sgd.report import render
from tests.analysis.known_truth import COLOURS, IMAGES, TRUTH, images, known_study, network


@pytest.fixture(scope="module")
def found():
    return known_study(
        compared=[Compared("dense", 3.0, 0.5, seeds=2, error=0.1)],
        training={"loss": ([1, 2, 3], [3.0, 2.0, 1.0])},
        config={"data": "squares"},
        seed=3,
    )


def value(found, name):
    return found.metrics[name].value


def test_units_are_the_concepts(found):
    assert [unit.label for unit in found.units] == list(COLOURS)
    assert [unit.iou for unit in found.units] == [1.0] * 3
    assert all(unit.is_trusted and unit.p_value == 0.05 for unit in found.units)
    assert value(found, "unique_detectors") == 3
    assert value(found, "unlabelled_mass") == value(found, "unlabelled_mass_null") == 0


def test_classes_are_made_of_what_they_are_made_of(found):
    assert [value(found, f"concept_{name}") for name in ("precision", "recall", "f1")] == [1, 1, 1]
    assert value(found, "weights_per_class") == 2 and value(found, "sparsity") == pytest.approx(
        1 / 3
    )
    for card, row in zip(found.classes, TRUTH, strict=True):
        assert {use.unit for use in card.uses} == set(row.nonzero().flatten().tolist())
        assert (card.weights, card.labels, card.rest, card.bias) == (2, 2, 0, 0)
    assert found.classes[0].formula.startswith("red green = 1.00 ")


def test_two_units_leave_nothing_over(found):
    assert value(found, "residual_at_5") == pytest.approx(0, abs=1e-6)
    assert value(found, "outside_5") == pytest.approx(0, abs=1e-6)
    rows = found.tables["residuals"].where(denominator="faithful", prediction="right")
    assert rows.column("median")[:2] == pytest.approx([0.5, 0], abs=1e-6)
    reach = found.tables["reach"].where(level=0.95, prediction="right")
    assert dict(zip(reach.column("units"), reach.column("share of images"), strict=True))["2"] == 1


def test_what_if_is_what_editing_says():
    pixels, labels, _ = images()
    found = known_study(mislabelled=0, groups=[int(n < 50) for n in range(IMAGES)]).tables[
        "what_if"
    ]
    editor = edit(network(), [(pixels, labels)])
    assert len(found.rows) == 3 + 6  # three units, and two connections of each of three classes
    for unit, _, c, *_, change, flips, gained, lost, _, _, worst, _ in found.rows:
        effect = editor.disable(unit, c).effect()
        editor.undo()
        assert change == pytest.approx(effect.change)
        assert (flips, gained, lost) == (len(effect.flipped), effect.gained, effect.lost)
        assert 0 <= worst <= 1


def test_right_and_wrong_are_told_apart(found):
    assert value(found, "accuracy") == pytest.approx(1 - 6 / IMAGES)
    residuals = found.tables["residuals"]
    assert set(residuals.where(prediction="wrong").column("images")) == {6}
    assert set(residuals.where(prediction="right").column("images")) == {IMAGES - 6}
    assert [image.is_right for image in found.explanations] == [True] * 3 + [False] * 3
    assert found.contrasts[0].confused and len(found.contrasts[0].shared) == 1


def test_explanations_add_up_to_the_logits_of_the_pass(found):
    for image in found.explanations:
        logits = found.decisions.logits[image.index]
        for score, logit in zip(image.scores, logits, strict=True):
            parts = sum(reason.contribution for reason in score.reasons)
            assert parts + score.rest + score.bias == pytest.approx(float(logit), abs=1e-7)
            assert score.logit == pytest.approx(float(logit), abs=1e-7)


def test_removing_a_class_s_two_units_loses_it(found):
    ablation = found.tables["ablation"]
    keep, remove = (
        dict(zip(rows.column("count"), rows.column("logit"), strict=True))
        for rows in (ablation.where(change="keep"), ablation.where(change="remove"))
    )
    assert keep[2] == remove[0] > 0 == keep[0] == remove[2]
    assert value(found, "ablation_agreement") == 1


def test_exemplars_are_the_brightest_images(found):
    pixels, _, _ = images()
    for unit, exemplars in found.exemplars.items():
        assert len(exemplars) == 4
        for exemplar in exemplars:
            assert exemplar.peak == float(pixels[exemplar.index, unit].max())


def test_calibration_images_give_sets_of_classes():
    pixels, labels, _ = images(seed=5)
    found = known_study(calibration=[(pixels, labels)])
    sets = found.tables["sets"]
    assert sets.column("rule") == ["APS", "APS", "RAPS", "RAPS"]
    assert sets.column("promised") == [0.9, 0.95] * 2
    assert set(sets.column("calibration images")) == {60}
    kinds = zip(*(sets.column(name) for name in ("empty", "one class", "several")), strict=True)
    assert all(sum(shares) == pytest.approx(1) for shares in kinds)
    # six of 60 images have another class's label, which no set of one class holds
    assert max(sets.column("held with winner")) == 0.9
    for image in found.explanations:
        assert image.set.members[0].class_index == image.predicted.class_index
        assert {keeper.unit for keeper in image.set.members[0].keepers} <= {0, 1, 2}
    assert value(found, "abstentions") == 0
    with pytest.raises(ValueError, match="images that are not studied"):
        pixels, labels, _ = images()
        study(network(), [(pixels, labels)], calibration=[(pixels, labels)])


def test_stability_is_that_of_a_shift_that_changes_nothing(found):
    rows = dict(found.tables["stability"].rows)
    assert rows["images"] == IMAGES
    assert rows["same class"] == rows["overlap of units"] == rows["identical units"] == 1


def test_json_and_csv_hold_every_table_with_its_source(found, tmp_path):
    content = json.loads(found.to_json(tmp_path / "numbers.json"))
    assert json.loads((tmp_path / "numbers.json").read_text()) == content
    assert set(content["tables"]) == set(found.tables)
    source = content["provenance"]
    assert source["seed"] == 3 and source["config"]["data"] == "squares"
    assert source["versions"]["torch"] == torch.__version__ and len(source["data_hash"]) == 64
    paths = found.to_csv(tmp_path / "csv")
    assert {path.stem for path in paths} == set(found.tables)
    for path in paths:
        lines = path.read_text().splitlines()
        said = [line for line in lines if line.startswith("#")]
        assert any(source["data_hash"] in line for line in said)
        table = found.tables[path.stem]
        rows = list(csv.reader(lines[len(said) :]))
        assert tuple(rows[0]) == table.columns and len(rows) == 1 + len(table.rows)


def test_the_hash_is_of_the_data_and_not_of_its_batches():
    pixels, labels, _ = images()
    hashes = [
        study(network(), list(zip(x.split(size), y.split(size), strict=True))).provenance[
            "data_hash"
        ]
        for x, y, size in ((pixels, labels, 25), (pixels, labels, 60), (pixels * 0.9, labels, 25))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_model_is_left_as_it_was():
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pixels, labels, _ = images()
    study(model, [(pixels, labels)])
    assert model.training and all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_compiled_models_and_batches_with_more_in_them():
    """Hooks of a compiled graph would see nothing; the model inside is read."""
    pixels, labels, _ = images()
    batches = [[pixels, labels.tolist(), "more"]]
    found = study(torch.compile(network()), batches)
    plain = study(network(), [(pixels, labels)])
    for name in ("classes", "residuals", "explanations"):
        assert found.tables[name] == plain.tables[name]
    assert found.provenance["data_hash"] == plain.provenance["data_hash"]
    assert found.exemplars.keys() == plain.exemplars.keys()


def test_a_head_that_reads_no_maps_has_no_pictures():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 3))
    pixels, labels, _ = images()
    found = study(model, [(pixels, labels)], top=2)
    assert found.layer is None and found.exemplars == {}
    assert all(
        r.map is None for image in found.explanations for v in image.scores for r in v.reasons
    )


def test_passes_that_were_cut_off_go_on(tmp_path):
    """What was decided and dissected is not run again."""
    calls = []

    class Counted(torch.nn.Sequential):
        def forward(self, images):
            calls.append(len(images))
            return super().forward(images)

    def run():
        calls.clear()
        return known_study(model=Counted(*network()), checkpoint=tmp_path), len(calls)

    (first, all_passes), (second, rest) = run(), run()
    assert {path.name for path in tmp_path.iterdir()} == {"decisions.pt", "dissection.pt"}
    # 3 batches of deciding, and one batch in each pass of dissecting; one run compares the model
    assert all_passes - rest == 5 - 1
    for name in ("units", "classes", "residuals"):
        assert second.tables[name] == first.tables[name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["a"]}, "class_names must be 3 names, got 1"),
        ({"truth": TRUTH}, "truth needs concepts"),
        ({"top": 0}, "top must be at least 1, got 0"),
        ({"layer": "9"}, "layer must be a module of the model or its dotted name, got '9'"),
    ],
)
def test_bad_arguments(options, message):
    pixels, labels, _ = images()
    with pytest.raises(ValueError, match=message):
        study(network(), [(pixels, labels)], **options)


def test_truth_of_another_shape():
    with pytest.raises(ValueError, match=r"truth must have the shape \(3, 3\), got \(2, 3\)"):
        known_study(truth=TRUTH[:2])


def test_concepts_need_maps():
    from interpretable_sgd.analysis.concepts import ConceptArrays

    pixels, labels, masks = images()
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 3))
    concepts = ConceptArrays.of_masks(pixels, masks, names=COLOURS)
    with pytest.raises(ValueError, match="layer must be named: no layer has a map for each unit"):
        study(model, [(pixels, labels)], concepts=concepts)


def test_a_loader_of_another_order_each_time_is_refused():
    class Shuffled:
        turn = 0

        def __iter__(self):
            self.turn += 1
            pixels, labels, _ = images()
            yield pixels.roll(self.turn, 0), labels

    with pytest.raises(ValueError, match="same images in the same order in each pass"):
        study(network(), Shuffled())


def test_a_loader_that_gives_its_images_once_is_refused():
    pixels, labels, _ = images()
    with pytest.raises(ValueError, match="loader must give its images again in each pass"):
        study(network(), iter([(pixels, labels)]))


def rows_of(inputs, labels, size=5):
    return list(zip(inputs.split(size), labels.split(size), strict=True))


def seeded(build):
    torch.manual_seed(0)
    return build()


class Reader(torch.nn.Module):
    """A text classifier as transformers have them: mappings in, an object with logits out."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm = torch.nn.Embedding(50, 16), torch.nn.LayerNorm(16)
        self.classifier, self.pooler = torch.nn.Linear(16, 3), torch.nn.Linear(16, 16)

    def forward(self, input_ids, attention_mask):
        weights = attention_mask[..., None].float()
        hidden = self.norm((self.embed(input_ids) * weights).sum(1) / weights.sum(1))
        return {"logits": self.classifier(hidden), "pooled": self.pooler(hidden)}


def texts(count=12):
    """Batches of different lengths, as collators pad them."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for start in range(0, count, 4):
        ids = torch.randint(50, (4, 5 + start), generator=generator)
        mask = torch.ones_like(ids)
        labels = torch.arange(start, start + 4) % 3
        batches.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return batches


def test_a_study_of_texts_in_mappings():
    found = study(seeded(Reader), texts(), input_names=[f"word{k}" for k in range(50)])
    assert found.decisions.head == "classifier" and found.layer is None
    assert all("word" in image.words and image.picture is None for image in found.explanations)
    assert "decisions" in report_of(found)


def report_of(found):
    return render(found)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_study_of_other_channels(channels):
    conv = torch.nn.Conv2d(channels, 8, 3)
    model = seeded(
        lambda: torch.nn.Sequential(
            *(conv, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()),
            torch.nn.Linear(8, 3),
        )
    )
    x = torch.rand(12, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    found = study(model, rows_of(x, torch.arange(12) % 3), augment=lambda batch: batch.roll(1, 3))
    assert found.layer == "1"
    assert all(image.picture.shape == (3, 16, 16) for image in found.explanations)
    without = study(model, rows_of(x, torch.arange(12) % 3), picture=None)
    assert all(image.picture is None for image in without.explanations)
    assert all(e.picture is None for kept in without.exemplars.values() for e in kept)
    for page in (report_of(found), report_of(without)):
        assert "Decisions, taken apart" in page


def test_a_study_of_rows_whose_units_are_the_inputs():
    model = seeded(lambda: torch.nn.Linear(4, 2))
    x = torch.rand(12, 4, generator=torch.Generator().manual_seed(1))
    names = ["age", "weight", "height", "pulse"]
    found = study(model, rows_of(x, torch.arange(12) % 2), input_names=names)
    assert [unit.title for unit in found.units] == names
    assert "age" in found.classes[0].formula and "age" in report_of(found)
    assert found.tables["units"].column("name") == names


def test_a_study_of_one_output():
    model = seeded(
        lambda: torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1), torch.nn.Flatten(0)
        )
    )
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).float()
    found = study(model, rows_of(x, y), class_names=["ill"], unit_names=list("abcdefgh"))
    assert found.class_names == ("not ill", "ill")
    with torch.no_grad():
        z = model(x)
    assert value(found, "accuracy") == ((z > 0) == (y > 0)).double().mean().item()
    # keeping and removing units counts as the pass does
    whole = found.tables["ablation"].where(change="whole").column("accuracy")
    assert whole == pytest.approx([value(found, "accuracy")])
    prune = found.tables["ablation"].where(change="prune", count=5).column("accuracy")
    weight = model[2].weight.detach().clone()
    weight[0, weight[0].abs().argsort()[:3]] = 0
    with torch.no_grad():
        cut = torch.nn.functional.linear(model[:2](x), weight, model[2].bias)[:, 0]
    assert prune == pytest.approx([((cut > 0) == (y > 0)).double().mean().item()])
    assert "True: " in report_of(found) and "not ill" in report_of(found)


def test_a_study_of_sets_of_classes():
    model = seeded(
        lambda: torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    )
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    y = (x[:, :3] > 0).float()
    found = study(model, rows_of(x, y))
    with torch.no_grad():
        right = (model(x) > 0) == (y > 0)
    assert value(found, "accuracy") == pytest.approx(right.double().mean().item())
    for c, card in enumerate(found.classes):
        has, given = y[:, c] > 0, model(x)[:, c] > 0
        assert card.images == int(has.sum()) and card.given == int(given.sum())
        assert card.hits == int((has & given).sum()) and card.mistaken_for == ()
        assert card.accuracy == card.hits / card.images
    assert found.contrasts == () and found.tables["confusion"].rows == ()
    whole = found.tables["ablation"].where(change="whole").column("accuracy")
    assert whole == pytest.approx([value(found, "accuracy")])
    image = found.explanations[0]
    assert isinstance(image.label, tuple) and "True: " in report_of(found)


def test_names_as_mappings_and_a_string_that_is_none():
    pixels, labels, _ = images()
    names = {"red green": 0, "green blue": 2, "red blue": 1}
    found = study(network(), [(pixels, labels)], class_names=names)
    assert found.class_names == ("red green", "red blue", "green blue")
    with pytest.raises(TypeError, match="class_names must be a sequence of names, got the string"):
        study(network(), [(pixels, labels)], class_names="abc")


def test_confusions_and_calibration_are_counts_of_the_pass(found):
    decisions = found.decisions
    cells = found.tables["confusion"].rows
    assert sum(row[-1] for row in cells) == len(decisions)
    for label, _, predicted, _, count in cells:
        both = (decisions.labels == label) & (decisions.predicted == predicted)
        assert count == int(both.sum())
    assert sum(found.tables["calibration"].column("images")) == len(decisions)
    low, high = found.metrics["accuracy"].interval
    assert low < value(found, "accuracy") < high


def test_a_study_prints_in_a_few_lines(found):
    assert repr(found) == "Study('Sequential', 3 classes, 3 units, 60 images, accuracy 0.900)"
    said = str(found)
    assert "right on 90.0% of 60 images" in said and "red green = 1.00" in said
    assert len(said.splitlines()) < 12 and "tensor" not in said
    assert "weights_per_class" in found._repr_html_()


@pytest.mark.parametrize("change", ["images", "labels"])
def test_a_pass_that_gives_others_than_the_first_is_refused(change):
    """Also where only keeping and removing units, or changing images, would see them."""

    class Changes:
        def __init__(self, turn):
            self.turn, self.seen = turn, 0

        def __iter__(self):
            self.seen += 1
            pixels, labels, _ = images()
            if self.seen == self.turn:
                pixels, labels = (
                    (pixels * 0.9, labels) if change == "images" else (pixels, 2 - labels)
                )
            yield pixels, labels

    # the door, deciding, pictures, keeping and removing, changing a little
    for turn in (3, 4, 5):
        with pytest.raises(ValueError, match="same images in the same order in each pass"):
            study(network(), Changes(turn), augment=lambda batch: batch)
