"""Models that somebody else wrote: what is wrong with one is told in a line."""

import lightning.pytorch as L
import pytest
import torch
from torch import nn

from mnist_lab import LabError, models
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import Classifier, LeNet
from mnist_lab.training import run
from mnist_lab.training.checks import check_model
from mnist_lab.training.trainer import default_trainer


def of(network, **settings):
    """A Classifier whose constructor makes this of it."""

    class Mine(Classifier):
        def __init__(self):
            super().__init__(**settings)
            if network is not None:
                self.network = network

    return Mine()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (of(None), "Mine: its constructor must set self.network, from images to logits"),
        (
            of(nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(100, 10))),
            "Mine: network.3 (Linear) takes in_features=100, and is given 2304, as [1, 2304]",
        ),
        (
            of(nn.Sequential(nn.Conv2d(3, 4, 5), nn.Flatten(), nn.Linear(2304, 10))),
            "Mine: network.0 (Conv2d) takes in_channels=3, and is given 1, as [1, 1, 28, 28]",
        ),
        (
            of(nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(8)), nn.Flatten())),
            "Mine: network.0.1 (BatchNorm2d) takes num_features=8, and is given 4, "
            "as [1, 4, 24, 24]",
        ),
        (
            of(nn.Sequential(nn.Flatten(), nn.MaxPool2d(2), nn.Linear(784, 10))),
            "Mine: network.1 (MaxPool2d) cannot take [1, 784]: ",
        ),
        (
            of(nn.Sequential(nn.Flatten(), nn.Linear(784, 9))),
            "Mine: of one image its network makes [1, 9]; logits are [1, 10], a number a class",
        ),
        (
            of(nn.Conv2d(1, 10, 28)),
            "Mine: of one image its network makes [1, 10, 1, 1]; logits are [1, 10]",
        ),
        (
            of(nn.LSTM(28, 10)),
            "Mine: network (LSTM) cannot take [1, 1, 28, 28]: ",
        ),
        (L.LightningModule(), "LightningModule: has no training_step"),
    ],
)
def test_what_does_not_fit_is_named_with_both_sizes(model, told, digits, tmp_path):
    trainer = default_trainer(tmp_path / "run", accelerator="cpu")
    with pytest.raises(LabError) as caught:
        run.train(digits, model, trainer)
    assert str(caught.value).startswith(told)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


class Forgetful(LeNet):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["mine"] = 1


def test_a_hook_that_replaces_the_models_own_is_refused(digits, tmp_path):
    trainer = default_trainer(tmp_path / "run", accelerator="cpu")
    told = r"^Forgetful: its on_save_checkpoint must call super\(\).on_save_checkpoint, too$"
    with pytest.raises(LabError, match=told):
        run.train(digits, Forgetful(), trainer)


class Rows(nn.Module):
    """Reads an image row by row; its recurrent layer gives a tuple."""

    def __init__(self):
        super().__init__()
        self.rows, self.out = nn.LSTM(28, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, images):
        return self.out(self.rows(images[:, 0])[0][:, -1])


class Plane(nn.Module):
    """No layer that there is a name for."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(784, 10))

    def forward(self, images):
        return images.flatten(1) @ self.weight


class Skipping(Classifier):
    """A step of its own, that leaves out every second batch."""

    def __init__(self, **shared):
        super().__init__(**shared)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return None if batch_idx % 2 else nn.functional.cross_entropy(self(images), labels)


class Manual(Skipping):
    """Optimizes by itself, with two optimizers."""

    def __init__(self, **shared):
        super().__init__(**shared)
        self.automatic_optimization = False

    def configure_optimizers(self):
        return [torch.optim.SGD(self.network.parameters(), lr=0.1) for _ in range(2)]

    def training_step(self, batch, batch_idx):
        images, labels = batch
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(images), labels))
            optimizer.step()


class Validating(Skipping):
    """A validation of its own."""

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val/accuracy", (self(images).argmax(1) == labels).float().mean())

    def on_validation_epoch_end(self):
        pass


@pytest.mark.parametrize(
    "model", [of(Rows()), of(Plane()), Skipping(), Manual(), Validating()], ids=lambda m: str(m)[:9]
)
def test_networks_and_steps_of_other_kinds_make_whole_runs(model, digits, tmp_path):
    trainer = default_trainer(
        tmp_path, accelerator="cpu", max_epochs=1, limit_train_batches=4, log_every_n_steps=2
    )
    result = run.train(digits, model, trainer)
    assert (tmp_path / "report.html").exists()
    assert 0 <= result.metrics["test/accuracy"] <= 1
    table = (tmp_path / "metrics.csv").read_text()
    assert "nan" not in table
    assert ("train/loss" in table) == (type(model).training_step is Classifier.training_step)


class Lazy(Classifier):
    """Whose layers find their sizes themselves."""

    def __init__(self, width: int = 4, **shared):
        super().__init__(**shared)
        layers = nn.LazyConv2d(width, 5), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10)
        self.network = nn.Sequential(*layers)


def test_layers_without_a_size_get_it_and_are_read_back(digits, tmp_path):
    trainer = default_trainer(tmp_path, accelerator="cpu", max_epochs=1, limit_train_batches=4)
    model = Lazy()
    run.train(digits, model, trainer, test=False)
    read = models.load(tmp_path, trust=[__name__])
    image = digits.tensors("test")[0][:5]
    with model.judging():
        assert torch.equal(read(image), model(image))


class Given(Digits):
    """Images and labels as somebody's source may have them."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def read(self, root, split):
        return self.change(*super().read(root, split))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda x, y: (x / 255, y),
            r"images .* of torch.uint8, not \[1437, 1, 28, 28\] of torch.fl",
        ),
        (
            lambda x, y: (x[:, 0], y),
            r"images must be a tensor \(N, C, H, W\) .* not \[1437, 28, 28\]",
        ),
        (lambda x, y: (x.numpy(), y), "not .* of uint8"),
        (lambda x, y: (x, y.tolist()), r"labels must be a tensor \(N,\) of torch.int64, not list"),
        (lambda x, y: (x, y + 1), "labels from 1 to 10; those of 10 classes are 0 to 9"),
    ],
)
def test_what_a_source_gives_is_judged(change, told, tmp_path):
    data = DataModule(Given(change), val_size=200)
    trainer = default_trainer(tmp_path, accelerator="cpu")
    with pytest.raises(LabError, match=f"^digits: .*{told}"):
        run.train(data, LeNet(), trainer)


class Dictionaries(DataModule):
    def train_dataloader(self):
        images, labels = self.tensors("train")
        rows = [{"image": x, "label": y} for x, y in zip(images, labels, strict=True)]
        return torch.utils.data.DataLoader(rows, batch_size=64)


class Endless(DataModule):
    def train_dataloader(self):
        class Rows(torch.utils.data.IterableDataset):
            pass

        return torch.utils.data.DataLoader(Rows())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (Dictionaries(Digits(), val_size=200), "batches must be pairs .*; images is a str"),
        (Endless(Digits(), val_size=200), "train_dataloader must have a length"),
        (L.LightningDataModule(), "LightningDataModule: has no train_dataloader"),
    ],
)
def test_loaders_that_do_not_fit_are_told(data, told, tmp_path):
    trainer = default_trainer(tmp_path, accelerator="cpu")
    with pytest.raises(LabError, match=told):
        run.train(data, LeNet(), trainer)


def test_a_model_that_fits_is_as_it_was():
    model = LeNet().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check_model(model)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
