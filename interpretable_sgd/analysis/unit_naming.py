"""Names of units without masks: by embeddings of images and of words in one space.

Index legend: `n` image, `m` unit, `l` word, `d` dimension, `p` permutation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from interpretable_sgd.analysis.dissection import null as chance
from interpretable_sgd.analysis.names import Names, checked_names


@dataclass(frozen=True)
class UnitNames:
    """The word that goes best with each unit, and how sure that is.

    Attributes:
        words: all of them.
        label: position of each unit's word, (M,); -1 for a unit that goes with none.
        likeness: correlation over the images of the unit with that word, (M,), in [0, 1].
        null: the best likeness of each unit to any word, images permuted, (P, M).
        given: names by the user, which win, by unit.
    """

    words: tuple[str, ...]
    label: Tensor
    likeness: Tensor
    null: Tensor
    given: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        sure = int(self.significant().sum())
        return f"UnitNames({len(self.label)} units, {len(self.words)} words, {sure} above chance)"

    @property
    def p_value(self) -> Tensor:
        """Chance of as good a word if the unit knew nothing of the images, (M,); see `Dissection.p_value`."""
        return chance.p_values(self.likeness, self.null)

    def significant(self, level: float = chance.LEVEL) -> Tensor:
        """Whether a unit's word is more than chance, (M,), bool."""
        return self.likeness > chance.null_quantile(self.null, level)

    def word_of(self, unit: int) -> str | None:
        """The word of a unit, sure or not; None where it goes with none."""
        label = int(self.label[unit])
        return None if label < 0 else self.words[label]

    @property
    def titles(self) -> tuple[str, ...]:
        """What to call each unit: as the user does, else by a word above chance, else by its number."""
        sure = self.significant().tolist()
        own = [self.word_of(m) if sure[m] else f"unit {m}" for m in range(len(sure))]
        return tuple(self.given.get(m, str(name)) for m, name in enumerate(own))


def name_units(
    units: Any,
    image_embeddings: Any,
    text_embeddings: Any,
    words: Names,
    *,
    unit_names: Mapping[int, str] | None = None,
    permutations: int = 99,
    seed: int = 0,
) -> UnitNames:
    r"""Which word each unit goes with, where there are no masks to dissect it by.

    .. math:: r_{ml} = \text{corr}_n\big(x_{nm}, \cos(e_n, t_l)\big), \quad \hat l_m = \arg\max_l r_{ml}

    As in CLIP-Dissect (Oikarinen and Weng, ICLR 2023), with the correlation over images for the likeness.
    A search over many words finds something for any unit, so images are permuted against their embeddings,
    and the best likeness of those pairings is the chance: under it a unit knows nothing of the images, the
    observed pairing is exchangeable with the permuted ones, and at most a share `level` of such units is
    called significant.

    Args:
        units: of each image, (n, M), a tensor or array: such as `Decisions.sample_units` of the images
            `Decisions.sample`. Or their maps, (n, M, h, w), of which the highest value counts, as where masks
            are drawn: a mean over positions goes with whatever else is in such images.
        image_embeddings: of the same images, (n, D), of any model that embeds words too.
        text_embeddings: of the words, (L, D).
        words: L names.
        unit_names: names by the user, by unit, which win over any word.
        permutations: of the images, at least 19, which reach level 0.05.
        seed: of the permutations.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or permutations are too few.

    >>> shown = torch.eye(4).repeat(10, 1)
    >>> found = name_units(shown[:, [2, 0]], shown, torch.eye(4), ["sky", "grass", "dog", "car"])
    >>> found.titles, found.p_value.tolist()
    (('dog', 'sky'), [0.01, 0.01])
    """
    units = torch.as_tensor(units)
    units = units.amax((2, 3)) if units.dim() == 4 else units
    x, images, texts = map(
        _matrix,
        ("units", "image_embeddings", "text_embeddings"),
        (units, image_embeddings, text_embeddings),
    )
    if len(images) != len(x):
        raise ValueError(f"image_embeddings must be of the {len(x)} images, got {len(images)}")
    if images.shape[1] != texts.shape[1]:
        raise ValueError(
            f"text_embeddings must have the {images.shape[1]} dimensions of the images', "
            f"got {texts.shape[1]}"
        )
    chance.check_level(chance.LEVEL, permutations)
    names = checked_names("words", words, len(texts))
    given = dict(unit_names or {})
    wrong = [m for m in given if not (isinstance(m, int) and 0 <= m < x.shape[1])]
    if wrong:
        raise ValueError(f"unit_names must be of units 0 .. {x.shape[1] - 1}, got {wrong[0]!r}")
    activity, shown = _standardized(x), _standardized(normalize(images) @ normalize(texts).T)
    generator = torch.Generator().manual_seed(seed)
    best, label = _likeness(activity, shown).max(1)
    null = torch.stack(
        [
            _likeness(activity, shown[torch.randperm(len(x), generator=generator)]).amax(1)
            for _ in range(permutations)
        ]
    )
    label = torch.where(best > 0, label, -1)
    return UnitNames(names, label, best.clamp(0, 1), null.clamp(min=0), given)


def _matrix(name: str, values: Any) -> Tensor:
    found = torch.as_tensor(values).detach().float().cpu()
    if found.dim() != 2 or not found.numel():
        raise ValueError(f"{name} must be a matrix, got shape {tuple(found.shape)}")
    if not found.isfinite().all():
        raise ValueError(f"{name} must be finite")
    return found


def _standardized(columns: Tensor) -> Tensor:
    """Of mean 0 and norm 1 over the images; 0 where nothing varies."""
    centred = columns - columns.mean(0)
    norm = centred.norm(dim=0)
    varies = norm > 1e-6 * columns.norm(dim=0)
    return torch.where(varies, centred / norm.where(varies, 1), 0)


def _likeness(activity: Tensor, shown: Tensor) -> Tensor:
    """Correlation of every unit with every word, (M, L)."""
    return activity.T @ shown
