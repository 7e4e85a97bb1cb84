"""Which layer is the head, and what is none."""

import pytest
from torch import nn

from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.layers.dynamic import DynamicLinear


def test_the_last_linear_layer_is_the_head_and_convolutions_only_without():
    linear = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Flatten(), nn.Linear(16, 3), nn.Conv2d(3, 2, 1))
    assert find_head(linear).name == "2"
    assert find_head(nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 1))).name == "1"
    assert find_head(nn.Linear(3, 2)).name == ""
    assert find_head(nn.Sequential(nn.Linear(4, 4), DynamicLinear(4, 2, k=1))).is_routed


def test_a_head_is_taken_by_name_module_or_as_it_is():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    assert find_head(model, "0").layer is model[0]
    assert find_head(model, model[0]).name == "0"
    head = Head(model[0], "0")
    assert find_head(model, head) is head


@pytest.mark.parametrize(
    ("model", "head", "error", "message"),
    [
        (nn.ReLU(), None, ValueError, "the model has neither a Linear layer nor a 1x1 convolution"),
        (nn.Linear(2, 2), "fc", ValueError, "head must name a layer of the model, got 'fc'"),
        (nn.Linear(2, 2), nn.Linear(2, 2), ValueError, "head must be a layer of the model, got"),
        (nn.Sequential(nn.ReLU()), "0", TypeError, r"head must be a Linear layer .* got ReLU"),
        (nn.Conv2d(2, 2, 3), "", TypeError, "head must be a Linear layer"),
        (nn.Conv2d(2, 2, 1, padding=1), "", TypeError, "head must be a Linear layer"),
        (nn.Conv2d(2, 2, 1, groups=2), "", TypeError, "head must be a Linear layer"),
    ],
)
def test_what_is_no_head_is_refused(model, head, error, message):
    with pytest.raises(error, match=message):
        find_head(model, head)
