"""Images that sims share: which ones, how large."""

from dataclasses import dataclass

from dae_theory import data
from sims.launch import limits


@dataclass(frozen=True)
class ImagesConfig:
    """A set of images at one size."""

    images: str = "mnist"
    """mnist, faces, digits, fashion, npz:FILE or folder:DIR."""
    size: int = 14
    """Side of the images in pixels."""

    def check(self) -> None:
        """Raises ValueError for a size that is none."""
        limits.at_least(self, size=1)

    def load(self, *, center: bool = False) -> data.Images:
        """The images, in [−1, 1] unless centred."""
        return data.load_images(self.images, size=self.size, center=center)
