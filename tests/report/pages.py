"""A page to look at: the known network's, with names that would break out if they could."""

from interpretable_sgd.analysis import Compared, Study
from tests.analysis.known_truth import known_study

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "</style></title><b onclick='window.hacked = 1'>{{ 7 * 7 }}",
)
HOSTILE_CONCEPTS = (
    "=cmd|' /C calc'!A0 </svg><script>window.hacked = 2</script>",
    "&amp;",
    "a\nb\x00",
)


def page_study(**options: object) -> Study:
    return known_study(
        compared=[
            Compared("dense <b>", 3.0, 0.5),
            Compared("other", 2.5, 0.6, seeds=3, error=0.01),
        ],
        training={"loss": ([1, 2, 4, 8], [3.0, 2.0, float("nan"), 1.0])},
        name="squares & co",
        **options,
    )


def hostile_study() -> Study:
    return page_study(class_names=HOSTILE, concept_names=HOSTILE_CONCEPTS)
