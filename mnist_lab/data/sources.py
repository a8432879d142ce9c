"""Published datasets: verified files in, uint8 tensors out."""

import gzip
import hashlib
import logging
import os
import shutil
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from mnist_lab.data.base import DataError, Source, Split
from mnist_lab.data.idx import read_idx
from mnist_lab.system.files import left_behind, temporary, whole

log = logging.getLogger(__name__)

LOCK_SECONDS = 600
_ARCHIVES = {
    f"{split}-{part}-ubyte.gz"
    for split in ("train", "t10k")
    for part in ("images-idx3", "labels-idx1")
}


class Unavailable(DataError):
    """An archive that is to be had nowhere: where it was looked for, a line a place."""

    __str__ = Exception.__str__


class IDXSource(Source):
    """MNIST and the datasets that come in its form: four gzipped IDX files.

    Args:
        urls: folders on the web that hold the .gz files, tried in this order.
        md5: checksums of the .gz files, by name.
        md5_extracted: checksums of the extracted files, by name, where they are published.
        torchvision: the class of `torchvision.datasets` that has these files, too: what it has
            left below `root` is taken, verified, before anything is fetched.
    """

    incidental = ("root", "urls", "torchvision")

    def __init__(
        self,
        name: str,
        classes: list[str],
        sizes: dict[Split, int],
        urls: list[str],
        md5: dict[str, str],
        md5_extracted: dict[str, str] | None = None,
        torchvision: str | None = None,
    ) -> None:
        super().__init__(name, classes, sizes)
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError(f"name={name!r} is not the name of a folder")
        if set(md5) != _ARCHIVES:  # nothing else is ever written
            raise ValueError(f"md5 must be of {', '.join(sorted(_ARCHIVES))}")
        self.urls, self.md5, self.md5_extracted = urls, md5, md5_extracted
        self.torchvision = torchvision

    def prepare(self, root: Path, mirror: str | None) -> None:
        folder = root / self.name
        try:
            if not self._lacking(folder):
                return  # a lock could not be had on a disk that can only be read
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
                for path in left_behind(folder):
                    path.unlink()
                for path, fault in self._lacking(folder).items():
                    if fault is not None:
                        log.info("%s is damaged (%s): fetching it again", path, fault)
                    if not self._taken_over(root, path):
                        self._fetch(f"{path.name}.gz", path, root, mirror)
        except Timeout:
            raise DataError(
                f"{folder}: another process has held the lock .lock for {LOCK_SECONDS} s; "
                "wait for it, or end it, and start again"
            ) from None
        except OSError as error:
            raise DataError(f"data.root={root}: cannot be used: {error}") from error

    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        prefix = {"train": "train", "test": "t10k"}[split]
        images = read_idx(root / self.name / f"{prefix}-images-idx3-ubyte")
        labels = read_idx(root / self.name / f"{prefix}-labels-idx1-ubyte")
        return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long()

    def _lacking(self, folder: Path) -> dict[Path, str | None]:
        """Files that are not there, or are not as published, and what is wrong with those."""
        lacking = {}
        for path in (folder / archive.removesuffix(".gz") for archive in self.md5):
            fault = None
            if path.exists():
                fault = self._fault(path, path.name, self._known_md5(path))
                if fault is None:
                    continue
            lacking[path] = fault
        return lacking

    def _fault(self, path: Path, name: str, md5: str | None) -> str | None:
        """What is wrong with the extracted file at `path`, which is to be called `name`."""
        split: Split = "train" if name.startswith("train") else "test"
        try:
            array = read_idx(path)
        except DataError as error:
            return str(error)
        expected = (self.sizes[split], 28, 28) if "idx3" in name else (self.sizes[split],)
        if array.shape != expected:
            return f"its shape is {array.shape}, not {expected}"
        if array.ndim == 1 and int(array.max()) >= len(self.classes):
            return f"label {int(array.max())} among {len(self.classes)} classes"
        return "MD5 differs" if md5 and _md5(path) != md5 else None

    def _known_md5(self, path: Path) -> str | None:
        """The published sum, else the one noted when the verified archive was extracted."""
        note = _note(path)
        published = self.md5_extracted or {}
        if path.name in published or not note.exists():
            return published.get(path.name)
        return note.read_text(errors="replace").strip() or "empty"

    def _taken_over(self, root: Path, path: Path) -> bool:
        """Whether torchvision has left the extracted file, and it is the one that was published."""
        md5 = (self.md5_extracted or {}).get(path.name)
        theirs = root / str(self.torchvision) / "raw" / path.name
        if md5 is None or not theirs.is_file() or self._fault(theirs, path.name, md5):
            return False
        with whole(path, "wb") as file, open(theirs, "rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
        return True

    def _places(self, root: Path, mirror: str | None) -> list[str]:
        """Where archives may be: torchvision's folder, the mirror, the web.

        A mirror may hold several datasets, whose files have the same names, in their folders.
        """
        theirs = root / str(self.torchvision) / "raw"
        places = [theirs.absolute().as_uri()] if theirs.is_dir() else []
        if mirror:
            base = _as_url(mirror).rstrip("/")
            places += [f"{base}/{self.name}", base]
        return [*places, *self.urls]

    def _fetch(self, archive: str, path: Path, root: Path, mirror: str | None) -> None:
        """Download, verify, extract, verify, and only then give the file its name."""
        tried = []
        packed, extracted = temporary(path), temporary(path)
        try:
            for base in self._places(root, mirror):
                url = base.rstrip("/") + "/" + archive
                try:
                    _download(url, packed)
                except (OSError, HTTPException, ValueError) as error:
                    if not isinstance(error, urllib.error.URLError) and packed.parent.is_dir():
                        _raise_if_disk(error)
                    tried.append(f"  {url}: {getattr(error, 'reason', error)}")
                    continue
                if _md5(packed) != self.md5[archive]:
                    size = packed.stat().st_size
                    tried.append(f"  {url}: {size} bytes came, with another MD5 than published")
                    continue
                try:
                    with gzip.open(packed) as source, open(extracted, "wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    tried.append(f"  {url}: {error}")
                    continue
                published = self.md5_extracted or {}
                fault = self._fault(extracted, path.name, published.get(path.name))
                if fault:
                    tried.append(f"  {url}: {fault}")
                    continue
                if path.name not in published:
                    with whole(_note(path)) as note:
                        note.write(_md5(extracted) + "\n")
                os.replace(extracted, path)
                return
        finally:
            packed.unlink(missing_ok=True)
            extracted.unlink(missing_ok=True)
        raise Unavailable(
            f"{archive} ({self.name}) cannot be had. Tried:\n" + "\n".join(tried) + "\n"
            "Three ways out: connect to the network; put the .gz files into a folder (or behind a "
            "URL) and set\nMNIST_LAB_MIRROR to it; or take data=digits, which needs no download."
        )


class Digits(Source):
    """scikit-learn's 1,797 bundled 8x8 digits, in MNIST's form: 20x20 in the middle of 28x28.

    A fifth of them, drawn once per class in proportion, is the test split.
    """

    incidental = ("root",)

    def __init__(self) -> None:
        super().__init__("digits", [str(d) for d in range(10)], {"train": 1437, "test": 360})

    def prepare(self, root: Path, mirror: str | None) -> None:
        """Nothing to do: the images come with scikit-learn."""

    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        pixels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) * (255 / 16)
        images = torch.nn.functional.interpolate(images, size=20, mode="bilinear")
        images = torch.nn.functional.pad(images, (4, 4, 4, 4)).round().to(torch.uint8)
        indices = train_test_split(
            np.arange(len(labels)), test_size=self.sizes["test"], random_state=0, stratify=labels
        )
        chosen = np.sort(indices[0 if split == "train" else 1])
        return images[chosen], torch.from_numpy(labels)[chosen].long()


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".md5")


def _as_url(mirror: str) -> str:
    return mirror if "://" in mirror else Path(mirror).expanduser().resolve().as_uri()


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(url: str, path: Path) -> None:
    from tqdm import tqdm

    with urllib.request.urlopen(url, timeout=30) as response, open(path, "wb") as target:
        length = response.headers.get("Content-Length")
        log.info("Downloading %s", url)
        with tqdm(
            total=int(length) if length else None, unit="B", unit_scale=True, disable=None
        ) as bar:
            while chunk := response.read(1 << 18):
                target.write(chunk)
                bar.update(len(chunk))


def _raise_if_disk(error: Exception) -> None:
    """A disk's trouble is no reason to try the next mirror."""
    import errno

    disk = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG}
    if isinstance(error, OSError) and error.errno in disk:
        raise error
