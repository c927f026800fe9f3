"""Folders of image files."""

from pathlib import Path
from types import ModuleType

import numpy as np

from dae_theory.checks import Refusal
from dae_theory.data.sources import Pictures, UnreadableError, needs, scaled

# Formats that Pillow recognizes but does not decode by itself.
_FOREIGN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def image_files(path: str) -> list[Path]:
    """Every image file below a folder, in the order of their paths, which is that of the samples.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no image file.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"source folder:DIR needs an existing folder; got {path!r}")
    image = needs("PIL.Image", "reading image files")
    suffixes = {
        suffix
        for suffix, format in image.registered_extensions().items()
        if format in image.OPEN and format not in _FOREIGN
    }
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )
    if not files:
        raise Refusal(f"source must be a folder with image files; got none below {path!r}")
    return files


def read_folder(path: str) -> Pictures:
    """Every image file below the folder, in the order of their paths; the first subfolder is the class."""
    folder, files = Path(path), image_files(path)
    image = needs("PIL.Image", "reading image files")
    operations = needs("PIL.ImageOps", "reading image files")
    parents = [file.relative_to(folder).parts[0] if file.parent != folder else "." for file in files]
    names, labels = np.unique(parents, return_inverse=True)

    def read(row: int) -> np.ndarray:
        try:
            return _pixels(files[row], image, operations)
        except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as error:
            raise UnreadableError(f"{files[row].relative_to(folder)} ({error})") from error

    return Pictures(read, labels, tuple(names.tolist()))


def _pixels(file: Path, image: ModuleType, operations: ModuleType) -> np.ndarray:
    """One file as (h, w) or (h, w, 3) in [−1, 1]."""
    with image.open(file) as opened:
        picture = operations.exif_transpose(opened)
        if picture.mode == "F":
            raise Refusal("floating pixels have no known range; save them in an npz file")
        if picture.mode == "I" or picture.mode.startswith("I;16"):
            values = np.asarray(picture)
            if values.min() < 0 or values.max() > 65535:
                raise Refusal("more than 16 bits a pixel")
            return scaled(values, 0.0, 65535.0)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = image.new("RGBA", picture.size, "white")
            picture = image.alpha_composite(white, picture)
        return scaled(np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB")), 0.0, 255.0)
