"""Editing of a decision rule: what an edit of the head does is known before it is made.

Index legend: `n` image, `m` unit (input of the head), `c` class.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from interpretable_sgd.analysis import checkpoints
from interpretable_sgd.analysis.batches import VerifiedLoader, first_batch, on, rows, split_batch
from interpretable_sgd.analysis.composition import unit_names as numbered
from interpretable_sgd.analysis.edits import KEY, Edit, to_json
from interpretable_sgd.analysis.effects import Effect, Subjects, effect, grouped
from interpretable_sgd.analysis.forward import batches, placed, plain
from interpretable_sgd.analysis.head_search import find_head
from interpretable_sgd.analysis.heads import Head
from interpretable_sgd.analysis.names import Names, checked_names, class_titles
from interpretable_sgd.analysis.sparsity import THRESHOLD
from interpretable_sgd.analysis.table import Table
from interpretable_sgd.analysis.what_if import logits_after, what_if_table, written


@dataclass(frozen=True)
class Editor:
    """Edits of a model's head on a list that grows and shrinks; `edit` makes one.

    The model stays as it is: only inside `applied`, and in what `save` writes, the edits are made. What
    they do is computed by the head from what it has read, as the layers below do not change.

    Attributes:
        model: whose head is edited.
        head: of it.
        edits: made so far, in their order.
        earlier: edits that the weights have been through before.
        unit_names: of all M units.
        subjects: the images.
        units: what the head read, in batches.
        logits: without the edits, (N, C).
        loader: gives the images again, for `measure`.
        device: to run on.
    """

    model: nn.Module
    head: Head
    subjects: Subjects
    unit_names: tuple[str, ...]
    units: list[Tensor]
    logits: Tensor
    loader: VerifiedLoader
    device: torch.device | str | None
    earlier: tuple[Edit, ...] = ()
    edits: list[Edit] = field(default_factory=list)

    def __repr__(self) -> str:
        classes, units = self.head.weight.shape
        said = "1 edit" if len(self.edits) == 1 else f"{len(self.edits)} edits"
        return f"Editor({classes} classes, {units} units, {len(self.logits)} images, {said})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"  {self.text(edit)}" for edit in self.edits)])

    def text(self, edit: Edit) -> str:
        """An edit in words, with the names of its units and its class."""
        to = None if edit.to is None else self.unit_names[edit.to]
        c = edit.in_class
        return edit.text(
            self.unit_names[edit.unit], to, None if c is None else self.subjects.class_names[c]
        )

    def disable(
        self, unit: int, in_class: int | None = None, *, held: float | None = 0.0
    ) -> "Editor":
        """Read a unit no more.

        Args:
            unit: counted from 0.
            in_class: the class that is not to read it, counted from 0; None for all of them.
            held: what the unit is always taken to be instead; the bias takes what that adds. None for
                its mean over the images, which keeps the mean of every logit.

        Returns:
            Itself, as all edits do.

        Raises:
            ValueError: there is no such unit or class; the head cannot hold a value, as it has no bias
                or chooses between its terms.
        """
        return self._scale("disable", unit, 0.0, in_class, held)

    def scale(
        self, unit: int, factor: float, in_class: int | None = None, *, held: float | None = 0.0
    ) -> "Editor":
        """Multiply the weight of a unit by a factor; see `disable`."""
        return self._scale("scale", unit, factor, in_class, held)

    def move(self, unit: int, to: int, in_class: int | None = None) -> "Editor":
        """Read another unit in its place, with the weights of both; see `disable`."""
        return self.add(Edit("move", unit, in_class, to=to))

    def _scale(
        self, change: Any, unit: int, factor: float, in_class: int | None, held: float | None
    ) -> "Editor":
        self._check(Edit(change, unit, in_class, factor))
        if held is None:
            read = [self.head.activations(batch)[:, unit].double() for batch in self.units]
            held = float(torch.cat(read).mean())
        return self.add(Edit(change, unit, in_class, factor, held))

    def add(self, *edits: Edit) -> "Editor":
        """Make edits that are written down, as those of another editor or of `edits_of`."""
        for edit in edits:
            self._check(edit)
        self.edits.extend(edits)
        return self

    def undo(self, count: int = 1) -> "Editor":
        """Take back the last edits.

        Raises:
            ValueError: there are not as many.
        """
        if not 0 <= count <= len(self.edits):
            raise ValueError(f"count must be in 0 .. {len(self.edits)}, the edits, got {count}")
        del self.edits[len(self.edits) - count :]
        return self

    def effect(self) -> Effect:
        """What the edits do, without running the model: exact to rounding."""
        return self._effect(logits_after(self.head, self.units, self.edits))

    def measure(self) -> Effect:
        """What the edits do, by running the edited model on all images.

        Raises:
            ValueError: the loader gives other images than before.
        """
        with self.applied() as model:
            run = batches(model, self.loader, self.head, device=self.device)
            with closing(run) as stream:
                return self._effect(torch.cat([batch.logits.cpu() for batch in stream]))

    def _effect(self, logits: Tensor) -> Effect:
        cause = "; ".join(map(self.text, self.edits)) or "no edit"
        return effect(cause, self.subjects, self.logits, logits)

    def what_if(
        self, units: Sequence[int] | None = None, connections: Sequence[tuple[int, int]] = ()
    ) -> Table:
        """What disabling each of some units or connections would do, beside the edits made so far.

        Args:
            units: to disable in all classes; None for all that some class reads (|w| >= 1e-3).
            connections: pairs of a unit and a class, to disable that alone.

        Raises:
            ValueError: there is no such unit or class.
        """
        if units is None:
            units = (self.head.weight.abs() >= THRESHOLD).any(0).nonzero().flatten().tolist()
        wanted = [Edit("disable", m) for m in units]
        wanted += [Edit("disable", m, c) for m, c in connections]
        for edit in wanted:
            self._check(edit)
        return what_if_table(
            self.head, self.units, self.subjects, wanted, self.unit_names, self.edits
        )

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """The model with the edits inside; afterwards it is bit for bit as it was."""
        with written(self.head, self.edits):
            yield self.model

    def save(self, path: str | Path) -> Path:
        """Write the edited model's weights as .safetensors, with a log of the edits in its metadata.

        `edits_of` reads the log back.

        Raises:
            ValueError: the path does not end in .safetensors.
        """
        from safetensors.torch import save_file

        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"path must end in .safetensors, got {path}")
        with self.applied() as model:
            # copies, as the format refuses tensors that share memory
            state = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in model.state_dict().items()
            }
        log = {KEY: to_json([*self.earlier, *self.edits])}
        checkpoints.replace(path, lambda part: save_file(state, part, metadata=log))
        return path

    def _check(self, edit: Edit) -> None:
        classes, units = self.head.weight.shape
        for name, value, count in (
            ("unit", edit.unit, units),
            ("to", edit.to, units),
            ("in_class", edit.in_class, classes),
        ):
            if value is not None and not 0 <= value < count:
                raise ValueError(f"{name} must be in 0 .. {count - 1}, got {value}")
        if edit.to == edit.unit:
            raise ValueError(f"to must be another unit than the one that is moved, got {edit.to}")
        if not torch.tensor([edit.factor, edit.held]).isfinite().all():
            raise ValueError(f"factor and held must be finite, got {edit.factor}, {edit.held}")
        if edit.held and (self.head.layer.bias is None or not self.head.is_additive):
            raise ValueError(
                f"held must be 0 for head {self.head.name!r}, {self.head.kind}: it has no bias or "
                f"does not sum every term, got {edit.held:g}"
            )


def edit(
    model: nn.Module,
    loader: Iterable[Any],
    head: Head | nn.Module | str | None = None,
    *,
    groups: Sequence[Any] | Tensor | None = None,
    class_names: Names | None = None,
    unit_names: Names | None = None,
    earlier: Sequence[Edit] = (),
    device: torch.device | str | None = None,
) -> Editor:
    """Edit what classes read of units, and see what each edit does before it is made.

    The model runs once over the images. What its head reads is kept: memory grows with images * units,
    times positions for a head that decides at each.

    Args:
        model: a classifier; left as it was.
        loader: gives inputs and labels, see `decide`; the same in each pass.
        head: the layer that makes the logits, or its name; found if None.
        groups: a name or number for each image in the loader's order, such as where it was taken.
        class_names: of all classes.
        unit_names: of the units that the head reads.
        earlier: edits that these weights have been through, as `edits_of` reads them; they stand first
            in the log of what is saved.
        device: to run on; where the model is if None.

    Raises:
        ValueError: groups or names do not fit; there are no images; the head's weight is computed, or
            shared with another layer; and all that `decide` raises.

    >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    >>> editor = edit(model, [(torch.rand(8, 4), torch.arange(8) % 3)])
    >>> predicted = editor.disable(2).scale(5, 0.5, in_class=1).effect()
    >>> torch.allclose(predicted.logits, editor.measure().logits, atol=1e-5)
    True
    >>> editor.undo()
    Editor(3 classes, 6 units, 8 images, 1 edit)
    """
    inner = plain(model)
    first, stream = first_batch(loader)
    with placed(inner, device) as place:
        found = find_head(inner, head, on(rows(split_batch(first)[0], slice(0, 2)), place))
    _check_own(inner, found)
    width = found.weight.shape[1]
    titles = numbered(width) if unit_names is None else unit_names
    kept: list[list[Tensor]] = [[], [], [], []]
    with closing(batches(inner, stream, found, device=device)) as read:
        for batch in read:
            for own, values in zip(kept, batch, strict=True):
                own.append(values.cpu())
    labels, hashes, units, logits = kept
    if not sum(map(len, labels)):
        raise ValueError("loader must give at least one image, got none")
    images = torch.cat(labels)
    return Editor(
        model=inner,
        head=found,
        subjects=Subjects(
            images, class_titles(class_names, found.outputs), *grouped(groups, len(images))
        ),
        unit_names=checked_names("unit_names", titles, width),
        units=[batch for batch in units if len(batch)],
        logits=torch.cat(logits),
        loader=VerifiedLoader(loader, torch.cat(hashes)),
        device=device,
        earlier=tuple(earlier),
    )


def _check_own(model: nn.Module, head: Head) -> None:
    """Raise unless an edit of the head's weight changes that and nothing else."""
    if parametrize.is_parametrized(head.layer):
        raise ValueError(
            f"weight of head {head.name!r} must be its own, it is computed: "
            "torch.nn.utils.parametrize.remove_parametrizations makes it so"
        )
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter is head.layer.weight and name.rpartition(".")[0] != head.name:
            raise ValueError(
                f"weight of head {head.name!r} must be its own, it is {name} as well, which an edit "
                "would change"
            )
