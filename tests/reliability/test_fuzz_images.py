"""Pictures, tables and IDX files of any bytes: a reader ends in a result or in an error of ours."""

import bz2
import gzip
import io
import math
import struct
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from mnist_lab import LabError
from mnist_lab.data.idx import read_idx
from mnist_lab.data.inputs import open_images
from mnist_lab.data.layout import PIXELS
from mnist_lab.data.pictures import read_picture
from tests.reliability.fuzzing import (
    MARKS,
    ends_well,
    fuzz,
    mutated,
)

pytestmark = MARKS


# IDX files

LENGTHS = st.integers(0, 5) | st.sampled_from([2**16, 2**31 - 1, 2**31, 2**32 - 1])


@st.composite
def images(draw) -> bytes:
    """Nearly an IDX file."""
    shape = draw(st.lists(LENGTHS, max_size=5))
    magic = bytes([0, 0, draw(st.sampled_from([8, 8, 8, 9])), len(shape)])
    missing = draw(st.sampled_from([0, 0, 0, -1, 1]))
    body = bytes(max(0, min(math.prod(shape), 1000) + missing))
    return magic + struct.pack(f">{len(shape)}I", *shape) + body


@fuzz
@given(data=st.binary(max_size=100) | images() | images().flatmap(mutated))
@example(data=b"\0\0\x08\3" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1))
def test_read_idx(data, path):
    path.write_bytes(data)
    ends_well(read_idx, path)


# Images to be labelled

TABLE = "".join(",".join(row) + "\n" for row in (PIXELS, *[["0", "255"] * 392] * 3)).encode()
IDX = b"\0\0\x08\3" + struct.pack(">3I", 5, 28, 28) + bytes(5 * 28 * 28)


@cache
def of_numpy(save) -> bytes:
    content = io.BytesIO()
    save(content, np.zeros((3, 28, 28), np.uint8))
    return content.getvalue()


ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w", zipfile.ZIP_DEFLATED) as _archive:
    _archive.writestr("test.csv", TABLE)
OPENED = [TABLE, IDX, ZIP.getvalue(), *map(of_numpy, (np.save, np.savez, np.savez_compressed))]


@cache
def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(content, kind)
    return content.getvalue()


def labelled(path: Path) -> None:
    for _places, pixels in open_images(path, 2).batches:
        assert pixels.shape[1:] == (1, 28, 28)


@fuzz
@given(
    data=st.binary(max_size=100)
    | images()
    | st.sampled_from(OPENED).flatmap(mutated)
    | st.sampled_from(OPENED).map(gzip.compress).flatmap(mutated)
    | st.sampled_from(OPENED).map(bz2.compress).flatmap(mutated)
)
def test_open_images(data, path):
    path.write_bytes(data)
    ends_well(labelled, path)


@fuzz
@given(
    data=st.binary(max_size=100)
    | st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF"])
    .map(picture)
    .flatmap(mutated)
)
def test_read_picture(data, path):
    path.write_bytes(data)
    ends_well(read_picture, path)


@pytest.mark.parametrize("flag", [0x01, 0x20, 0x40])
def test_what_zipfile_cannot_open_in_an_archive(flag, path):
    """Encrypted, a patch, encrypted strongly."""
    content = bytearray(ZIP.getvalue())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= flag
    path.write_bytes(content)
    with pytest.raises(LabError, match="is encrypted, or packed in another way"):
        labelled(path)


def test_a_file_without_a_name_in_an_archive(path):
    """Of which Python's zipfile can't say whether it is a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"")
    content = path.read_bytes()
    end = content.rindex(b"a.npy")
    path.write_bytes(content[:end] + b"\0" + content[end + 1 :])
    with pytest.raises(LabError, match="not a readable archive: a file in it has no name"):
        labelled(path)
