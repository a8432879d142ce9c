"""The networks: their sizes, their layers in order, what they compute and what they learn."""

import math
import re
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional

from mnist_lab.data import Digits
from mnist_lab.models import MLP, Classifier, CompactNet, ConvNet, LeNet
from mnist_lab.settings.changes import choices
from tests.models.noise import noise

CONF = Path(__file__).resolve().parents[2] / "conf/model"
SHIPPED = sorted(choices("model"))


def build(shipped: str, /, **changed) -> Classifier:
    """The model of a shipped YAML file, made as the command makes it."""
    return instantiate(choices("model")[shipped], _convert_="all", **changed)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def kinds(model: Classifier) -> list[str]:
    return [type(layer).__name__ for layer in model.network]


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def conv(kernel: int, inputs: int, outputs: int) -> int:
    return kernel**2 * inputs * outputs + outputs


def norm(channels: int) -> int:
    return 2 * channels


PARAMETERS = {
    "bn_cnn": conv(3, 1, 16) + norm(16) + conv(3, 16, 32) + norm(32) + conv(3, 32, 64) + norm(64)
    # 28 pixels halved three times are 3
    + linear(64 * 3**2, 128) + linear(128, 10),
    # 5x5 and 3x3 without biases, then the average of 96 maps
    "compact": 25 * 24 + norm(24) + 9 * 24 * 48 + norm(48) + 9 * 48 * 48 + norm(48)
    + 9 * 48 * 96 + norm(96) + linear(96, 10),
    "kaggle_cnn": conv(5, 1, 32) + conv(5, 32, 32) + conv(3, 32, 64) + conv(3, 64, 64)
    + linear(64 * 7**2, 256) + linear(256, 10),
    "lenet": 61_706,
    "lenet_maxpool": conv(5, 1, 6) + conv(5, 6, 10)
    + linear(10 * 4**2, 120) + linear(120, 84) + linear(84, 10),
    "mlp": linear(28**2, 784) + linear(784, 128) + linear(128, 10),
    # convolutions without biases; a stage of three blocks has six, the first of which may widen,
    # beside one of 1x1
    "resnet": 9 * (1 * 16 + 6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64)
    + norm(16) + 6 * (norm(16) + norm(32) + norm(64)) + 16 * 32 + norm(32) + 32 * 64 + norm(64)
    + linear(64, 10),
    # 14 pixels of four channels, less two, halved, less two; no bias before normalisation
    "speed_cnn": 9 * 4 * 16 + norm(16) + 9 * 16 * 48 + norm(48) + linear(48 * 4**2, 10),
}  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_have_as_many_parameters_as_calculated(name):
    assert count(build(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_said_in_yaml_comments_are_those_of_the_model(name):
    said = re.findall(r"([\d,]+) parameters", (CONF / f"{name}.yaml").read_text())
    assert [int(number.replace(",", "")) for number in said] in ([], [PARAMETERS[name]])


def test_lenet_layers_have_the_parameters_of_lenet_5():
    counts = [count(layer) for layer in build("lenet").network if count(layer)]
    assert counts == [156, 2_416, 48_120, 10_164, 850]
    assert count(LeNet()) == 61_706


@pytest.mark.parametrize(
    ("name", "kind", "own_name"),
    [
        ("mlp", MLP, "mlp"),
        ("lenet", LeNet, "lenet"),
        ("lenet_maxpool", LeNet, "lenet"),
        ("bn_cnn", ConvNet, "convnet"),
        ("kaggle_cnn", ConvNet, "convnet"),
    ],
)
def test_yaml_files_build_their_class_with_default_name_and_classes(name, kind, own_name):
    model = build(name)
    assert type(model) is kind
    assert (model.name, model.num_classes) == (own_name, 10)
    assert build(name, name="other").name == "other"


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize(("image_size", "channels", "classes"), [(32, 3, 2), (40, 1, 26)])
def test_logits_have_one_column_per_class(name, image_size, channels, classes):
    model = build(name, image_size=image_size, in_channels=channels, num_classes=classes)
    images = torch.zeros(3, channels, 28, 28, dtype=torch.uint8)
    assert model(images).shape == (3, classes)
    assert model(model.example_input_array[[0, 0]]).shape == (2, classes)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("none", ["Linear", "Tanh"]),
        ("before", ["Linear", "BatchNorm1d", "Tanh"]),
        ("after", ["Linear", "Tanh", "BatchNorm1d"]),
    ],
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_mlp_layers_stand_in_the_order_asked_for(where, expected, dropout):
    model = MLP(hidden=[12, 7], activation="tanh", norm=where, dropout=dropout)
    layer = [*expected, "Dropout"] if dropout else expected
    assert kinds(model) == ["Flatten", *layer, *layer, "Linear"]
    sizes = [m.num_features for m in model.network if isinstance(m, nn.BatchNorm1d)]
    assert sizes == ([] if where == "none" else [12, 7])
    assert all(m.p == dropout for m in model.network if isinstance(m, nn.Dropout))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("none", ["Conv2d", "GELU"]),
        ("before", ["Conv2d", "BatchNorm2d", "GELU"]),
        ("after", ["Conv2d", "GELU", "BatchNorm2d"]),
    ],
)
def test_convnet_layers_stand_in_the_order_asked_for(where, expected):
    model = ConvNet(widths=[[3, 4], [5]], activation="gelu", norm=where)
    pooled = ["MaxPool2d"]
    assert kinds(model) == [*expected * 2, *pooled, *expected, *pooled, "Flatten", "Linear"]
    sizes = [m.num_features for m in model.network if isinstance(m, nn.BatchNorm2d)]
    assert sizes == ([] if where == "none" else [3, 4, 5])
    biases = [m.bias is not None for m in model.network if isinstance(m, nn.Conv2d)]
    assert biases == [where != "before"] * 3


def test_shipped_models_drop_out_where_their_settings_say():
    model = build("kaggle_cnn")
    block = ["Conv2d", "ReLU", "Conv2d", "MaxPool2d", "ReLU", "Dropout"]
    assert kinds(model) == [*block, *block, "Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert [m.p for m in model.network if isinstance(m, nn.Dropout)] == [0.25, 0.25, 0.5]
    assert [m.p for m in build("mlp").network if isinstance(m, nn.Dropout)] == [0.25, 0.25]


def test_lenet_pools_after_its_first_two_convolutions_only():
    full = ["Conv2d", "Tanh", "AvgPool2d"] * 2 + ["Conv2d", "Tanh"]
    assert kinds(LeNet()) == [*full, "Flatten", "Linear", "Tanh", "Linear"]
    small = ["Conv2d", "MaxPool2d", "ReLU"] * 2
    dense = ["Linear", "ReLU"] * 2
    assert kinds(build("lenet_maxpool")) == [*small, "Flatten", *dense, "Linear"]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("tanh", lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())),
        ("sigmoid", lambda x: 1 / (1 + (-x).exp())),
        ("gelu", lambda x: x / 2 * (1 + torch.erf(x / math.sqrt(2)))),
        ("silu", lambda x: x / (1 + (-x).exp())),
        ("leaky_relu", lambda x: torch.where(x > 0, x, x / 100)),
    ],
)
def test_activations_are_the_functions_of_their_names(name, formula):
    x = torch.linspace(-3, 3, 25)
    torch.testing.assert_close(MLP(hidden=[4], activation=name).network[2](x), formula(x))


@pytest.mark.parametrize(
    ("settings", "act", "pool"),
    [
        ({"activation": "tanh", "pool": "average"}, torch.tanh, functional.avg_pool2d),
        ({"activation": "relu", "pool": "max"}, torch.relu, functional.max_pool2d),
    ],
)
def test_lenet_computes_what_its_layers_say(settings, act, pool):
    model = LeNet(**settings).eval()
    model.mean.fill_(0.13)
    model.std.fill_(0.31)
    c1, b1, c3, b3, c5, b5, f6, b6, out, b_out = model.network.parameters()
    images = noise(5, 1, 32, 32)
    x = (images / 255 - 0.13) / 0.31
    x = pool(act(functional.conv2d(x, c1, b1)), 2)
    x = pool(act(functional.conv2d(x, c3, b3)), 2)
    x = act(functional.conv2d(x, c5, b5)).flatten(1)
    x = act(x @ f6.T + b6) @ out.T + b_out
    torch.testing.assert_close(model(images), x)


def test_convnet_computes_what_its_layers_say():
    model = ConvNet(
        widths=[[3, 4], [5]], kernel_sizes=[5, 3], norm="none", hidden=[6], image_size=10
    )
    w = list(model.network.parameters())
    images = noise(5, 1, 10, 10)
    x = torch.relu(functional.conv2d(images / 255, w[0], w[1], padding=2))
    x = functional.max_pool2d(torch.relu(functional.conv2d(x, w[2], w[3], padding=2)), 2)
    x = functional.max_pool2d(torch.relu(functional.conv2d(x, w[4], w[5], padding=1)), 2)
    x = torch.relu(x.flatten(1) @ w[6].T + w[7]) @ w[8].T + w[9]
    torch.testing.assert_close(model(images), x)


@pytest.mark.parametrize("name", ["kaggle_cnn", "lenet_maxpool", "speed_cnn"])
def test_pooling_before_relu_is_bitwise_pooling_after_it(name):
    network = build(name).network
    layers = [layer for layer in network if not isinstance(layer, nn.Dropout)]
    published = [*layers]
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            published[place : place + 2] = layers[place + 1], layer
    assert published != layers
    images = torch.randn(20, 1, 28, 28)
    images[:5] = 0  # equal values in every window
    weights = list(network.parameters())

    def passed(layers):
        logits = nn.Sequential(*layers)(images)
        loss = functional.cross_entropy(logits, torch.arange(20) % 10)
        return [logits, *torch.autograd.grad(loss, weights)]

    for ours, theirs in zip(passed(layers), passed(published), strict=True):
        assert torch.equal(ours, theirs)


def test_convnet_on_unshuffled_pixels_computes_what_its_layers_say():
    model = ConvNet([[3], [4]], pools=[2, 1], padding="valid", unshuffle=2, norm="before").eval()
    images = noise(2, 1, 28, 28)
    x = model.preprocess(images)
    # Each square of two by two pixels becomes four channels, row by row.
    x = torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)
    _, first, first_norm, _, _, second, second_norm, *_, last = model.network
    x = first_norm(functional.max_pool2d(functional.conv2d(x, first.weight), 2)).relu()
    x = second_norm(functional.conv2d(x, second.weight)).relu()
    expected = functional.linear(x.flatten(1), last.weight, last.bias)
    assert x.shape == (2, 4, 4, 4)
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pools": [2]}, "1 pools for 2 blocks"),
        ({"pools": [2, 0]}, r"pools=\[2, 0\]: should be greater"),
        ({"unshuffle": 3}, "unshuffle=3 doesn't divide image_size=28"),
        ({"padding": "valid", "pools": [8, 2]}, "too small"),
    ],
)
def test_convnet_refuses_blocks_that_do_not_fit(settings, told):
    with pytest.raises(ValueError, match=told):
        ConvNet(**settings)


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        (MLP, {"hidden": [8, 0]}, r"hidden=\[8, 0\]: should be greater than or equal to 1"),
        (LeNet, {"widths": [6, -1, 4]}, "widths="),
        (LeNet, {"hidden": [0]}, "hidden="),
        (ConvNet, {"widths": [[3], [0]]}, "widths="),
        (ConvNet, {"hidden": [0]}, "hidden="),
        (CompactNet, {"widths": [[0]]}, "widths="),
    ],
)
def test_layers_without_units_are_refused(model, settings, told):
    with pytest.raises(ValueError, match=told):
        model(**settings)


@pytest.mark.parametrize(
    ("name", "smallest"), [("lenet", 32), ("lenet_maxpool", 16), ("bn_cnn", 8), ("kaggle_cnn", 4)]
)
def test_too_small_images_are_refused_when_the_model_is_built(name, smallest):
    model = build(name, image_size=smallest)
    assert model(noise(2, 1, 28, 28)).shape == (2, 10)
    too_small = f"image_size={smallest - 1} is too small"
    with pytest.raises(InstantiationException, match=too_small) as caught:
        build(name, image_size=smallest - 1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_convnet_refuses_kernels_that_do_not_fit():
    with pytest.raises(ValueError, match="1 kernel_sizes for 2 blocks"):
        ConvNet(widths=[[4], [4]], kernel_sizes=[3])
    with pytest.raises(ValueError, match=r"kernel_sizes must be odd, not \[3, 4\]"):
        ConvNet(widths=[[4], [4]], kernel_sizes=[3, 4])


def step(model: Classifier, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor):
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_learns_64_images_by_heart(name):
    torch.manual_seed(0)
    images, labels = (x[:64] for x in Digits().read(Path(), "train"))
    model = build(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    accuracy = 0.0
    for _ in range(20):
        model.train()
        for part in torch.arange(64).repeat(2).split(16):
            step(model, optimizer, images[part], labels[part])
        with torch.no_grad():
            accuracy = (model.eval()(images).argmax(1) == labels).float().mean().item()
        if accuracy == 1:
            break
    assert accuracy == 1


GOLDEN = {
    "bn_cnn": [2.40142, 1.68257, 1.16959, 0.75624, 0.45433],
    "compact": [2.3054, 1.73915, 1.3609, 1.11381, 0.94541],
    "kaggle_cnn": [2.3036, 2.29609, 2.28924, 2.28135, 2.27277],
    "lenet": [2.30377, 2.29545, 2.28703, 2.27833, 2.26919],
    "lenet_maxpool": [2.30598, 2.29895, 2.2935, 2.28835, 2.28359],
    "resnet": [2.58518, 1.91394, 1.42038, 1.01257, 0.68719],
    "mlp": [2.32156, 1.95069, 1.65765, 1.37193, 1.08578],
    "speed_cnn": [2.26396, 1.89591, 1.55813, 1.25525, 0.99061],
}


@pytest.mark.parametrize("name", SHIPPED)
def test_first_losses_are_those_on_record(name):
    torch.manual_seed(0)
    model = build(name)
    model.mean.fill_(0.5)
    model.std.fill_(0.3)
    for layer in model.network:
        if isinstance(layer, nn.Dropout):
            layer.eval()  # CPUs of different makers draw different masks from one seed
    # With its usual eps of 1e-8 Adam makes whole steps of gradients that are mere rounding.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-3)
    images, labels = noise(20, 1, 28, 28), torch.arange(20) % 10
    losses = [step(model, optimizer, images, labels) for _ in range(5)]
    assert losses == pytest.approx(GOLDEN[name], rel=1e-3)
