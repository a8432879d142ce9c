"""What every model shares: preprocessing, loss, metrics, optimizer and schedule."""

import copy
import csv
from functools import partial

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from sklearn import metrics
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Rprop
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader
from torchvision.transforms import Resize

from mnist_lab import LabError
from mnist_lab.data import DataModule, Source, TensorLoader
from mnist_lab.models import MLP, Classifier, schedules
from mnist_lab.settings.conf import make
from mnist_lab.training.handover import HandOver


def make_trainer(**settings) -> L.Trainer:
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(
        **quiet | {**settings, "callbacks": [HandOver(), *settings.get("callbacks", ())]}
    )


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8))


class Recorder(Callback):
    """What each training step was made with, and its loss."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.running: list[tuple[float, float]] = []
        self.batches: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, trainer, model, batch, batch_idx) -> None:
        self.batches.append(batch)
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx) -> None:
        self.losses.append(outputs["loss"].item())
        self.running.append(model.running())


# Preprocessing


@pytest.mark.parametrize("resize", ["bilinear", "pad"])
def test_bytes_and_floats_from_0_to_1_are_the_same_image(resize):
    model = MLP(hidden=[4], image_size=32, resize=resize)
    images = noise(3, 1, 28, 28)
    shown, of_floats = model.preprocess(images), model.preprocess(images / 255)
    # Resized bytes are whole grey levels again, from which half of one may be missing.
    atol = 0.5001 / 255 if resize == "bilinear" else 0
    torch.testing.assert_close(shown, of_floats, rtol=0, atol=atol)


def test_images_are_normalised_channel_by_channel():
    model = MLP(hidden=[4], in_channels=3)
    mean, std = [0.1, 0.2, 0.3], [0.5, 2.0, 4.0]
    model.mean[:, 0, 0], model.std[:, 0, 0] = torch.tensor(mean), torch.tensor(std)
    images = noise(2, 3, 28, 28)
    expected = np.empty(images.shape)
    for channel in range(3):
        expected[:, channel] = (images[:, channel].numpy() / 255 - mean[channel]) / std[channel]
    np.testing.assert_allclose(model.preprocess(images), expected, atol=1e-6)


@pytest.mark.parametrize(("channels", "given"), [(3, 1), (1, 3)])
def test_images_of_other_channels_are_refused(channels, given):
    model = MLP(hidden=[4], in_channels=channels)
    told = f"model.in_channels={channels}: the images have {given}"
    with pytest.raises(LabError, match=told):
        model(noise(2, given, 28, 28))


@pytest.mark.parametrize("shape", [(28, 28), (40, 40), (20, 45)])
def test_bilinear_resizing_is_torchvisions_and_pillows(shape):
    images = noise(2, 1, *shape) / 255
    ours = MLP(hidden=[4], image_size=32).preprocess(images)
    torch.testing.assert_close(ours, Resize((32, 32), antialias=True)(images), atol=1e-5, rtol=0)
    for image, resized in zip(images, ours, strict=True):
        pillows = Image.fromarray(image[0].numpy()).resize((32, 32), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(resized[0], np.asarray(pillows), atol=1e-5)


@pytest.mark.parametrize(("size", "before"), [(32, 2), (33, 2), (28, 0)])
def test_padding_puts_the_image_in_the_middle_of_zeros_before_normalising(size, before):
    model = MLP(hidden=[4], image_size=size, resize="pad")
    model.mean.fill_(0.25)
    model.std.fill_(0.5)
    images = noise(2, 1, 28, 28)
    padded = np.zeros((2, 1, size, size))
    padded[..., before : before + 28, before : before + 28] = images / 255
    np.testing.assert_allclose(model.preprocess(images), (padded - 0.25) / 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(28, 20), (20, 28), (28, 28)])
def test_padding_cannot_shrink(shape):
    model = MLP(hidden=[4], image_size=27, resize="pad")
    with pytest.raises(LabError, match=r"model.resize=pad: cannot shrink images to \(27, 27\)"):
        model(noise(1, 1, *shape))


@pytest.mark.parametrize("normalize", ["train", "none"])
def test_fit_takes_mean_and_deviation_from_the_training_split(digits, normalize):
    model = MLP(hidden=[4], normalize=normalize)
    make_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0).fit(model, digits)
    pixels = digits.tensors("train")[0].numpy() / 255
    mean, std = (pixels.mean(), pixels.std()) if normalize == "train" else (0, 1)
    assert (model.mean.item(), model.std.item()) == pytest.approx((mean, std), rel=1e-5)


class Flat(Source):
    """Grey images without any feature."""

    def __init__(self) -> None:
        super().__init__("flat", ["0", "1"], {"train": 20, "test": 20})

    def prepare(self, root, mirror) -> None: ...

    def read(self, root, split):
        return torch.full((20, 1, 28, 28), 7, dtype=torch.uint8), torch.arange(20) % 2


def test_flat_images_cannot_be_normalised():
    trainer = make_trainer(max_epochs=1)
    message = "model.normalize=train: all training images are one flat"
    with pytest.raises(LabError, match=message):
        trainer.fit(MLP(hidden=[4], num_classes=2), DataModule(Flat(), val_size=0))


# Training


def smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy against the label's share, and the rest spread over all classes."""
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    truth = log_p[torch.arange(len(labels)), labels]
    return -((1 - smoothing) * truth + smoothing * log_p.mean(1)).mean()


def test_training_is_that_of_a_plain_loop(digits):
    """Same losses, learning rates, values of the epoch and weights, from the same batches."""
    torch.manual_seed(0)
    model = MLP(
        hidden=[16],
        label_smoothing=0.2,
        optimizer=partial(Adam, lr=1.0),
        scheduler=partial(schedules.onecycle, peak=0.01, warmup=0.4),
    )
    plain = copy.deepcopy(model)
    recorder = Recorder()
    trainer = make_trainer(max_epochs=2, callbacks=[recorder])
    trainer.fit(model, digits)

    images, _ = digits.tensors("train")
    plain.mean.fill_((images / 255).mean())
    plain.std.fill_((images / 255).std(correction=0))
    optimizer = Adam(plain.parameters())
    schedule = OneCycleLR(optimizer, 0.01, total_steps=2 * 20, pct_start=0.4)
    losses, hits, sizes, rates = [], [], [], []
    for batch, labels in recorder.batches:
        rates.append(optimizer.param_groups[0]["lr"])
        logits = plain(batch)
        loss = smoothed(logits, labels, 0.2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        hits.append((logits.argmax(1) == labels).sum().item())
        sizes.append(len(labels))

    assert sizes == [*[64] * 19, 1237 - 19 * 64] * 2  # a short last batch, which weighs less
    assert recorder.rates == pytest.approx(rates, rel=1e-9)
    assert recorder.losses == pytest.approx(losses, rel=1e-4)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    loss, accuracy = np.average(losses[20:], weights=sizes[20:]), sum(hits[20:]) / 1237
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(loss, rel=1e-4)
    assert trainer.callback_metrics["train/accuracy"].item() == pytest.approx(accuracy, abs=1e-6)
    assert recorder.running[-1] == pytest.approx((loss, accuracy), rel=1e-4)
    half = np.average(losses[20:30], weights=sizes[20:30]), sum(hits[20:30]) / sum(sizes[20:30])
    assert recorder.running[29] == pytest.approx(half, rel=1e-4)


def test_order_of_an_epoch_is_that_of_its_number(digits):
    recorder = Recorder()
    trainer = make_trainer(max_epochs=2, limit_val_batches=0, callbacks=[recorder])
    trainer.fit(MLP(hidden=[4]), digits)
    _, labels = digits.tensors("train")
    for epoch in range(2):
        seen = torch.cat([batch[1] for batch in recorder.batches[20 * epoch : 20 * epoch + 20]])
        order = np.random.RandomState([digits.seed, epoch]).permutation(len(labels))
        torch.testing.assert_close(seen, labels[order])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_epochs": 2}, 40),
        ({"max_epochs": 2, "limit_train_batches": 0.35}, 14),
        ({"max_epochs": 2, "limit_train_batches": 3, "accumulate_grad_batches": 2}, 4),
        ({"max_epochs": 2, "max_steps": 5}, 5),
        ({"max_epochs": 1, "max_steps": 50}, 20),
        ({"max_epochs": -1, "max_steps": 25}, 25),
    ],
)
def test_a_schedule_is_told_how_many_steps_there_will_be(digits, settings, expected):
    told = []
    model = MLP(hidden=[4], scheduler=lambda optimizer, steps: told.append(steps))
    trainer = make_trainer(limit_val_batches=0, **settings)
    trainer.fit(model, digits)
    assert (told[-1], trainer.global_step) == (expected, expected)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_training_takes_a_loader_without_a_datamodule():
    model = MLP(hidden=[4], normalize="none")
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, TensorLoader(noise(20, 1, 28, 28), torch.arange(20) % 10, 5))
    assert trainer.global_step == 4


def test_the_given_optimizer_keeps_its_rate_without_a_schedule(digits):
    model = MLP(hidden=[4], optimizer=partial(SGD, lr=0.05, momentum=0.8))
    recorder = Recorder()
    trainer = make_trainer(max_epochs=1, limit_val_batches=0, callbacks=[recorder])
    trainer.fit(model, digits)
    (optimizer,) = trainer.optimizers
    assert type(optimizer) is SGD
    assert optimizer.param_groups[0]["momentum"] == 0.8
    assert recorder.rates == [0.05] * 20
    assert trainer.lr_scheduler_configs == []
    assert trainer.callback_metrics["lr"].item() == pytest.approx(0.05)


def test_weight_decay_of_weights_spares_biases_and_norms():
    model = make(
        "model/bn_cnn", decay="weights", optimizer=partial(AdamW, lr=0.5, weight_decay=0.1)
    )
    model.total_steps = 1
    optimizer = model.configure_optimizers()
    shrunk, spared = optimizer.param_groups
    assert (shrunk["weight_decay"], spared["weight_decay"], spared["lr"]) == (0.1, 0, 0.5)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, kinds)]
    assert list(map(id, shrunk["params"])) == list(map(id, kernels))
    rest = [p for p in model.parameters() if p.ndim == 1]
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    assert {id(p) for p in spared["params"]} == {id(p) for p in rest}

    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, before[name] * (1 if p.ndim == 1 else 1 - 0.5 * 0.1))


def test_weight_decay_is_of_all_parameters_unless_it_is_told_otherwise():
    model = MLP(hidden=[4], optimizer=partial(AdamW, weight_decay=0.1))
    model.total_steps = 1
    (group,) = model.configure_optimizers().param_groups
    assert len(group["params"]) == len(list(model.parameters()))


def test_every_nth_step_is_logged_with_its_loss_and_rate(digits, tmp_path):
    model = MLP(hidden=[4], scheduler=schedules.cosine)
    recorder, logger = Recorder(), CSVLogger(tmp_path)
    trainer = make_trainer(
        max_epochs=2, log_every_n_steps=5, logger=logger, callbacks=[recorder], limit_val_batches=0
    )
    trainer.fit(model, digits)
    with open(tmp_path / "lightning_logs/version_0/metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["lr_step"]]
    assert [int(row["step"]) for row in rows] == [4, 9, 14, 19, 24, 29, 34, 39]
    losses = [float(row["train/loss_step"]) for row in rows]
    assert losses == pytest.approx(recorder.losses[4::5])
    rates = [float(row["lr_step"]) for row in rows]
    assert rates == pytest.approx(recorder.rates[4::5])


# Evaluation


def check_evaluation(model: Classifier, logged: dict, split: str, data: DataModule) -> None:
    """The model's metrics of the split against scikit-learn's of its predictions."""
    images, labels = data.tensors(split)
    with torch.no_grad():
        probabilities = model.eval()(images).double().softmax(1)
    guesses, classes = probabilities.argmax(1), range(model.num_classes)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, guesses, zero_division=0
    )
    expected = {
        "loss": metrics.log_loss(labels, probabilities, labels=classes),
        "accuracy": metrics.accuracy_score(labels, guesses),
        "precision": precision.mean(),
        "recall": recall.mean(),
        "f1": f1.mean(),
    }
    values = {k.split("/")[1]: v.item() for k, v in logged.items() if k.startswith(f"{split}/")}
    assert values == pytest.approx(expected, rel=1e-4)
    confusion = metrics.confusion_matrix(labels, guesses, labels=classes)
    np.testing.assert_array_equal(model.scores[split].confusion, confusion)
    assert model.scores[split].by_class.keys() == {"precision", "recall", "f1"}
    occurring = np.union1d(labels, guesses)
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(model.scores[split].by_class[name][occurring], values, rtol=1e-5)
        assert model.scores[split].by_class[name].isnan().sum() == model.num_classes - len(
            occurring
        )


@pytest.mark.parametrize("rate", [0.01, 0.0])
def test_metrics_are_scikit_learns(digits, rate):
    """Also those of a model that never guesses some classes, two of which do not occur."""
    torch.manual_seed(0)
    digits.eval_batch_size = 77  # so that the last batch is a short one
    model = MLP(
        hidden=[64],
        dropout=0.3,
        num_classes=12,
        label_smoothing=0.2,
        optimizer=partial(Adam, lr=rate),
    )
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, digits)
    check_evaluation(model, trainer.callback_metrics, "val", digits)
    trainer.test(model, digits, verbose=False)
    check_evaluation(model, trainer.callback_metrics, "test", digits)
    assert (model.scores["val"].confusion.sum(), model.scores["test"].confusion.sum()) == (200, 360)
    guessed = model.scores["test"].confusion.sum(0)
    assert (rate > 0) == (guessed[:10] > 0).all()


def test_predictions_are_logits_of_batches_with_or_without_labels():
    model = MLP(hidden=[4], dropout=0.5)
    images = noise(10, 1, 28, 28)
    for loader in (DataLoader(images, 6), TensorLoader(images, torch.zeros(10), 6)):
        logits = make_trainer().predict(model, loader)
        assert [len(part) for part in logits] == [6, 4]
        torch.testing.assert_close(torch.cat(logits), model.eval()(images))


# Settings


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: should be less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing="),
        ({"num_classes": 0}, "num_classes=0: should be greater"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"image_size": 0}, "image_size=0"),
        ({"optimizer": partial(Adam, lr=-1)}, "learning rate: -1"),
        ({"optimizer": partial(SGD, lr=0.1, momentum=-1)}, "momentum value: -1"),
        (
            {"scheduler": partial(schedules.onecycle, peak=0.1, warmup=2.0)},
            "scheduler: warmup=2.0: should be less than",
        ),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"decay": "weights", "optimizer": Rprop}, "decay=weights: Rprop has no weight_decay"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(ValueError, match=text):
        MLP(**{"hidden": [4]} | settings)
