"""Images that sims share: which ones, how large."""

from dataclasses import dataclass, replace
from functools import lru_cache

from dae_theory import data
from dae_theory.checks import Refusal
from sims.launch import contents, limits


@dataclass(frozen=True)
class ImagesConfig:
    """A set of images at one size."""

    images: str = "mnist"
    """mnist, faces, digits, fashion, npz:FILE or folder:DIR."""
    size: int = 14
    """Side of the images in pixels."""
    images_digest: str = ""
    """Leave empty: filled in from the contents of FILE or DIR, so that changed images are another record."""

    def check(self) -> None:
        """Raises ValueError for a size that is none."""
        limits.at_least(self, size=1)

    def resolved(self) -> "ImagesConfig":
        """With the digest of one's own images.

        Raises:
            ValueError: there is no such file or folder, or the size is none.
        """
        self.check()
        return replace(self, images_digest=contents.digest("images", self.images))

    def check_count(self, least: int, words: str, *, center: bool = False) -> None:
        """Raises ValueError where there are fewer images than `least`, which `words` explain, or none to be read."""
        count = len(self.load(center=center).x)
        if count < least:
            raise Refusal(f"--images must hold at least {least} images, {words}; {self.images} holds {count}")

    def enough(self, counts: dict[str, int], *, even: bool = False) -> "ImagesConfig":
        """`resolved`, where there are as many centred images as the options in `counts` ask for together.

        Raises:
            ValueError: as `resolved`; there are fewer; with `even`, the side is odd.
        """
        images = self.resolved()
        if even and images.size % 2:
            raise Refusal(f"--size must be even; got {images.size}")
        *names, last = map(limits.option, counts)
        images.check_count(sum(counts.values()), f"{', '.join(names)} and {last} together", center=True)
        return images

    def load(self, *, center: bool = False) -> data.Images:
        """The images, in [−1, 1] unless centred."""
        if self.images.startswith(contents.OWN) and not self.images_digest:
            return data.load_images(self.images, size=self.size, center=center)
        return _loaded(self.images, self.size, center, self.images_digest)


@lru_cache(maxsize=1)
def _loaded(source: str, size: int, center: bool, digest: str) -> data.Images:
    """Images whose contents are known, kept for the caller that counts them first and uses them then."""
    del digest
    return data.load_images(source, size=size, center=center)
