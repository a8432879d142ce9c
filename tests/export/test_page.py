"""The page in Chromium: the same logits, drawing by mouse and touch, what stands inside."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mnist_lab import LabError
from mnist_lab.data import DataModule, Digits
from mnist_lab.data.pictures import read_picture
from mnist_lab.export import export
from mnist_lab.export.handed import handed
from mnist_lab.export.samples import Samples, samples
from mnist_lab.export.web_page import web_page
from tests.export.networks import MODELS, logits, network, train

THREE = [(0.3, 0.22), (0.5, 0.14), (0.68, 0.25), (0.6, 0.42), (0.45, 0.48), (0.66, 0.55),
         (0.7, 0.75), (0.5, 0.86), (0.28, 0.78)]  # fmt: skip
SMALL = [(0.05 + 0.25 * x, 0.7 + 0.25 * y) for x, y in THREE]
ONE = [(0.5, 0.1), (0.55, 0.9)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("pages") / "run")


@pytest.fixture(scope="module")
def file(trained):
    """LeNet's page with twenty test images."""
    path = trained.parent / "page.html"
    export(str(trained), str(path), images=20)
    return path


@pytest.fixture
def opened(browser):
    """`opened(path)`: the page from the disk, without a network, and what it complained of."""
    contexts = []

    def call(path, **settings):
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        return page, complaints

    yield call
    for context in contexts:
        context.close()


@pytest.fixture
def page(opened, file):
    page, complaints = opened(file)
    yield page
    assert complaints == []


def shown(networks, images, path):
    """The page of networks that were not trained, with these images."""
    path.write_text(web_page(networks, Samples(images, torch.zeros(len(images)).long(), "")))
    return path


def draw(page, points, by=None):
    """One stroke over shares of the sheet, by the mouse or by a finger."""
    box = page.locator("#sheet").bounding_box()
    (first, *rest) = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points
    ]
    if by is None:
        page.mouse.move(*first)
        page.mouse.down()
        for point in rest:
            page.mouse.move(*point, steps=4)
        page.mouse.up()
        return
    for kind, point in [("touchStart", first), *(("touchMove", p) for p in rest)]:
        finger = [{"x": point[0], "y": point[1]}]
        by.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": finger})
    by.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def in_page(page, images):
    """The logits `(N, K)` that the page's first network gives for its first images."""
    return np.array(
        page.evaluate(
            "n => mnistLab.samples.slice(0, n)"
            ".map(image => [...mnistLab.members[0].network.logits(image)])",
            len(images),
        )
    )


def seen(page):
    return np.array(page.evaluate("[...mnistLab.image()]"), np.uint8).reshape(28, 28)


@pytest.mark.parametrize("name", MODELS)
def test_the_pages_logits_are_the_checkpoints(name, opened, tmp_path):
    images = DataModule(Digits(), val_size=200).tensors("test")[0][:100]
    given = network(name)
    page, complaints = opened(shown([given], images, tmp_path / "a.html"))
    np.testing.assert_allclose(in_page(page, images), logits(given, images), rtol=0, atol=1e-4)
    assert complaints == []


class Odd(nn.Module):
    """What no shipped model has: groups, strides, borders, branches, global pooling."""

    def __init__(self, activation):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 6, (3, 5), padding=(2, 1), dilation=(2, 1), groups=3)
        self.norm = nn.BatchNorm2d(12, affine=False)
        self.last = nn.Linear(12, 10, bias=False)
        self.activation = activation

    def forward(self, x):
        x = self.activation(self.first(x))
        y = nn.functional.pad(self.second(x), (1, 1))
        y = nn.functional.avg_pool2d(y + nn.functional.pad(x, (0, 0)), 3, 2, 1, ceil_mode=True)
        z = nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        x = self.norm(nn.functional.dropout(torch.cat([y, z], 1), training=self.training))
        x = nn.functional.adaptive_avg_pool2d(x, 3).softmax(1).mean((2, 3))
        return self.last(x.relu_() + x)


@pytest.mark.parametrize(
    "activation",
    [nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.LeakyReLU(0.1), nn.ReLU(True)],
    ids=str,
)
def test_operations_that_no_shipped_model_has(activation, opened, tmp_path):
    given = network("mlp", image_size=30, resize="pad")
    given.model.network = Odd(activation).eval()
    nn.init.normal_(given.model.network.last.weight, std=8)
    images = DataModule(Digits(), val_size=200).tensors("test")[0][:5]
    page, _ = opened(shown([given], images, tmp_path / "a.html"))
    np.testing.assert_allclose(in_page(page, images), logits(given, images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("points", "width"), [(THREE, 20), (THREE, 44), (SMALL, 8), (ONE, 20), (ONE, 6)]
)
def test_a_drawing_is_shown_as_predict_reads_it(points, width, page, tmp_path):
    page.locator("#width").fill(str(width))
    draw(page, points)
    data = page.evaluate("mnistLab.sheet.canvas.toDataURL()")
    (tmp_path / "a.png").write_bytes(base64.b64decode(data.partition(",")[2]))
    expected = read_picture(tmp_path / "a.png")
    difference = np.abs(seen(page).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).sum() <= 5


def test_the_answer_is_the_networks_on_what_is_shown(page, trained):
    draw(page, THREE)
    expected = handed([str(trained)])[0].model(torch.from_numpy(seen(page))[None, None])
    (share, guess) = expected.softmax(1)[0].max(0)
    page.locator("#threshold").fill("0")
    assert page.locator(".best").inner_text() == str(int(guess))
    assert page.locator(".likeliest th").inner_text() == str(int(guess))
    told = page.locator(".likeliest .value").inner_text()
    assert told == f"{100 * float(share):.1f} %"
    page.locator("#threshold").fill("99")
    assert page.locator(".best").inner_text() == "?"
    assert "know: " in page.locator(".words").inner_text()
    assert "know: " in page.locator("#spoken").inner_text()


def test_the_answers_shares_are_those_at_the_temperature(opened, trained, tmp_path):
    export(str(trained), str(tmp_path / "a.html"), images=5, temperature=3)
    page, complaints = opened(tmp_path / "a.html")
    page.locator(".sample").first.click()
    found = handed([str(trained)])[0].model(torch.from_numpy(seen(page))[None, None])
    share, guess = (found / 3).softmax(1)[0].max(0)
    assert page.locator(".likeliest th").inner_text() == str(int(guess))
    assert page.locator(".likeliest .value").inner_text() == f"{100 * float(share):.1f} %"
    assert "Temperature\t3" in page.locator("#facts").inner_text()
    assert complaints == []


def test_undo_clear_and_eraser(page):
    assert page.evaluate("mnistLab.image()") is None
    draw(page, THREE)
    one = seen(page)
    draw(page, ONE)
    assert (seen(page) != one).any()
    page.locator("#undo").click()
    assert (seen(page) == one).all()
    page.get_by_label("Eraser").check()
    draw(page, [(0.2, 0.2), (0.8, 0.2)])
    assert (seen(page) != one).any()
    page.locator("#clear").click()
    assert page.evaluate("mnistLab.image()") is None
    assert page.locator(".best").inner_text() == "?"


def test_a_finger_draws_and_does_not_scroll(opened, file):
    page, _ = opened(file, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 700})
    draw(page, THREE, by=page.context.new_cdp_session(page))
    page.wait_for_timeout(100)
    assert page.evaluate("mnistLab.sheet.strokes.length") == 1
    assert page.evaluate("window.scrollY") == 0
    assert seen(page).max() == 255


def test_keys_draw_too(page):
    page.locator("#sheet").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    tall = np.flatnonzero(seen(page).any(1))
    assert (tall[0], tall[-1]) == (4, 23)
    page.keyboard.press("Backspace")
    assert page.evaluate("mnistLab.image()") is None


def test_a_test_image_is_shown_as_it_is_until_it_is_edited(page, trained):
    travelling = samples(handed([str(trained)])[0], 20).images
    page.locator(".sample").nth(3).click()
    assert (seen(page) == travelling[3, 0].numpy()).all()
    draw(page, [(0.05, 0.05), (0.95, 0.05)])
    changed = np.argwhere(seen(page) != travelling[3, 0].numpy())
    assert changed[:, 0].max() <= 3
    assert len(changed) > 20


def test_test_images_are_counted_with_channels_switched_off(page, trained):
    given = handed([str(trained)])[0]
    travelling = samples(given, 20)
    with torch.no_grad():
        right = int((given.model(travelling.images).argmax(1) == travelling.labels).sum())
    page.wait_for_timeout(500)
    assert page.locator(".count").inner_text().startswith(f"{right} of 20 right")
    wrong = page.locator(".sample.wrong").count()
    assert wrong == 20 - right > 0
    last = page.locator(".layer canvas").last
    last.focus()
    page.keyboard.press("Enter")
    page.get_by_label("This unit is on").uncheck()
    page.wait_for_timeout(500)
    weight = given.model.network[-1]
    with torch.no_grad():
        weight.weight[0], weight.bias[0] = 0, 0
        right = int((given.model(travelling.images).argmax(1) == travelling.labels).sum())
    assert page.locator(".count").inner_text().startswith(f"{right} of 20 right")
    assert page.locator(".count").inner_text().endswith("with 1 switched off")
    page.locator("#all-on").click()
    assert page.locator("#all-on").is_hidden()


def value_of(text):
    """The number that a text ends in, with its typographic minus."""
    return float(text.split()[-1].replace("\u2212", "-"))


def reading(page):
    return value_of(page.locator(".reading").inner_text())


def test_a_cell_is_explained_in_numbers_that_add_up(page, trained):
    model = handed([str(trained)])[0].model
    draw(page, THREE)
    with torch.no_grad():
        shown = model.preprocess(torch.from_numpy(seen(page))[None, None])
        maps = model.network[0](shown)[0]
    page.locator(".layer canvas").nth(1).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("PageDown")
    for _ in range(9):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    value = float(maps[1, 9, 9])
    assert reading(page) == pytest.approx(value, abs=0.01 * max(1, abs(value)))
    assert "map 2 of 6, row 10, column 10" in page.locator("#cell").inner_text()
    patch, weights = page.locator("#cell .grid").all()
    cells = [value_of(text) for text in patch.locator("td").all_inner_texts()]
    np.testing.assert_allclose(cells, shown[0, 0, 9:14, 9:14].flatten(), atol=0.006)
    cells = [value_of(text) for text in weights.locator("td").all_inner_texts()]
    np.testing.assert_allclose(cells, model.network[0].weight[1, 0].detach().flatten(), atol=0.006)
    *_, total, after = page.locator("#cell .total").all_inner_texts()
    assert value_of(total) == pytest.approx(reading(page), abs=0.02)
    assert value_of(after) == pytest.approx(np.tanh(value), abs=0.01)


def test_a_unit_is_explained_by_the_inputs_that_drive_it_most(opened, tmp_path):
    given = network("mlp", hidden=[5])
    images = DataModule(Digits(), val_size=200).tensors("test")[0][:3]
    page, complaints = opened(shown([given], images, tmp_path / "a.html"))
    page.locator(".sample").first.click()
    page.locator(".layer canvas").nth(1).focus()
    page.keyboard.press("Enter")
    with torch.no_grad():
        inputs = given.model.preprocess(images[:1]).flatten()
        parts = inputs * given.model.network[1].weight[0]
    most = parts.abs().argsort(descending=True)[:8]
    told = page.locator(".inputs tbody tr").all()
    assert len(told) == 8
    for row, i in zip(told, most.tolist(), strict=True):
        assert row.locator("th").inner_text() == f"{i // 28 + 1}, {i % 28 + 1}"
        contribution = value_of(row.locator("td").last.inner_text())
        assert contribution == pytest.approx(float(parts[i]), abs=0.002)
    assert page.locator(".over canvas").count() == 1
    assert complaints == []


def test_two_networks_beside_each_other(opened, trained, tmp_path):
    export([str(trained), str(trained)], str(tmp_path / "a.html"), images=5)
    page, complaints = opened(tmp_path / "a.html")
    draw(page, THREE)
    assert page.locator(".answer h3").all_inner_texts() == ["lenet 1", "lenet 2"]
    assert len(set(page.locator(".best").all_inner_texts())) == 1
    page.get_by_role("radio", name="lenet 2").check()
    assert page.locator(".layers:visible").count() == 1
    assert complaints == []


@pytest.mark.parametrize("width", [360, 390, 1280, 2000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(width, scheme, opened, file):
    page, complaints = opened(file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    draw(page, THREE)
    page.locator(".layer canvas").nth(4).click(position={"x": 20, "y": 20})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


def test_facts_and_labels(page, trained):
    result = json.loads((trained / "result.json").read_text())
    told = page.locator("#facts").inner_text()
    assert f"{100 * result['metrics']['test/accuracy']:.2f} % of 360 images" in told
    assert "61,706" in told
    assert page.title() == "lenet on digits"
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, canvas[tabindex]')].filter(e =>"
        " !(e.hidden || e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
    )
    assert nameless == 0


def test_the_file_is_small_and_asks_for_nothing(trained, tmp_path):
    text = export(str(trained), str(tmp_path / "a.html")).read_text()
    assert len(text) < 1_200_000
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    assert str(Path.home()) not in text


class Unknown(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10].cumsum(1)


def test_an_operation_that_the_page_does_not_know_is_named():
    given = network("mlp")._replace(checkpoint="RUN")
    given.model.network = nn.Sequential(Unknown())
    with pytest.raises(LabError, match=r"RUN: the page doesn't know .* aten.slice") as e:
        web_page([given], None)
    assert "\n" not in str(e.value)


def test_colours_and_other_classes_are_refused(trained, tmp_path):
    with pytest.raises(LabError, match=r"takes images of 3 x 28 x 28; the page draws"):
        web_page([network("mlp", (3, 28, 28), in_channels=3)], None)
    content = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    content["mnist_lab"] |= {"sealed": False}
    content["mnist_lab"]["data"] |= {"classes": list("abcdefghij")}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(LabError, match=r"has the classes a, b, c"):
        export([str(trained), str(tmp_path / "a.ckpt")], str(tmp_path / "a.html"))
    with pytest.raises(LabError, match=r"has other classes now; images=0 makes"):
        export(str(tmp_path / "a.ckpt"), str(tmp_path / "a.html"))
    assert not (tmp_path / "a.html").exists()
    page = export(str(tmp_path / "a.ckpt"), str(tmp_path / "a.html"), images=0)
    assert '"labels": []' in page.read_text()
