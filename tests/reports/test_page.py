"""A run's page: whole, alone, and safe."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from mnist_lab.data import DataModule, Digits
from mnist_lab.models import LeNet
from mnist_lab.reports import figures, gallery
from mnist_lab.reports.page import write_report
from mnist_lab.runs.result import Result
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags, texts and attributes of a page whose every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: dict[str, str] = {}
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.addresses += [given[key] for key in ("src", "href", "action", "data") if key in given]
        if tag == "img":
            self.images[given["alt"]] = given["src"]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data.strip("\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two epochs, from Python."""
    path = tmp_path_factory.mktemp("run")
    trainer = default_trainer(path, max_epochs=2, accelerator="cpu")
    run.train(DataModule(Digits(), val_size=200), LeNet(), trainer)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    """A folder with that run's result and nothing else."""
    (tmp_path / "result.json").write_text((folder / "result.json").read_text())
    (tmp_path / "figures").mkdir()
    return tmp_path


def page(folder) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_a_run_draws_its_figures_and_puts_them_on_one_page(folder):
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == {
        "class_distribution", "confusion_matrix", "confusions", "curves", "feature_maps_1",
        "feature_maps_2", "feature_maps_3", "filters", "mistakes", "outputs", "per_class",
        "predictions", "reliability", "samples",
    }  # fmt: skip
    shown = page(folder).images
    assert set(shown) == names
    assert next(iter(shown)) == "curves"
    for name, address in shown.items():
        kind, _, data = address.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == (folder / "figures" / f"{name}.png").read_bytes()
    assert (folder / "report.html").stat().st_size < 3_000_000


def test_the_page_holds_every_number(folder):
    result = json.loads((folder / "result.json").read_text())
    text = page(folder).text
    for key, value in result["metrics"].items():
        assert re.search(rf"{key}\s*{value:.4f}", text), key
    for name, each in result["per_class"].items():
        row = "".join(f"{100 * each[key]:.2f} %" for key in ("precision", "recall", "f1"))
        assert f"{name}{row}{each['support']}" in text
    assert f"{100 * result['metrics']['test/accuracy']:.2f} %test accuracy" in text
    assert "61,706parameters" in text
    assert f"best epoch{result['best_epoch'] + 1} of 2" in text
    assert result["versions"]["torch"] in text
    assert "started from Python" in text


def test_the_page_needs_neither_network_nor_script(folder):
    content = page(folder)
    assert all(address.startswith("data:image/png;base64,") for address in content.addresses)
    assert not {"script", "link", "iframe", "object", "base"} & set(content.tags)
    style = (folder / "report.html").read_text().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_texts_are_escaped(copy):
    result = json.loads((copy / "result.json").read_text())
    bad = '<script>alert("1")</script>&amp;'
    result["per_class"] = {bad: next(iter(result["per_class"].values()))}
    for key in ("model", "dataset", "device", "config_hash"):
        result[key] = f"{bad}{key}"
    result["versions"] = {bad: bad}
    result["git"] = {"commit": bad, "dirty": True}
    config = {"data": {bad: bad}, "model": {}, "trainer": {}}
    (copy / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    Image.new("RGB", (4, 4)).save(copy / "figures" / "per_class.png")
    Image.new("RGB", (4, 4)).save(copy / "figures" / "<script>&amp;.png")
    (copy / "result.json").write_text(json.dumps(result))
    write_report(copy, Result.read(copy))
    content = page(copy)
    assert "script" not in content.tags
    assert content.text.count(bad) == 14
    assert content.text.index("Settings that differ") < content.text.index(f"data.{bad}{bad}")
    assert "<script>&amp;" in content.images


@pytest.mark.slow
def test_large_figures_are_made_small_enough(copy):
    noise = np.random.RandomState(0).randint(0, 255, (1400, 1200, 3)).astype(np.uint8)
    for name in ("samples", "mistakes"):
        Image.fromarray(noise).save(copy / "figures" / f"{name}.png")
    write_report(copy, Result.read(copy))
    assert 500_000 < (copy / "report.html").stat().st_size < 3_000_000
    for address in page(copy).images.values():
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
            assert image.width / image.height == pytest.approx(12 / 14, abs=0.01)
    # Shown as large as before.
    assert 'width="600"' in (copy / "report.html").read_text()


def test_what_is_not_known_is_a_dash(copy):
    result = json.loads((copy / "result.json").read_text())
    result["metrics"]["val/accuracy"] = None
    result["per_class"]["3"] = {"precision": None, "recall": None, "f1": None, "support": 0}
    Image.new("RGB", (4, 4)).save(copy / "figures" / "per_class.png")
    (copy / "result.json").write_text(json.dumps(result))
    write_report(copy, Result.read(copy))
    assert "3---0" in page(copy).text
    assert "-validation accuracy" in page(copy).text


def test_on_a_phone_figures_are_scrolled_not_shrunk_and_in_print_whole(copy, browser):
    names = [f"a long name of a class, number {i}" for i in range(30)]
    drawn = {
        "confusion_matrix": figures.confusion_matrix(np.full((30, 30), 1234), names),
        "mistakes": figures.mistakes(np.zeros((60, 1, 28, 28), np.uint8), np.arange(60) % 30,
                                     np.eye(30)[(np.arange(60) + 1) % 30], names),
    }  # fmt: skip
    gallery.save(copy / "figures", drawn)
    write_report(copy, Result.read(copy))
    opened = browser.new_page()
    for media, width, whole in (
        ("screen", 1280, True), ("screen", 390, False), ("print", 718, True), ("print", 390, True)
    ):  # fmt: skip
        opened.emulate_media(media=media)
        opened.set_viewport_size({"width": width, "height": 900})
        opened.goto((copy / "report.html").as_uri())
        page, *wide = opened.evaluate(
            "[document.documentElement, ...document.querySelectorAll('figure, .wide')]"
            ".map(x => x.scrollWidth <= x.clientWidth)"
        )
        assert page
        assert len(wide) == 3
        assert all(wide) == whole, (media, width)
        sizes = opened.evaluate("[...document.images].map(x => [x.clientWidth, x.naturalWidth])")
        if media == "screen":
            assert all(shown >= 0.84 * there / 2 for shown, there in sizes)
    opened.close()
