"""What docs/export.md says of exported networks: `python -m benchmarks.exported RUN ...`.

Of each run's network the three forms are written into a temporary folder and held against the
checkpoint, on its dataset's test images; the page runs in Chromium (`apt-get install chromium`).
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from playwright.sync_api import Browser, sync_playwright
from torch import Tensor

from mnist_lab.export import FORMATS, export
from mnist_lab.export.handed import handed
from mnist_lab.export.samples import dataset

BATCHES = (500, 7, 1)
IN_PAGE = 1000  # images that travel with the page that is measured
STROKES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--images", type=int, default=10_000, help="of the test split, at most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for run in arguments.runs:
            measure(run, Path(folder), browser, arguments.images)
        browser.close()


def measure(run: str, folder: Path, browser: Browser, count: int) -> None:
    """Print what there is to say of one run."""
    (network,) = handed([run])
    images, _ = dataset(network).tensors("test")
    images = images[:count]
    expected = batched(lambda part: network.model(part), images, 500)
    print(f"{network.facts['model']}, {len(images):,} images")
    files = {}
    for form in FORMATS:
        start = time.perf_counter()
        files[form] = export(run, str(folder / f"network.{form}"), overwrite=True)
        spent = time.perf_counter() - start
        print(f"  .{form}: {files[form].stat().st_size:,} bytes, {spent:.1f} s")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(files["onnx"], options)
    program = torch.export.load(files["pt2"]).module()
    for name, run_on in (
        (
            "onnx",
            lambda part: torch.from_numpy(session.run(["logits"], {"images": part.numpy()})[0]),
        ),
        ("pt2", program),
    ):
        for size in BATCHES:
            compare(f".{name} by {size}", batched(run_on, images, size), expected)
    same = batched(lambda part: network.model(part), images[:700], 7)
    compare(".pt2 by 7, against the checkpoint by 7", batched(program, images[:700], 7), same)
    in_page(run, folder, browser, expected)
    strokes(files["html"], browser)


@torch.no_grad()
def batched(run_on: Callable[[Tensor], Any], images: Tensor, size: int) -> Tensor:
    return torch.cat([run_on(part) for part in torch.split(images, size)])


def compare(what: str, found: Tensor, expected: Tensor) -> None:
    expected = expected[: len(found)]
    worst = float((found - expected).abs().max())
    others = int((found.argmax(1) != expected.argmax(1)).sum())
    print(f"  {what}: logits within {worst:.1e}, {others} other labels of {len(found):,}")


def in_page(run: str, folder: Path, browser: Browser, expected: Tensor) -> None:
    """The page's logits of the test images that travel along, the first of the split here."""
    from mnist_lab.export.samples import Samples
    from mnist_lab.export.web_page import web_page

    (network,) = handed([run])
    images, labels = (part[:IN_PAGE] for part in dataset(network).tensors("test"))
    path = folder / "all.html"
    path.write_text(web_page([network], Samples(images, labels, "")))
    page = browser.new_page()
    page.goto(path.as_uri())
    found = page.evaluate(
        "mnistLab.samples.map(image => [...mnistLab.members[0].network.logits(image)])"
    )
    compare(".html", torch.from_numpy(np.array(found, np.float32)), expected)
    page.close()


def strokes(path: Path, browser: Browser) -> None:
    """From a pointer's move to the frame that shows the answer, of a hundred moves."""
    page = browser.new_context(offline=True).new_page()
    page.goto(path.as_uri())
    page.wait_for_timeout(3000)  # until the test images are counted
    page.evaluate(
        """() => {
        window.painted = [];
        document.getElementById('sheet').addEventListener('pointermove', () => {
          const start = performance.now();
          const channel = new MessageChannel();
          channel.port1.onmessage = () => painted.push(performance.now() - start);
          requestAnimationFrame(() => channel.port2.postMessage(null));
        }, { capture: true });
        }"""
    )
    box = page.locator("#sheet").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 100)
    page.mouse.down()
    for step in range(STROKES + 10):
        angle = step / 12
        x, y = 0.5 + 0.3 * np.cos(angle), 0.5 + 0.35 * np.sin(2 * angle)
        page.mouse.move(box["x"] + float(x) * box["width"], box["y"] + float(y) * box["height"])
        page.wait_for_timeout(30)
    page.mouse.up()
    times = page.evaluate("painted")[-STROKES:]
    print(
        f"  .html, stroke to painted answer: median {statistics.median(times):.1f} ms, worst "
        f"{max(times):.1f} ms of {len(times)}"
    )


if __name__ == "__main__":
    main()
