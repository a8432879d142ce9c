"""A tiny dataset in the form of MNIST's archives, and servers that hold it, well or badly."""

import gzip
import hashlib
import http.server
import resource
import socket
import struct
import threading
import time
from contextlib import contextmanager

import numpy as np

from mnist_lab.data import IDXSource

RANDOM = np.random.RandomState(0)
SIZES = {"train": 40, "test": 10}
ARRAYS = {
    "train-images-idx3-ubyte": RANDOM.randint(256, size=(40, 28, 28)).astype(np.uint8),
    "train-labels-idx1-ubyte": RANDOM.permutation(np.arange(40) % 10).astype(np.uint8),
    "t10k-images-idx3-ubyte": RANDOM.randint(256, size=(10, 28, 28)).astype(np.uint8),
    "t10k-labels-idx1-ubyte": RANDOM.permutation(np.arange(10)).astype(np.uint8),
}
NAMES = list(ARRAYS)


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


RAW = {name: idx(array) for name, array in ARRAYS.items()}
ARCHIVES = {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in RAW.items()}
MD5 = {archive: md5(content) for archive, content in ARCHIVES.items()}
IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
ELEVENTH = idx(np.where(ARRAYS[LABELS] == 9, 10, ARRAYS[LABELS]).astype(np.uint8))


def tiny(*urls, archives=ARCHIVES):
    """A dataset that differs from Fashion-MNIST and KMNIST in its sizes alone."""
    sums = {archive: md5(content) for archive, content in archives.items()}
    return IDXSource("tiny", list("abcdefghij"), SIZES, list(urls), sums)


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@contextmanager
def serving(files, keep=1.0, delay=0.0):
    """An HTTP server on loopback, which sends the first `keep` of each file it announces."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            asked.append(name)
            time.sleep(delay)
            if name not in files:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(files[name][: int(keep * len(files[name]))])

        def log_message(self, *args):
            pass

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def largest_file(size):
    """The operating system lets no file grow beyond `size`, as if the disk were full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def flip_last_bit(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def assert_complete(root):
    for name, raw in RAW.items():
        assert (root / "tiny" / name).read_bytes() == raw
    assert not list(root.rglob("*.part"))


def left_over(root):
    return sorted(path.name for path in (root / "tiny").iterdir() if path.name != ".lock")
