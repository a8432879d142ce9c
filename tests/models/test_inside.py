"""What layers hold and make of an image, against the layers called by hand."""

import pytest
import torch
from torch import nn

from mnist_lab import LabError, models
from mnist_lab.models import Classifier, inside


def image(channels: int = 1, size: int = 28) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (channels, size, size), generator=generator, dtype=torch.uint8)


class Branches(Classifier):
    """Two convolutions deep inside, one of them used twice, and one that is never used."""

    def __init__(self) -> None:
        super().__init__(in_channels=3, num_classes=4, image_size=12)

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Dropout(0.5))
                self.block = nn.Conv2d(5, 5, 3, padding=1)
                self.unused = nn.Conv2d(5, 5, 3)
                self.head = nn.Linear(5, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.stem(x)
                return self.head(self.block(self.block(x).relu()).mean((2, 3)))

        self.network = Net()


def test_feature_maps_are_the_outputs_of_the_layers():
    torch.manual_seed(0)
    model = models.LeNet()
    x = model.preprocess(image().unsqueeze(0))
    expected = {}
    for name, layer in model.network.named_children():
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            expected[name] = x[0]
    found = inside.feature_maps(model, image())
    assert list(found) == list(expected) == ["0", "3", "6"]
    assert [tuple(maps.shape) for maps in found.values()] == [
        (6, 28, 28), (16, 10, 10), (120, 1, 1),
    ]  # fmt: skip
    for name, maps in found.items():
        torch.testing.assert_close(maps, expected[name])
        assert not maps.requires_grad


def test_feature_maps_of_nested_and_repeated_layers():
    torch.manual_seed(1)
    model = Branches().train()
    found = inside.feature_maps(model, image(3, 20))
    net = model.network
    first = net.stem[0](model.preprocess(image(3, 20).unsqueeze(0)))
    second = net.block(first)
    expected = {"stem.0": first, "block": second, "block (2)": net.block(second.relu())}
    assert list(found) == list(expected)
    for name, maps in found.items():
        torch.testing.assert_close(maps, expected[name][0])


def test_looking_inside_leaves_the_model_as_it_was():
    model = Branches().train()
    inside.feature_maps(model, image(3))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(LabError, match="in_channels=3: the images have 2"):
        inside.feature_maps(model, image(2))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_convolutions_has_no_feature_maps():
    assert inside.feature_maps(models.MLP(), image()) == {}


def test_outputs_are_the_probabilities():
    model = models.ConvNet(dropout=0.5).eval()
    with torch.no_grad():
        expected = model(image().unsqueeze(0)).softmax(1)[0]
    torch.testing.assert_close(inside.outputs(model.train(), image()), expected)


def test_filters_are_the_first_layers_weights():
    lenet, mlp, colour = models.LeNet(), models.MLP(hidden=(7,), in_channels=3), Branches()
    assert torch.equal(inside.filters(lenet), lenet.network[0].weight)
    assert torch.equal(inside.filters(colour), colour.network.stem[0].weight)
    found = inside.filters(mlp)
    assert found.shape == (7, 3, 28, 28)
    assert torch.equal(found.flatten(1), mlp.network[1].weight)


def test_a_first_layer_that_does_not_see_pixels_has_no_filters():
    model = models.MLP()
    model.network = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 10))
    assert inside.filters(model) is None
    model.network = nn.Sequential(nn.Flatten())
    assert inside.filters(model) is None


@pytest.mark.parametrize("model", [models.LeNet(), models.MLP(dropout=0.5), Branches()])
def test_the_embedding_is_what_the_last_layer_is_given(model):
    channels = model.hparams["in_channels"]
    images = torch.stack([image(channels)] * 1500)
    images[1200] = 255 - images[1200]  # in the second batch
    *_, last = (m for m in model.network.modules() if isinstance(m, nn.Linear))
    found = inside.embedding(model.train(), images)
    assert found.shape == (1500, last.in_features)
    assert not found.requires_grad
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    with torch.no_grad():
        torch.testing.assert_close(last(found[1195:1205]), model.eval()(images[1195:1205]))
    assert not torch.equal(found[1200], found[1201])
