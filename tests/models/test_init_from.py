"""A checkpoint as a starting point: `init_from`."""

from pathlib import Path

import pytest
import torch

from mnist_lab import LabError
from mnist_lab.models import MLP, Classifier, ConvNet, LeNet, checkpoint
from tests.models.checkpoints import save


def start(path: Path, model: Classifier) -> dict[str, torch.Tensor]:
    """The model's own state before it took over the checkpoint's."""
    model.mean.fill_(0.7)
    model.std.fill_(0.9)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    checkpoint.init_from(model, path)
    return own


def kept(model: Classifier, own: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if torch.equal(value, own[name])}


def test_all_weights_are_taken_over_but_not_the_normalisation(tmp_path):
    path = save(ConvNet(widths=[[3], [4]], hidden=[5]), tmp_path)
    model = ConvNet(widths=[[3], [4]], hidden=[5])
    own = start(path, model)
    assert kept(model, own) == {"mean", "std"}
    for name, value in checkpoint.read(path)["state_dict"].items():
        if name not in ("mean", "std"):
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_the_last_layer_stays_where_the_number_of_classes_differs(saved):
    model = MLP(hidden=[8], num_classes=26)
    own = start(saved, model)
    assert kept(model, own) == {"mean", "std", "network.3.weight", "network.3.bias"}
    weights = checkpoint.read(saved)["state_dict"]
    for name in ("network.1.weight", "network.1.bias"):
        torch.testing.assert_close(model.state_dict()[name], weights[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "other",
    [
        LeNet(),
        MLP(hidden=[9]),
        MLP(hidden=[8, 8]),
        MLP(hidden=[]),
        MLP(hidden=[8], norm="after"),
        MLP(hidden=[8], in_channels=3),
    ],
    ids=lambda model: f"{model.name}-{model.network[1]}",
)
def test_another_architecture_is_no_starting_point(other, saved):
    with pytest.raises(LabError) as caught:
        checkpoint.init_from(other, saved)
    assert str(caught.value).startswith(f"init_from={saved}: ")


def test_another_image_size_is_another_architecture(tmp_path):
    """Its last layer differs in its inputs; none of it may be taken over in part."""
    path = save(ConvNet(widths=[[3]], kernel_sizes=[3]), tmp_path)
    model = ConvNet(widths=[[3]], kernel_sizes=[3], image_size=32)
    with pytest.raises(
        LabError, match=r"network.5.weight has the shape \[10, 588\], not \[10, 768\]"
    ):
        checkpoint.init_from(model, path)


def test_a_missing_starting_point_is_named(tmp_path):
    path = tmp_path / "missing.ckpt"
    with pytest.raises(LabError) as caught:
        checkpoint.init_from(MLP(hidden=[8]), path)
    assert str(path) in str(caught.value)
