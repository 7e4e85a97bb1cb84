"""A folder of images beside folders of label images, and a table of what the numbers mean."""

from collections.abc import Sequence
from pathlib import Path

from interpretable_sgd.analysis.concepts.broden import read_table
from interpretable_sgd.analysis.concepts.files import (
    IMAGES,
    image_files,
    printable,
    read_image,
    read_numbers,
)
from interpretable_sgd.analysis.concepts.table import (
    Concept,
    ConceptError,
    ConceptSample,
    ConceptTable,
)

MASKS = (".png", ".bmp", ".gif", ".tif", ".tiff")


class MaskFolders:
    """Images whose label images have the same path, but for the suffix, in another folder.

    An image without a label image is unlabelled: it counts for thresholds only.

    Args:
        images: folder of images, searched with its subfolders.
        masks: folder of label images, or several, one for each plane; 0 is unlabelled, and so are
            the numbers in ``ignore``. Formats: see `pictures.read_numbers`.
        labels: csv file with the columns ``number`` and ``name``, and ``category`` if there are
            several.
        ignore: numbers that mean "unlabelled", such as 255 in many data sets.

    Raises:
        FileNotFoundError: a folder or the table is missing.
        ValueError: no image, or no label image for any of them; two images of one path but for the
            suffix; the table lacks a column.
    """

    def __init__(
        self,
        images: Path | str,
        masks: Path | str | Sequence[Path | str],
        labels: Path | str,
        ignore: Sequence[int] = (),
    ) -> None:
        self._images = Path(images)
        folders = [masks] if isinstance(masks, Path | str) else masks
        self._masks = [Path(folder) for folder in folders]
        self.table = read_labels_table(Path(labels))
        self._ignore = tuple(ignore)
        self._files = files_of(self._images, IMAGES)
        if not self._files:
            raise ValueError(
                f"{self._images} must hold images ({', '.join(IMAGES)}), it holds none"
            )
        self._planes = [files_of(folder, MASKS) for folder in self._masks]
        self._stems = sorted(self._files)
        if not any(stem in planes for planes in self._planes for stem in self._stems):
            raise ValueError(
                f"{', '.join(map(str, self._masks))} must hold label images named as the images "
                f"are, such as {self._stems[0]}{MASKS[0]}, it holds none"
            )

    def __len__(self) -> int:
        return len(self._stems)

    def __getitem__(self, index: int) -> ConceptSample:
        stem = self._stems[index]
        image = read_image(self._files[stem])
        planes = [read_numbers(paths[stem]) for paths in self._planes if stem in paths]
        for plane in planes:
            for number in self._ignore:
                plane[plane == number] = 0
        size = planes[0].shape if planes else image.shape[1:]
        if len(size) != 2:
            raise ConceptError(f"label image of {stem} must be two-dimensional, got {size}")
        return ConceptSample(image, planes, (size[0], size[1]), self.name(index))

    def name(self, index: int) -> str:
        """Path below the folder of images."""
        return printable(self._files[self._stems[index]].relative_to(self._images).as_posix())


def files_of(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Files below a folder by their path in it without the suffix.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: two files differ in the suffix only.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} must be a folder, and is not")
    found: dict[str, Path] = {}
    for path in image_files(folder, suffixes):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise ValueError(
                f"files must differ in more than the suffix, got {found[stem]} and {path}"
            )
        found[stem] = path
    return found


def read_labels_table(path: Path) -> ConceptTable:
    """A table of concepts from a csv file; number 0, unlabelled, may be listed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing; a number is not one.
    """
    rows = read_table(path, ["number", "name"])
    try:
        numbers = [int(row["number"]) for row in rows]
    except ValueError as error:
        raise ValueError(f"number in {path} must be a whole number: {error}") from None
    return ConceptTable(
        tuple(
            Concept(number, row["name"], row.get("category") or "object")
            for number, row in zip(numbers, rows, strict=True)
            if number
        )
    )
