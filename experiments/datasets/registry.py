"""Every data set by its name: how it is opened, what it expects on disk, and where a package may have put it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from experiments.datasets import (
    cifar10,
    encoders,
    idx,
    mails,
    mlbench,
    pictured,
    places365,
    presets,
    transforms,
)
from experiments.datasets.dataset import (
    Augmented,
    DrawnInMemory,
    InMemory,
    Labelled,
    LabelledData,
    Pictures,
    assemble,
)
from experiments.datasets.digits import Digits
from experiments.datasets.presets import StandIn, stand_in, written
from experiments.datasets.rng import SPLITS, check_integer
from experiments.datasets.spec import DataError, Request, parse, typed
from experiments.datasets.synthetic import stamps
from experiments.datasets.synthetic.base import Generated
from experiments.datasets.synthetic.glyphs import Glyphs
from experiments.datasets.synthetic.marked import MarkedScenes
from experiments.datasets.synthetic.scenes import Scenes
from experiments.datasets.transforms import Views
from experiments.datasets.vectors import VectorFiles

SCALES = ("tiny", "small", "paper")
OUT = Path("runs")
FOLDER = "folder"  # the parameter of what is drawn from files
IN_MEMORY = 2**30  # bytes of a split up to which its images are drawn once and kept


class Source(Protocol):
    """A row of the registry.

    Attributes:
        what: the data in a few words.
        expected: what must lie at its path and where it can be had; "" for data that is drawn.
    """

    @property
    def what(self) -> str: ...

    @property
    def expected(self) -> str: ...

    def options(self) -> Mapping[str, type]:
        """What may be said of it, and the type of that."""
        ...

    def located(self) -> Path | None:
        """Where it lies on this machine without being told; None if nowhere."""
        ...

    def open(self, request: Request) -> LabelledData:
        """The samples; raises `DataError` for what is not there, `ValueError` for what is out of range."""
        ...


@dataclass(frozen=True)
class PictureFiles:
    """Pictures on disk, in a format that a reader knows.

    Attributes:
        what: see `Source`.
        expected: see `Source`.
        read: from the path.
        views: transforms for a size.
        size: pixels of a side that a network sees.
        most_held_out: images of each class held out unless told, at most.
        resizable: whether another size may be asked for.
        packaged: folders where a package puts it.
        stand_ins: scenes in its format, by scale.
        write: writes them.
    """

    what: str
    expected: str
    read: Callable[[Path], Pictures]
    views: Callable[[int], Views]
    size: int
    most_held_out: int
    resizable: bool = False
    packaged: tuple[Path, ...] = ()
    stand_ins: Mapping[str, StandIn] = field(default_factory=dict)
    write: Callable[[Path, StandIn], None] | None = None

    def options(self) -> Mapping[str, type]:
        """Size and number of images held out."""
        return {"size": int, "hold_out": int}

    def located(self) -> Path | None:
        """A package's folder."""
        return next((path for path in self.packaged if path.is_dir()), None)

    def open(self, request: Request) -> LabelledData:
        """From the path or the package's folder, or a stand-in."""
        size, drawn = request.options.get("size"), None
        if size is not None and not self.resizable and size != self.size:
            raise ValueError(f"size must be {self.size} for {request.name}, got {size}")
        if size is not None:
            check_integer("size", size, 16)
        path = request.path or self.located()
        if path is None:
            scenes = stand_in(request.scale, self.stand_ins, request.name, self.expected, size)
            assert self.write is not None
            write, drawn, size = self.write, scenes.scenes, scenes.scenes.size
            path = written(
                request.folder,
                request.name,
                scenes.parameters(),
                lambda draft: write(draft, scenes),
            )
        size = size or self.size
        return assemble(
            request.name,
            self.read(path),
            self.views(size),
            size,
            request.seed,
            request.options.get("hold_out"),
            self.most_held_out,
            drawn,
        )


@dataclass(frozen=True)
class Drawn:
    """Images that are drawn, not read.

    Attributes:
        what: see `Source`.
        kind: what draws them.
        paper: its parameters at scale paper.
        counts: images to train, validate and test on, by scale; None for all there are.
        expected: see `Source`; "" where nothing is read.
        packaged: folder where a package puts what it is drawn from.
    """

    what: str
    kind: type[Scenes] | type[Glyphs] | type[Digits] | type[stamps.Stamps]
    paper: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int, int]] | None = field(
        default_factory=lambda: {
            "tiny": (480, 120, 240),
            "small": (5_000, 1_500, 2_000),
            "paper": (50_000, 5_000, 10_000),
        }
    )
    expected: str = ""
    packaged: Path | None = None

    def options(self) -> Mapping[str, type]:
        """The parameters of what draws, and the numbers of images."""
        parameters = {parameter.name: type(parameter.default) for parameter in fields(self.kind)}
        parameters.pop(FOLDER, None)
        return {**parameters, **dict.fromkeys(SPLITS, int)}

    def located(self) -> Path | None:
        """A package's folder of what it is drawn from; nowhere where nothing is read."""
        return self.packaged if self.packaged and self.packaged.is_dir() else None

    def open(self, request: Request) -> LabelledData:
        """Drawn now, or, where that would not fit in memory, when it is asked for."""
        name, options = request.name, {"seed": request.seed, **request.options}
        if self.expected:
            path = request.path or self.located()
            if path is None:
                raise DataError(
                    f"{name} must have a path, {name}:PATH, of {self.expected}; got none"
                )
            options[FOLDER] = str(path)
        elif request.path is not None:
            raise ValueError(f"{name} are drawn and take options alone, got {str(request.path)!r}")
        usual = dict(zip(SPLITS, self.counts[request.scale], strict=True)) if self.counts else {}
        counts = {split: options.pop(split, usual.get(split)) for split in SPLITS}
        for split, n in counts.items():
            if n is not None:
                check_integer(split, n, 1)
        source = self.kind(**{**(self.paper if request.scale == "paper" else {}), **options})
        parts = {split: _split(source, split, n) for split, n in counts.items()}
        counted = {split: n for split, n in counts.items() if n is not None}
        return LabelledData(
            name=name,
            class_names=tuple(source.class_names),
            shape=(source.channels, source.size, source.size),
            train=Augmented(parts["train"], None, request.seed),
            plain=parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            prepare=transforms.drawings(source.size).prepare,
            identity={"name": name, **_parameters(source), **counted},
            source=source if isinstance(source, Generated) else None,
        )


def _parameters(source: Any) -> dict[str, Any]:
    """All that decides what is drawn; not where it is read from, but what was read."""
    parameters = asdict(source)
    if parameters.pop(FOLDER, None) is not None:
        parameters["sha256"] = source.sha256
    return parameters


def _split(source: Generated | Digits, split: str, n: int | None) -> Labelled:
    if isinstance(source, Digits):
        images, labels = source.tensors(split)
        return InMemory(images[:n], labels[:n])
    assert n is not None
    size = 4 * n * source.channels * source.size**2
    return DrawnInMemory(source, split, n) if size <= IN_MEMORY else source.split(split, n)


REGISTRY: dict[str, Source] = {
    "cifar10": PictureFiles(
        "CIFAR-10, 32 x 32, 10 classes",
        cifar10.EXPECTED,
        cifar10.read_cifar10,
        transforms.small_photographs,
        32,
        cifar10.MOST_HELD_OUT,
        stand_ins=presets.CIFAR10,
        write=cifar10.write_cifar10,
    ),
    "places365": PictureFiles(
        "Places365-Standard, 365 classes of places",
        places365.EXPECTED,
        places365.read_places365,
        transforms.photographs,
        places365.SIZE,
        places365.MOST_HELD_OUT,
        resizable=True,
        stand_ins=presets.PLACES365,
        write=places365.write_places365,
    ),
    "fashion": PictureFiles(
        "Fashion-MNIST, 28 x 28, 10 classes of clothing",
        idx.EXPECTED_FASHION,
        idx.read_fashion_mnist,
        lambda size: transforms.grey(*idx.FASHION_PIXELS, size),
        28,
        idx.MOST_HELD_OUT,
        packaged=(idx.DEBIAN,),
    ),
    "mnist": PictureFiles(
        "MNIST, 28 x 28, 10 digits",
        idx.EXPECTED_MNIST,
        idx.read_mnist,
        lambda size: transforms.grey(*idx.MNIST_PIXELS, size),
        28,
        idx.MOST_HELD_OUT,
    ),
    "letters": VectorFiles(
        "letter recognition, 16 numbers of a printed letter, 26 classes",
        mlbench.expected("LetterRecognition"),
        mlbench.read_letters,
        (mlbench.DEBIAN,),
        ("rdata",),
    ),
    "satellite": VectorFiles(
        "Landsat, 36 numbers of a pixel and its neighbours, 6 kinds of ground",
        mlbench.expected("Satellite"),
        mlbench.read_satellite,
        (mlbench.DEBIAN,),
        ("rdata",),
    ),
    "mails": VectorFiles(
        "SpamAssassin's 6,046 mails as 384 numbers of a sentence encoder, 3 classes",
        mails.EXPECTED,
        mails.read_mails,
        (mails.USUAL,),
        encoders.SENTENCES,
    ),
    "pictured": VectorFiles(
        "stamp scenes as 1,280 numbers of an ImageNet network, 24 classes",
        pictured.EXPECTED,
        pictured.read_pictured,
        (stamps.DEBIAN,),
        encoders.PICTURES,
    ),
    "stamps": Drawn(
        "scenes of real cut-outs; a class is a set of them",
        stamps.Stamps,
        expected=stamps.EXPECTED,
        packaged=stamps.DEBIAN,
    ),
    "scenes": Drawn(
        "drawn scenes; a class is a set of coloured, textured shapes",
        Scenes,
        {"size": 128, "classes": 100, "concepts": 48},
    ),
    "marked": Drawn("scenes with a mark that goes with class 0 in training alone", MarkedScenes),
    "glyphs": Drawn("drawn pairs of glyphs in noise", Glyphs),
    "digits": Drawn("the 8 x 8 digits that scikit-learn brings", Digits, counts=None),
}


def open_data(
    text: str,
    *,
    scale: str = "tiny",
    size: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    hold_out: int | None = None,
) -> LabelledData:
    """The data that a text names, ready to train on.

    Without a path, `cifar10` and `places365` are stand-ins at the scales tiny and small: scenes in the
    true format, written once below ``out/data`` and read by the same reader.

    Args:
        text: ``name[:path][,option=value]...``; the drawn ones, scenes, glyphs and digits, take options
            alone: their parameters, and ``train``, ``validation``, ``test`` for the numbers of images.
        scale: tiny, small or paper: how large what is drawn is.
        size: pixels of a side of what the net sees; None for the set's own, 224 for Places365.
        seed: of augmentation, and of drawn images.
        out: folder below which stand-ins are written; None for ``runs``.
        hold_out: images of each class kept from training for validation; 0 for none, None for a fifth,
            at most 500 (50 of Places365). Drawn sets have a validation split.

    Raises:
        DataError: no path where one is needed; what lies there is missing, damaged or something else.
        ValueError: no such name, option or scale; a value out of range or given twice.

    >>> data = open_data("scenes:size=32,train=48", scale="tiny")
    >>> data.classes, len(data.train), data.train[0, 7][0].shape, data.plain[7][1]
    (24, 48, torch.Size([3, 32, 32]), 7)
    """
    check_scale(scale)
    name, path, written_options = parse(text)
    if name not in REGISTRY:
        raise ValueError(f"name must be one of {', '.join(REGISTRY)}, got {name!r}")
    source = REGISTRY[name]
    kinds = source.options()
    if hold_out is not None and "hold_out" not in kinds:
        raise ValueError(
            f"hold_out must be None for {name}, which have validation images, got {hold_out}"
        )
    options = typed(name, written_options, kinds)
    options = once_each(options, {"size": size, "hold_out": hold_out})
    return source.open(Request(name, path, options, scale, seed, (out or OUT) / "data"))


def check_scale(scale: str) -> None:
    """Raise `ValueError` unless it is tiny, small or paper."""
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")


def once_each(options: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Options of the text and arguments of the call together.

    Raises:
        ValueError: they name the same thing differently.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in options.keys() & given.keys():
        if options[name] != given[name]:
            raise ValueError(f"{name} must be given once, got {options[name]} and {given[name]}")
    return {**options, **given}


def availability(texts: Mapping[str, str], scale: str = "tiny") -> dict[str, str]:
    """Of every data set by name, where it comes from on this machine, or what is missing.

    Args:
        texts: by name, the data that a user has named, as `name:path`.
        scale: at which some are stood in for.
    """
    places = {}
    for name, source in REGISTRY.items():
        path = parse(texts[name]).path if name in texts else source.located()
        stood_in = scale in getattr(source, "stand_ins", ())
        if not source.expected:
            places[name] = "drawn"
        elif path is not None:
            places[name] = f"at {path}"
        else:
            places[name] = "a stand-in is drawn" if stood_in else f"missing: {source.expected}"
    return places


__all__ = ["REGISTRY", "SCALES", "DataError", "LabelledData", "availability", "open_data"]
