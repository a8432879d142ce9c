"""Small files that ask for much: what they ask for takes 200 MB and more, and they don't get it."""

import bz2
import gzip
import io
import struct
import zipfile

import pytest
import torch

from mnist_lab import models
from mnist_lab.data import FileError
from mnist_lab.data.idx import read_idx
from mnist_lab.data.inputs import open_images
from mnist_lab.data.tables import read_table
from mnist_lab.models import MLP
from tests.reliability.hostile import (
    ALLOWED_MEGABYTES,
    apart,
    archive,
    content,
    put,
    refused,
    sealed,
    tiny,
)

NUMBER = torch.zeros(1, 1)


def of_one_layer(units: int) -> dict:
    return {"hyper_parameters": {"hidden": [units]}}


def of_right_shapes(settings: dict) -> dict:
    """Weights in full, for settings that make something beside the weights large."""
    settings = {"hidden": [1], "image_size": 1, **settings}
    with torch.device("meta"):
        shapes = MLP(**settings).state_dict()
    weights = {name: torch.zeros(weight.shape) for name, weight in shapes.items()}
    return content(state_dict=weights, hyper_parameters=settings)


def one_number_for_all(units: int) -> dict:
    """Each weight is one stored number, of the shape that the settings ask for."""
    weights = {
        "network.1.weight": NUMBER.expand(units, 784),
        "network.1.bias": NUMBER[0].expand(units),
        "network.3.weight": NUMBER.expand(10, units),
        "network.3.bias": NUMBER[0].expand(10),
    }
    own = {"mean": NUMBER.view(1, 1, 1), "std": NUMBER.view(1, 1, 1)}
    return {"state_dict": weights | own, **of_one_layer(units)}


def one_storage_for_all(layers: int) -> dict:
    """Each weight is stored in full, but all in the same place."""
    settings = {"hidden": [1000] * layers, "image_size": 1}
    with torch.device("meta"):
        shapes = MLP(**settings).state_dict()
    stored = torch.zeros(1_000_000)
    weights = {k: stored[: v.numel()].view(v.shape) for k, v in shapes.items()}
    return {"state_dict": weights, "hyper_parameters": settings}


def laughs(depth: int, width: int = 10) -> list:
    """A list of many times the same list of many times the same list, ..."""
    nested: list = [1]
    for _ in range(depth):
        nested = [nested] * width
    return nested


class Zeros:
    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self):
        return bytearray, (self.count,)


def entries(data: bytes) -> tuple[list[bytes], int]:
    """The entries of an archive's directory, and where it begins."""
    end = data.rindex(b"PK\5\6")
    start = struct.unpack_from("<L", data, end + 16)[0]
    found, place = [], start
    while data[place : place + 4] == b"PK\1\2":
        length = 46 + sum(struct.unpack_from("<3H", data, place + 28))
        found.append(data[place : place + length])
        place += length
    return found, start


def closed(body: bytes, count: int, length: int, start: int) -> bytes:
    """With the end record that points at the directory."""
    return body + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, length, start, 0)


def repacked(saved: dict, compression: int) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive(saved))) as old,
        zipfile.ZipFile(buffer, "w", compression, compresslevel=1) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def claiming(size: int) -> bytes:
    """One entry of the directory claims to be larger than the whole file."""
    data = repacked(content(), zipfile.ZIP_STORED)
    found, start = entries(data)
    index = next(i for i, entry in enumerate(found) if b"/data/0" in entry)
    found[index] = found[index][:20] + struct.pack("<2L", size, size) + found[index][28:]
    return closed(data[:start] + b"".join(found), len(found), len(b"".join(found)), start)


def overlapping(copies: int) -> bytes:
    """Many entries of the directory stand for the same bytes."""
    stored = torch.zeros(10**6, dtype=torch.uint8)
    data = repacked(content(x=[stored + i for i in range(2, copies)]), zipfile.ZIP_STORED)
    found, _ = entries(data)
    kept, place, first = bytearray(), 0, None
    for index, entry in enumerate(found):
        place = struct.unpack_from("<L", entry, 42)[0]
        size = struct.unpack_from("<L", entry, 20)[0]
        if size == len(stored) and first is not None:
            start = first
        else:
            start = len(kept)
            name, extra = struct.unpack_from("<2H", data, place + 26)
            kept += data[place : place + 30 + name + extra + size]
            first = start if size == len(stored) else first
        found[index] = entry[:42] + struct.pack("<L", start) + entry[46:]
    return closed(kept + b"".join(found), len(found), len(b"".join(found)), len(kept))


def two_faced(megabytes: int) -> bytes:
    """Two directories: one where the end record points, and an innocent one right before it.

    Python's zipfile goes by the latter, as if something had been put in front of the archive.
    """
    bomb = torch.zeros(megabytes << 20, dtype=torch.uint8)
    data = repacked(content(x=bomb), zipfile.ZIP_DEFLATED)
    found, start = entries(data)
    real = b"".join(found)
    size = [struct.unpack_from("<L", entry, 20)[0] for entry in found]
    shown = b"".join(
        entry[:10] + bytes(2) + entry[12:20] + struct.pack("<2L", n, n) + entry[28:]
        for entry, n in zip(found, size, strict=True)
    )
    return closed(data[:start] + real + shown, len(found), len(real), start)


BOMBS = {
    "a trillion units": lambda: archive(content(**of_one_layer(10**12))),
    "a quarter of a million units": lambda: archive(content(**of_one_layer(250_000))),
    "large images": lambda: archive(content(hyper_parameters={"hidden": [8], "image_size": 4000})),
    "one number for all": lambda: archive(content(**one_number_for_all(250_000))),
    "one number for a trillion": lambda: archive(content(**one_number_for_all(10**12))),
    "one storage for all": lambda: archive(content(**one_storage_for_all(100))),
    "an expanded weight": lambda: archive(
        content(state_dict=tiny().state_dict() | {"network.1.weight": NUMBER.expand(10**12, 1)})
    ),
    "bytearray": lambda: archive(content(x=Zeros(200 << 20))),
    "claims more than it is": lambda: claiming(1 << 30),
    "overlapping": lambda: overlapping(200),
    "two directories": lambda: two_faced(200),
    "laughs": lambda: archive(content(hyper_parameters={"hidden": laughs(9)})),
    "broad laughs": lambda: archive(content(hyper_parameters={"hidden": laughs(3, 500)})),
    "laughing class": lambda: archive(content(mnist_lab={"class": laughs(9)})),
    "many layers": lambda: archive(content(hyper_parameters={"hidden": [1] * 50_000})),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_a_checkpoint_takes_no_more_memory_than_its_size(make, tmp_path):
    path = put(tmp_path, sealed(make()))
    megabytes = path.stat().st_size / 2**20
    outcome = apart(models.load, path)
    assert outcome.told.startswith("LabError: ")
    assert outcome.megabytes < ALLOWED_MEGABYTES + 3 * megabytes
    assert outcome.seconds < 5


@pytest.mark.parametrize("settings", [{"num_classes": 6_000}, {"in_channels": 500_000}], ids=str)
def test_a_model_takes_no_more_memory_than_its_weights(settings, tmp_path):
    path = put(tmp_path, sealed(archive(of_right_shapes(settings))))
    outcome = apart(models.load, path)
    assert outcome.told == "accepted"
    assert outcome.megabytes < ALLOWED_MEGABYTES  # not those of 6,000 x 6,000 counts, say


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: repacked(content(), zipfile.ZIP_DEFLATED), "it is compressed"),
        (lambda: claiming(1 << 30), "it claims to be larger than it is"),
        (lambda: claiming(5000), "it claims to be larger than it is"),
    ],
    ids=["compressed", "claims a gigabyte", "claims a little too much"],
)
def test_an_archive_that_would_expand_is_not_unpacked(make, line, tmp_path):
    assert refused(put(tmp_path, sealed(make()))) == f"not a readable checkpoint: {line}"


def npy(shape: tuple, rest: bytes, order: bool = False) -> bytes:
    told = f"{{'descr': '|u1', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(told).to_bytes(2, "little") + told + rest


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


ZEROS = bytes(400 << 20)
TABLES = {
    "a line without end": lambda: gzip.compress(ZEROS, 1),
    "a line without end, zipped": lambda: zipped("train.csv", ZEROS),
    "a line without end, bzipped": lambda: bz2.compress(ZEROS, 1),
    "an array that is too short": lambda: npy((2**40, 784), b""),
    "an array by columns": lambda: npy((2**40, 784), b"", order=True),
    "an archive of a short array": lambda: zipped("x.npy", npy((2**40, 28, 28), b"")),
    "a header without end": lambda: b"\x93NUMPY\2\0\xff\xff\xff\x7f" + b"(" * 1000,
    "many blank lines": lambda: gzip.compress(b"label,pixel0\n" + b"\n" * len(ZEROS), 1),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_a_packed_table_takes_no_more_memory_than_some_rows(make, tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(make())
    outcome = apart(read_table, path, 10)
    assert outcome.told.startswith(f"{FileError.__name__}: {path}: ")
    assert outcome.megabytes < ALLOWED_MEGABYTES


def test_a_large_archive_is_read_some_rows_at_a_time(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(zipped("x.npy", npy((500_000, 28, 28), bytes(500_000 * 784))))
    outcome = apart(read_all, path)
    assert outcome.told == "accepted"
    assert outcome.megabytes < ALLOWED_MEGABYTES


def read_all(path) -> None:
    assert sum(len(images) for _, images in open_images(path, 500).batches) == 500_000


@pytest.mark.parametrize(
    "shape",
    [
        (2**31, 28, 28),
        (2**31,),
        (2**32 - 1,) * 4,
        (0, 2**32 - 1, 2**32 - 1),  # no bytes, and yet more than there can be
        (2**32 - 1, 2**32 - 1, 0),
    ],
)
@pytest.mark.parametrize("rest", [0, 784])
def test_an_idx_header_that_claims_too_much_takes_no_memory(shape, rest, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(rest))
    outcome = apart(read_idx, path)
    assert outcome.told.startswith(f"{FileError.__name__}: {path}: ")
    assert outcome.megabytes < ALLOWED_MEGABYTES
