"""What is on the dashboard: in its files, over HTTP, and on the page in a browser."""

import io
import json
import re
import shutil
import time
from functools import partial
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import polars
import pytest
import torch
from lightning.pytorch import seed_everything
from PIL import Image
from sklearn import metrics
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from mnist_lab import models
from mnist_lab.data import DataModule, Digits, RandomAffine
from mnist_lab.models import MLP, ConvNet, LeNet
from mnist_lab.reports import dashboard
from mnist_lab.reports.events import FIGURES
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer
from tests.reports.served import tensorboard

CLASSES = [str(k) for k in range(10)]
FINAL = [
    *("final/test_accuracy", "final/val_accuracy", "final/test_loss", "final/val_loss"),
    *("final/test_f1", "final/test_precision", "final/test_recall", "final/best_epoch"),
    *("final/parameters", "final/images_per_second", "final/fit_seconds"),
]


UNDRAWN = {"figures": None, "tables": None, "report": None}


def train(folder, model=None, epochs=2, every=5, resume=False, others=UNDRAWN, **settings):
    seed_everything(3, verbose=False)
    data = DataModule(Digits(), **{"val_size": 200, "seed": 3, **settings})
    trainer = default_trainer(
        folder,
        max_epochs=epochs,
        accelerator="cpu",
        callbacks={
            "dashboard": {"pictures_every": every},
            "early_stopping": {"patience": 99},
            **others,
        },
    )
    model = model or LeNet(optimizer=partial(torch.optim.Adam, lr=2e-3))
    return run.train(data, model, trainer, resume=resume), data, model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs below one folder, as `outputs/` has them: one with augmentation, one of all data."""
    root = tmp_path_factory.mktemp("outputs")
    augment = RandomAffine(shift=2)
    one = train(root / "digits/lenet/one", augment=augment, others={})
    train(root / "digits/mlp/two", MLP(hidden=(16,)), epochs=1, val_size=0, others={})
    return root, one


def read(folder):
    events = EventAccumulator(str(folder / "tensorboard"), {"images": 0, "tensors": 0})
    events.Reload()
    return events


def last(events, tag):
    return events.Scalars(tag)[-1].value


def pixels(events, tag, index=-1):
    image = events.Images(tag)[index]
    content = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))
    assert content.shape == (image.height, image.width, 3)
    return content


def test_scores_of_each_class_are_scikit_learns(runs):
    root, (result, data, _) = runs
    folder = root / "digits/lenet/one"
    events = read(folder)
    table = polars.read_csv(folder / "predictions.csv")
    truth, guess = table["truth"].to_numpy(), table["prediction"].to_numpy()
    expected = metrics.f1_score(truth, guess, average=None)
    for k in range(10):
        assert last(events, f"test_f1/{k}") == pytest.approx(expected[k], abs=1e-6)
    # Validation: the last epoch's weights, two values of each.
    model = models.load(folder / "checkpoints/last.ckpt")
    images, labels = data.tensors("val")
    with torch.no_grad():
        expected = metrics.f1_score(labels, model(images).argmax(1), average=None)
    for k in range(10):
        assert len(events.Scalars(f"val_f1/{k}")) == 2
        assert last(events, f"val_f1/{k}") == pytest.approx(expected[k], abs=1e-6)
    assert result.epochs == 2


def test_precision_recall_curves_count_as_scikit_learn_does(runs):
    folder = runs[0] / "digits/lenet/one"
    events = read(folder)
    table = polars.read_csv(folder / "predictions.csv")
    truth = table["truth"].to_numpy()
    for k in (0, 7):
        (event,) = events.Tensors(f"test_pr/{k}")
        tp, fp, tn, fn, precision, recall = np.array(event.tensor_proto.float_val).reshape(6, -1)
        given = table[f"p{k}"].to_numpy()
        for index in (20, 63, 100):
            said = given >= index / (len(tp) - 1)
            matrix = metrics.confusion_matrix(truth == k, said)
            assert matrix.ravel().tolist() == [tn[index], fp[index], fn[index], tp[index]]
            assert recall[index] == pytest.approx(metrics.recall_score(truth == k, said), abs=1e-6)
        assert precision[0] == pytest.approx((truth == k).mean(), abs=1e-6)


def test_pictures_of_inputs_are_pixel_for_pixel_what_the_network_sees(runs):
    root, (_, data, _) = runs
    shown = pixels(read(root / "digits/mlp/two"), "inputs")
    images = DataModule(Digits(), val_size=0).tensors("train")[0]
    for index in (0, 7, 8, 31):  # from row to row, twice as large, 2 pixels apart, 20 at the left
        row, column = divmod(index, 8)
        top, left = 58 * row, 20 + 58 * column
        cell = shown[top : top + 56, left : left + 56]
        assert (cell[::2, 1::2] == images[index, 0].numpy()[..., None]).all()
    # Of a network for 32x32, with augmentation: each once more on the right, moved.
    beside = pixels(read(root / "digits/lenet/one"), "inputs")
    left, right = np.split(beside, 2, axis=1)
    resized = torch.nn.functional.interpolate(
        data.tensors("train")[0][9:10].float(), (32, 32), mode="bilinear", antialias=True
    )
    cell = left[66 : 66 + 64 : 2, 20 + 66 : 20 + 66 + 64 : 2, 0]
    np.testing.assert_allclose(cell, resized[0, 0].numpy(), atol=1)
    assert 0.05 < (left != right).mean() < 0.6
    assert left.mean() == pytest.approx(right.mean(), rel=0.1)


def test_the_grid_leaves_the_random_numbers_alone(digits):
    digits.augment = RandomAffine(10, 0.1, 2)
    model = LeNet(normalize="none")
    state = torch.get_rng_state()
    dashboard._inputs(model, digits)
    assert torch.equal(state, torch.get_rng_state())


def test_figures_are_those_of_the_folder(runs):
    folder = runs[0] / "digits/lenet/one"
    events = read(folder)
    drawn = {**FIGURES}
    del drawn["corruptions"]  # which nobody asked for
    assert "test/corruptions" not in events.Tags()["images"]
    for name, tag in drawn.items():
        (image,) = events.Images(tag)
        assert image.encoded_image_string == (folder / "figures" / f"{name}.png").read_bytes()
    # Images are shown as they are stored, not as 16-bit numbers: the page is white around them.
    assert (pixels(events, "mistakes")[:, 0] == 255).all()
    assert (pixels(events, "mistakes")[-40:, :20] == 255).all()


def test_the_validation_confusion_is_drawn_every_few_epochs(tmp_path):
    result, _, model = train(tmp_path, MLP(hidden=(16,)), epochs=6, every=3)
    events = read(tmp_path)
    steps = result.steps // 6
    drawn = [event.step for event in events.Images("val/confusion")]
    assert drawn == [steps - 1, 4 * steps - 1, 6 * steps - 1]
    assert drawn[-1] == events.Scalars("Accuracy/val")[-1].step
    expected = dashboard._confusion(model.scores["val"].confusion, CLASSES)
    assert (pixels(events, "val/confusion") == expected).all()


def test_a_matrix_of_many_classes_is_drawn_without_numbers():
    counts = torch.diag(torch.full((100,), 5))
    counts[3, 8], counts[3, 3], counts[60] = 4, 0, 0
    drawn = dashboard._confusion(counts, [f"class {k}" for k in range(100)])
    assert drawn.shape == (600, 600, 3)
    cells = drawn[2::6, 3::6, 0]
    expected = np.full((100, 100), 255)
    np.fill_diagonal(expected, 0)
    expected[3, 8], expected[3, 3], expected[60, 60] = 0, 255, 255
    assert (cells == expected).all()


def test_layout_lays_train_and_validation_over_each_other(runs):
    layouts = set()
    for name in ("lenet/one", "mlp/two"):
        (event,) = read(runs[0] / "digits" / name).Tensors("custom_scalars__config__")
        layouts.add(event.tensor_proto.string_val[0])
    assert len(layouts) == 1  # or each would have charts of its own
    layout = layout_pb2.Layout.FromString(layouts.pop())
    charts = {chart.title: chart.multiline.tag for each in layout.category for chart in each.chart}
    tags = read(runs[0] / "digits/lenet/one").Tags()["scalars"]
    chosen = {
        title: [tag for tag in tags if any(re.match(pattern, tag) for pattern in patterns)]
        for title, patterns in charts.items()
    }
    assert sorted(chosen["loss"]) == ["Loss/train", "Loss/val"]
    assert sorted(chosen["accuracy"]) == ["Accuracy/train", "Accuracy/val"]
    assert chosen["validation"] == [f"val_f1/{k}" for k in range(10)]
    assert chosen["test"] == [f"test_f1/{k}" for k in range(10)]


def hyperparameters(events):
    def content(tag):
        plugin = events.summary_metadata[tag].plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(plugin)

    experiment = content("_hparams_/experiment").experiment
    start = content("_hparams_/session_start_info").session_start_info
    given = {k: v.string_value or v.number_value for k, v in start.hparams.items()}
    return given, [metric.name.tag for metric in experiment.metric_infos]


def test_hyperparameters_and_one_set_of_final_metrics(runs):
    root, (result, *_) = runs
    events = read(root / "digits/lenet/one")
    given, names = hyperparameters(events)
    assert names == FINAL
    expected = {
        "data": "digits", "data.batch_size": 64, "data.val_size": 200, "seed": 3,
        "augment": "RandomAffine", "augment.shift": 2, "model": "lenet", "model.image_size": 32,
        "model.activation": "tanh", "optimizer": "Adam", "optimizer.lr": 2e-3,
        "scheduler": "constant", "trainer.max_epochs": 2,
    }  # fmt: skip
    assert {key: given[key] for key in expected} == expected
    for name in ("val_loss", "val_accuracy", "test_accuracy", "test_f1"):
        expected = result.metrics[name.replace("_", "/")]
        assert last(events, f"final/{name}") == pytest.approx(expected, rel=1e-6)
    assert last(events, "final/best_epoch") == result.best_epoch + 1
    assert last(events, "final/parameters") == 61_706
    assert last(events, "final/fit_seconds") == pytest.approx(result.seconds.fit)


def test_without_validation_there_is_all_that_the_test_gives(runs):
    events = read(runs[0] / "digits/mlp/two")
    scalars = events.Tags()["scalars"]
    assert hyperparameters(events)[1] == FINAL
    assert not [tag for tag in scalars if "val" in tag]
    assert "epoch" not in scalars
    assert sorted(events.Tags()["images"]) == ["filters", "inputs", "mistakes", "test/confusion"]
    assert len([tag for tag in scalars if tag.startswith("test_f1/")]) == 10
    assert 0 < last(events, "images_per_second") < 1e8


QUICK = ["data=digits", "model=mlp", "trainer.max_epochs=1", "trainer.accelerator=cpu",
         *(f"trainer.callbacks.{name}=null" for name in UNDRAWN), "hydra.run.dir=run"]  # fmt: skip


def test_the_configuration_stands_there_as_text(lab_train, tmp_path):
    assert lab_train(*QUICK).status == 0
    (event,) = read(tmp_path / "run").Tensors("configuration/text_summary")
    lines = event.tensor_proto.string_val[0].decode().splitlines()
    stored = (tmp_path / "run/config.yaml").read_text().splitlines()
    assert [line.removeprefix("    ") for line in lines] == stored
    assert all(line.startswith("    ") for line in lines)  # Markdown's way to leave text alone


def test_a_run_that_begins_again_in_its_folder_has_everything_once(tmp_path):
    train(tmp_path, MLP(hidden=(16,)), epochs=1)
    shutil.rmtree(tmp_path / "checkpoints")  # nothing to go on from
    train(tmp_path, MLP(hidden=(16,)), epochs=1, resume=True)
    events = plugin_event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()  # as TensorBoard itself reads: everything is a tensor
    tags = set(events.Tags()["tensors"])
    assert {"Loss/train", "inputs", "val/confusion", "test_pr/0", "final/test_f1"} <= tags
    for tag in tags:
        assert len(events.Tensors(tag)) == 1, tag


def test_embedding_is_what_the_last_layer_is_given(runs):
    root, (_, data, _) = runs
    folder = root / "digits/lenet/one"
    model = models.load(folder).eval()
    images, labels = data.tensors("test")
    vectors = np.loadtxt(folder / "tensorboard/embedding.tsv", delimiter="\t")
    assert vectors.shape == (360, 84)
    last_layer = [m for m in model.network.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(
            last_layer(torch.tensor(vectors).float()), expected, rtol=1e-3, atol=1e-3
        )
    table = polars.read_csv(folder / "tensorboard/embedding_labels.tsv", separator="\t")
    assert table["label"].to_list() == labels.tolist()
    assert table["prediction"].to_list() == expected.argmax(1).tolist()
    sprite = np.asarray(Image.open(folder / "tensorboard/embedding_images.png"))
    assert sprite.shape == (19 * 32, 19 * 32, 3)
    seen = model.preprocess(images) * model.std + model.mean
    for index in (0, 18, 19, 359):
        row, column = divmod(index, 19)
        cell = sprite[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
        torch.testing.assert_close(
            torch.tensor(cell[..., 0]) / 255, seen[index, 0], rtol=0, atol=0.003
        )


def test_colours_and_networks_without_a_hidden_layer(tmp_path):
    class Colours(Digits):
        def read(self, root, split):
            images, labels = super().read(root, split)
            return torch.cat([images, images.flip(2), images // 2], 1), labels

    seed_everything(3, verbose=False)
    data = DataModule(Colours(), val_size=200)
    model = ConvNet(widths=((4,), (4,)), hidden=(), in_channels=3)
    run.train(data, model, default_trainer(tmp_path, max_epochs=1, accelerator="cpu"))
    events = read(tmp_path)
    shown = pixels(events, "inputs")[0:56:2, 20:76:2]
    assert (shown == data.tensors("train")[0][0].permute(1, 2, 0).numpy()).all()
    assert "filters" in events.Tags()["images"]
    assert len(np.loadtxt(tmp_path / "tensorboard/embedding.tsv", delimiter="\t")) == 360


def test_a_wrong_interval_is_refused(lab_train):
    called = lab_train("data=digits", "trainer.callbacks.dashboard.pictures_every=0")
    assert called.status == 1
    assert "pictures_every=0: should be greater than or equal to 1" in called.err


def test_it_can_be_left_out(lab_train, tmp_path):
    called = lab_train(*QUICK, "trainer.callbacks.dashboard=null")
    assert called.status == 0, called.err
    assert read(tmp_path / "run").Tags()["images"] == []


@pytest.fixture(scope="module")
def address(runs):
    """Of a TensorBoard over both runs."""
    with tensorboard(runs[0]) as address:
        yield address


ONE, TWO = "digits/lenet/one/tensorboard", "digits/mlp/two/tensorboard"


def ask(address, route, **query):
    where = f"{address}/data/{route}"
    with urlopen(f"{where}?{urlencode(query)}" if query else where) as answer:
        return answer.read()


def until(address, route, there, **query):
    """The answer, once `there` says that it has what it should."""
    for _ in range(150):
        answer = json.loads(ask(address, route, **query))
        if there(answer):
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{route}: still {answer}")


def test_tensorboard_serves_all_of_it(address, runs):
    every = {"scalars", "custom_scalars", "images", "pr_curves", "text", "hparams", "projector"}

    def active(answer):
        return every <= {name for name, plugin in answer.items() if plugin["enabled"]}

    until(address, "plugins_listing", active)
    assert sorted(json.loads(ask(address, "runs"))) == [ONE, TWO]  # and no run within a run

    tags = until(address, "plugin/scalars/tags", lambda a: "final/fit_seconds" in a.get(ONE, {}))
    assert {"lr", "images_per_second", "Loss/train", "Loss/val", "val_f1/3"} <= tags[ONE].keys()
    values = json.loads(ask(address, "plugin/scalars/scalars", run=ONE, tag="Loss/train"))
    assert len(values) == 2

    layout = json.loads(ask(address, "plugin/custom_scalars/layout"))
    titles = [chart["title"] for category in layout["category"] for chart in category["chart"]]
    assert titles == ["loss", "accuracy", "validation", "test"]
    lines = ask(address, "plugin/custom_scalars/scalars", run=ONE, tag="^Loss/(train|val)$")
    assert sorted(json.loads(lines)["tag_to_events"]) == ["Loss/train", "Loss/val"]

    pictures, events = (
        json.loads(ask(address, "plugin/images/tags"))[ONE],
        read(runs[0] / ONE[:-12]),
    )
    names = ["filters", "inputs", "mistakes", "test/confusion", "val/confusion"]
    assert sorted(pictures) == names
    for name in names:
        entry = json.loads(ask(address, "plugin/images/images", run=ONE, tag=name, sample=0))[-1]
        picture = ask(address, f"plugin/images/individualImage?{entry['query']}")
        shown = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        assert (shown == pixels(events, name)).all()

    curves = json.loads(ask(address, "plugin/pr_curves/tags"))
    assert sorted(curves[ONE]) == [f"test_pr/{k}" for k in range(10)]
    curve = json.loads(ask(address, "plugin/pr_curves/pr_curves", run=ONE, tag="test_pr/3"))
    points = curve[ONE][0]  # TensorBoard leaves out thresholds that nothing reaches
    assert 20 < len(points["precision"]) == len(points["recall"]) <= 127

    text = json.loads(ask(address, "plugin/text/text", run=ONE, tag="configuration/text_summary"))
    assert "\n  lr: 0.002\n" in text[0]["text"]


def test_tensorboard_serves_hyperparameters_of_all_runs(address):
    request = json.dumps({"experimentName": ""}).encode()

    def post(route, content):
        where, form = f"{address}/data/plugin/hparams/{route}", {"Content-Type": "application/json"}
        with urlopen(Request(where, content, form)) as answer:
            return json.loads(answer.read())

    until(address, "plugin/scalars/tags", lambda a: {ONE, TWO} <= a.keys())
    experiment = post("experiment", request)
    assert [metric["name"]["tag"] for metric in experiment["metricInfos"]] == FINAL
    assert {"model", "optimizer.lr", "seed"} <= {each["name"] for each in experiment["hparamInfos"]}
    wanted = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS"]}
    wanted |= {"colParams": [{"metric": {"tag": tag}} for tag in FINAL], "sliceSize": 10}
    groups = post("session_groups", json.dumps(wanted).encode())["sessionGroups"]
    assert sorted(group["hparams"]["model"] for group in groups) == ["lenet", "mlp"]


def test_tensorboard_serves_the_embedding(address):
    until(address, "plugin/projector/runs", lambda a: {ONE, TWO} <= set(a))
    (entry,) = json.loads(ask(address, "plugin/projector/info", run=ONE))["embeddings"]
    assert entry["tensorShape"] == [360, 84]
    name = entry["tensorName"]
    vectors = ask(address, "plugin/projector/tensor", run=ONE, name=name)
    assert np.frombuffer(vectors, np.float32).reshape(360, 84).std() > 0
    labels = ask(address, "plugin/projector/metadata", run=ONE, name=name).decode()
    assert labels.splitlines()[0] == "label\tprediction\tindex"
    assert len(labels.splitlines()) == 361
    sprite = ask(address, "plugin/projector/sprite_image", run=ONE, name=name)
    assert Image.open(io.BytesIO(sprite)).size == (19 * 32, 19 * 32)


def test_the_page_shows_scalars_and_pictures_in_a_browser(address, browser):
    until(address, "plugin/scalars/tags", lambda a: "final/fit_seconds" in a.get(ONE, {}))
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.goto(f"{address}/#timeseries")
    page.locator("scalar-card line-chart").first.wait_for()
    # What it opens on: the first groups, unfolded, are accuracy and loss.
    page.get_by_text("Loss/val").first.wait_for()
    shown = page.locator("scalar-card .tag").all_inner_texts()
    assert ["".join(text.split()) for text in shown][:4] == [
        "Accuracy/train", "Accuracy/val", "Loss/train", "Loss/val",
    ]  # fmt: skip
    page.get_by_text(ONE).first.wait_for()
    page.locator(".group-title", has_text="inputs").first.click()
    page.locator("image-card img").first.wait_for()
    shown = "image => image.complete && image.naturalWidth > 0"
    handle = page.locator("image-card img").first.element_handle()
    page.wait_for_function(shown, arg=handle)
    page.close()
