"""IDX files: what was written is read, and what is not IDX is refused."""

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnist_lab.data import DataError
from mnist_lab.data.idx import read_idx
from tests.data.archives import (
    idx,
)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_idx_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.getbasetemp() / "round_trip"
    path.write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(path), array, strict=True)


@given(st.binary(max_size=40).flatmap(lambda b: st.sampled_from([b, b"\0\0\x08\1" + b])))
def test_any_bytes_are_read_exactly_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any_bytes"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except DataError:
        return
    assert idx(array) == content


@pytest.mark.parametrize("shape", [(2**31, 28, 28), (2**31,), (2**32 - 1,) * 4])
def test_header_that_claims_too_much_is_refused_without_allocating(tmp_path, shape):
    path = tmp_path / "huge"
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    path.write_bytes(header + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"{len(header) + 100} bytes"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"<html>404 not found</html>",
        b"\0\0\x0d\1" + struct.pack(">I", 4) + bytes(4),  # an IDX file of floats
        b"\0\1\x08\1" + struct.pack(">I", 4) + bytes(4),  # the first two bytes are always 0
        b"\0\0\x08\0" + bytes(1),  # no dimensions
        b"\0\0\x08\3" + struct.pack(">2I", 1, 1),  # two lengths for three dimensions
        idx(np.zeros(5, np.uint8))[:-1],
        idx(np.zeros(5, np.uint8)) + b"\0",
    ],
)
def test_what_is_not_idx_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_idx(path)
