"""The images that a study explains: spread over the data, so that nobody chose them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from interpretable_sgd.analysis.decisions import Decisions
from interpretable_sgd.analysis.explanation import Explanation, explain
from interpretable_sgd.analysis.forward import placed
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.images import Picture
from interpretable_sgd.analysis.maps import layer_of
from interpretable_sgd.analysis.provenance import Watched


def spread_evenly(decisions: Decisions, count: int) -> list[int]:
    """Images to explain: half right, half wrong, evenly over the data, so that nobody chose them.

    Where there are too few of one kind, more of the other.
    """
    right = decisions.correct.nonzero().flatten()
    wrong = (~decisions.correct).nonzero().flatten()
    few = min(count // 2, len(wrong))
    chosen = [_even(right, min(count - few, len(right))), _even(wrong, few)]
    return torch.cat(chosen).tolist()


def _even(positions: Tensor, count: int) -> Tensor:
    steps = (torch.arange(count) + 0.5) * len(positions) / max(1, count)
    return positions[steps.long()]


def explain_chosen(
    model: nn.Module,
    loader: Watched,
    chosen: Sequence[int],
    head: Head,
    where: str | None,
    top: int,
    picture: Picture,
    device: torch.device | str | None,
) -> list[Explanation]:
    """Explanations of the images that a pass over the data has kept."""
    if not chosen:
        return []
    images, labels = zip(*(loader.kept[n] for n in chosen), strict=True)
    layer = None if where is None else layer_of(model, where)[1]
    with placed(model, device) as place:
        return explain(
            model,
            torch.stack(images).to(place),
            labels,
            head,
            layer,
            top=top,
            indices=chosen,
            picture=picture,
        )
