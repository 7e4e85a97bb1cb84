"""Looks at a net while it trains: what they see, and that training does not notice."""

import torch

from experiments.datasets.concepts import drawn
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation.metrics import evaluate
from experiments.evaluation.watching import Watch
from experiments.models.classifiers import build, small_resnet
from experiments.training.in_memory import train
from interpretable_sgd import analysis


def trained(watched):
    source = Scenes(seed=0)
    images, labels = source.tensors("train", 64)
    validation = source.tensors("validation", 32)
    model = build(small_resnet, 3, source.classes, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(model, validation, drawn(source, "validation", 32), epochs=3)
    look = watch.look if watched else lambda epoch: None
    train(model, optimizer, images, labels, epochs=3, batch=16, seed=0, look=look)
    return model, watch, validation


def test_the_last_look_sees_the_trained_net_and_training_does_not_notice():
    model, watch, validation = trained(watched=True)
    assert len(watch.accuracy) == 4 and watch.iou_epochs == [0, 1, 2, 3]
    assert watch.accuracy[-1] == evaluate(model, validation, validation)["test_accuracy"]
    found = analysis.dissect(model, model.maps, watch.concepts, permutations=0)
    assert watch.mean_iou[-1] == float(found.best.mean())
    alone, _, _ = trained(watched=False)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_data_without_masks_have_accuracy_alone():
    model, _, validation = trained(watched=False)
    watch = Watch(model, validation, None, epochs=1)
    watch.look(1)
    assert len(watch.accuracy) == 1 and watch.mean_iou == []
