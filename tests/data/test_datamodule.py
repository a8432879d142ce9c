"""Statistics of the training split, loaders, and what a stage reads."""

import lightning.pytorch as L
import numpy as np
import pytest
import torch

from mnist_lab.data import DataError, DataModule, Digits, RandomAffine
from tests.data.archives import ARRAYS, tiny
from tests.data.numbered import Given, numbered, numbers


def test_images_without_labels_are_refused():
    source = Given(torch.zeros(3, 1, 2, 2), torch.zeros(2).long())
    with pytest.raises(DataError, match="3 images and 2 labels in train"):
        DataModule(source, val_size=0).setup("fit")


@pytest.mark.parametrize("train_size", [None, 100])
def test_statistics_are_those_of_the_training_pixels(train_size):
    data = DataModule(Digits(), val_size=200, train_size=train_size)
    mean, std = data.statistics()
    pixels = data.tensors("train")[0].double() / 255
    assert mean.dtype == std.dtype == torch.float32
    torch.testing.assert_close(mean, pixels.mean().float().view(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(std, pixels.std(correction=0).float().view(1), rtol=1e-6, atol=0)


def test_statistics_are_per_channel_and_of_the_population():
    images = torch.tensor([[0, 255], [51, 51], [0, 102]], dtype=torch.uint8).view(1, 3, 1, 2)
    mean, std = DataModule(Given(images, torch.zeros(1).long()), val_size=0).statistics()
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.2, 0.2]))
    torch.testing.assert_close(std, torch.tensor([0.5, 0.0, 0.2]))


def test_loaders_give_every_image_with_its_label(digits):
    digits.batch_size, digits.eval_batch_size = 100, 90
    for split, loader, sizes in [
        ("train", digits.train_dataloader(), [100] * 12 + [37]),
        ("val", digits.val_dataloader(), [90, 90, 20]),
        ("test", digits.test_dataloader(), [90] * 4),
    ]:
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == sizes
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        whole_images, whole_labels = digits.tensors(split)
        if split == "train":
            # The order of the first epoch, by the same legacy generator.
            order = np.random.RandomState([digits.seed, 0]).permutation(len(labels))
            whole_images, whole_labels = whole_images[order], whole_labels[order]
        assert torch.equal(images, whole_images)
        assert torch.equal(labels, whole_labels)


def test_training_order_follows_seed():
    def order(seed):
        data = DataModule(numbered([0] * 50), val_size=0, seed=seed)
        return [n for images, _ in data.train_dataloader() for n in numbers(images)]

    assert order(3) == order(3)
    assert order(3) != order(4)


class Recorder(L.LightningModule):
    """Keeps the batches that it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": [], "test": []}

    def training_step(self, batch):
        self.seen["train"].append(batch)
        return self.weight * 0

    def validation_step(self, batch):
        self.seen["val"].append(batch)

    def test_step(self, batch):
        self.seen["test"].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def test_only_training_batches_are_augmented():
    data = DataModule(
        numbered([0, 1] * 10), val_size=4, batch_size=16, augment=torch.bitwise_not, device="cpu"
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Recorder()
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    ((images, _),) = model.seen["train"]
    assert sorted(numbers(~images)) == numbers(data.tensors("train")[0])
    for split in ("val", "test"):
        ((images, _),) = model.seen[split]
        assert torch.equal(images, data.tensors(split)[0])


@pytest.fixture
def data(mirror, root):
    return DataModule(tiny(), root=str(root), mirror=str(mirror), val_size=10)


def test_fit_does_not_read_the_test_split(data, root):
    data.prepare_data()
    for path in root.rglob("t10k*"):
        path.unlink()
    data.setup("fit")
    assert len(data.tensors("train")[1]) == 30
    assert len(data.tensors("val")[1]) == 10
    with pytest.raises(DataError, match="t10k"):
        data.tensors("test")


def test_test_does_not_read_the_training_split(data, root):
    data.prepare_data()
    for path in root.rglob("train*"):
        path.unlink()
    data.setup("test")
    np.testing.assert_array_equal(data.tensors("test")[1], ARRAYS["t10k-labels-idx1-ubyte"])
    with pytest.raises(DataError, match="train"):
        data.tensors("train")


def test_tensors_fetch_what_is_not_there(data):
    np.testing.assert_array_equal(data.tensors("test")[0][:, 0], ARRAYS["t10k-images-idx3-ubyte"])


def test_images_are_given_out_in_the_models_form(digits):
    def double(images):
        return images.repeat_interleave(2, -1).repeat_interleave(2, -2).to(torch.int16)

    digits.give_out(double)
    loader = digits.train_dataloader()
    assert torch.equal(loader.images, double(digits.tensors("train")[0]))
    assert digits.train_dataloader().images is loader.images  # made once
    digits.augment = RandomAffine(shift=2)  # which takes images as they are stored
    assert digits.train_dataloader().images.shape[-1] == 28
    assert digits.val_dataloader().images.shape[-1] == 56
    digits.give_out(lambda images: images)
    assert digits.val_dataloader().images is digits.tensors("val")[0]
