"""Some samples of a data set are evenly spaced ones of it."""

from experiments.datasets.concepts import GeneratedConcepts
from experiments.datasets.synthetic.scenes import Scenes
from experiments.evaluation.unit_labels import Some

WHOLE = GeneratedConcepts(Scenes(), "test", 10)


def test_some_of_many():
    some = Some(WHOLE, 4)
    assert len(some) == 4 and some.table is WHOLE.table
    assert [some.name(i) for i in range(4)] == ["test 0", "test 2", "test 5", "test 7"]
    assert some[2].image.equal(WHOLE[5].image)


def test_all_where_there_are_few():
    assert len(Some(WHOLE, 99)) == 10 and Some(WHOLE, 99).name(9) == "test 9"
