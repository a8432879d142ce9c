"""`.onnx` and `.pt2`: the same logits elsewhere, whatever the batch, and one line for bad input."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from mnist_lab import LabError, cli
from mnist_lab.data import DataModule, Digits
from mnist_lab.export import export
from mnist_lab.export.handed import handed
from mnist_lab.export.onnx_model import onnx_model
from mnist_lab.export.torch_program import METADATA, torch_program
from tests.export.networks import MODELS, logits, network, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("exported") / "run")


@pytest.fixture(scope="module")
def images():
    return DataModule(Digits(), val_size=200).tensors("test")[0]


@pytest.mark.parametrize("name", MODELS)
def test_onnx_gives_the_checkpoints_logits_at_any_batch_size(name, images):
    given = network(name)
    content = onnx_model(given)
    session = onnxruntime.InferenceSession(content)
    for size in (1, 7, 360):
        part = images[:size]
        found, probabilities = session.run(None, {"images": part.numpy()})
        np.testing.assert_allclose(found, logits(given, part), rtol=0, atol=1e-4)
        expected = torch.from_numpy(found).softmax(1)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


def test_onnx_gives_probabilities_at_a_temperature_and_the_same_logits(images):
    given = network("lenet")
    logits_at, found = [], []
    for temperature in (1.0, 2.5):
        content = onnx_model(given._replace(temperature=temperature))
        outputs = onnxruntime.InferenceSession(content).run(None, {"images": images[:7].numpy()})
        logits_at.append(outputs[0])
        found.append(outputs[1])
    np.testing.assert_array_equal(*logits_at)
    for probabilities, temperature in zip(found, (1.0, 2.5), strict=True):
        expected = (torch.from_numpy(logits_at[0]) / temperature).softmax(1)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_torch_program_gives_the_checkpoints_logits_at_any_batch_size(name, images):
    given = network(name)
    program = torch.export.load(io.BytesIO(torch_program(given))).module()
    for size in (1, 7, 360):
        with torch.no_grad():
            found = program(images[:size]).numpy()
        np.testing.assert_allclose(found, logits(given, images[:size]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 20, "widths": [4], "hidden": []},  # smaller: every pixel averages several
        {"image_size": 37, "resize": "pad"},
        {"normalize": "none"},
        {"in_channels": 3, "activation": "gelu"},
    ],
)
def test_onnx_of_other_sizes_and_channels(settings, images):
    channels = settings.get("in_channels", 1)
    given = network("lenet", (channels, 28, 28), **settings)
    images = images.repeat(1, channels, 1, 1)
    (found, _) = onnxruntime.InferenceSession(onnx_model(given)).run(
        None, {"images": images.numpy()}
    )
    # Of sizes that aren't in whole 64ths a pixel in thousands is rounded to the other grey level.
    np.testing.assert_allclose(found, logits(given, images), rtol=0, atol=1e-3)


def elsewhere(code, *arguments, without):
    """What Python code prints where some packages cannot be imported."""
    hide = "".join(f"sys.modules[{name!r}] = None\n" for name in without)
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys\n{hide}{code}", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected(trained, images):
    return logits(handed([str(trained)])[0], images[:5])


def test_onnx_is_read_without_torch_and_without_this_package(trained, images, expected, tmp_path):
    export(str(trained), str(tmp_path / "a.onnx"))
    np.save(tmp_path / "images.npy", images[:5].numpy())
    code = (
        "import json, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "(logits,) = session.run(['logits'], {'images': numpy.load(sys.argv[2])})\n"
        "told = session.get_modelmeta().custom_metadata_map\n"
        "print(json.dumps([logits.tolist(), told]))\n"
    )
    found, told = elsewhere(
        code, tmp_path / "a.onnx", tmp_path / "images.npy", without=["torch", "mnist_lab"]
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert (told["model"], told["dataset"], told["seed"]) == ("lenet", "digits", "3")
    assert json.loads(told["classes"]) == [str(k) for k in range(10)]
    result = json.loads((trained / "result.json").read_text())
    assert json.loads(told["test_accuracy"]) == result["metrics"]["test/accuracy"]
    assert told["test_images"] == "360"
    assert len(told["checkpoint_sha256"]) == 64


@pytest.mark.slow
def test_a_torch_program_is_read_without_this_package(trained, images, expected, tmp_path):
    export(str(trained), str(tmp_path / "a.pt2"), temperature=1.25)
    np.save(tmp_path / "images.npy", images[:5].numpy())
    code = (
        "import json, numpy, torch\n"
        f"told = {{{METADATA!r}: ''}}\n"
        "program = torch.export.load(sys.argv[1], extra_files=told).module()\n"
        "logits = program(torch.from_numpy(numpy.load(sys.argv[2])))\n"
        f"print(json.dumps([logits.tolist(), json.loads(told[{METADATA!r}])]))\n"
    )
    found, told = elsewhere(
        code, tmp_path / "a.pt2", tmp_path / "images.npy", without=["mnist_lab", "lightning"]
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert told == json.loads(json.dumps(handed([str(trained)], temperature=1.25)[0].facts))
    assert told["temperature"] == 1.25


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_no_path_of_this_machine_is_in_the_file(form, trained, tmp_path):
    content = export(str(trained), str(tmp_path / f"a.{form}")).read_bytes()
    for path in (Path.home(), Path(cli.__file__).parents[2], Path(torch.__file__).parents[1]):
        assert str(path).encode() not in content
    if form == "onnx":
        model = onnx.load_from_string(content)
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_the_command_writes_and_says_so(form, lab_export, trained, tmp_path):
    status, out, err = lab_export(f"checkpoint={trained}", "output=a.bin", f"format={form}")
    assert (status, err) == (0, "")
    size = (tmp_path / "a.bin").stat().st_size
    assert out == f"Loading PyTorch and Lightning ...\n{size:,} bytes: a.bin\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["checkpoint=nothing", "output=a.pt2"], "nothing: there is no such file"),
        (["output=a.xyz"], "output=a.xyz: ends in none of .html, .onnx, .pt2"),
        (["output=there.pt2"], "output=there.pt2: exists; overwrite=true replaces it"),
        (["output=.", "format=pt2"], "output=.: is a folder"),
        (["output=none/a.pt2"], "output=none/a.pt2: cannot be written"),
        (["checkpoint=[a,b]", "output=a.onnx"], "checkpoint: .onnx holds one network, not 2"),
        (["checkpoint=[]", "output=a.html"], "checkpoint: .html holds one or two networks, not 0"),
        (["output=a.html", "images=-1"], "images=-1: should be greater than or equal to 0"),
        (["output=a.onnx", "temperature=-1"], "temperature=-1: should be greater than 0"),
        (
            ["checkpoint=[a,b]", "output=a.html", "temperature=2"],
            "temperature=2: is of one network, and two are named",
        ),
        (["output=a.pt2", "format=zip"], "format"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, told, lab_export, trained, tmp_path):
    (tmp_path / "there.pt2").write_text("mine")
    before = sorted(tmp_path.iterdir())
    if not any(text.startswith("checkpoint=") for text in arguments):
        arguments = [f"checkpoint={trained}", *arguments]
    status, _, err = lab_export(*arguments)
    assert status == 1
    assert err.startswith(told)
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.pt2").read_text() == "mine"


class Choosy(nn.Sequential):
    """What it does depends on what it is given, so it has no graph."""

    def forward(self, images):
        logits = super().forward(images)
        return logits if logits.sum() > 0 else -logits


@pytest.mark.parametrize("write", [onnx_model, torch_program])
def test_a_network_without_a_graph_is_refused(write):
    given = network("mlp")._replace(checkpoint="RUN")
    given.model.network = Choosy(*given.model.network)
    with pytest.raises(LabError, match=r"^checkpoint=RUN: mlp cannot be exp") as error:
        write(given)
    assert "\n" not in str(error.value)


def test_an_untrusted_class_is_refused(trained, tmp_path):
    content = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)
    content["mnist_lab"] |= {"class": "somebody.Model", "sealed": False}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(LabError, match=r"somebody\.Model is not of mnist_lab"):
        export(str(tmp_path / "a.ckpt"), str(tmp_path / "a.pt2"))
    assert not (tmp_path / "a.pt2").exists()


def test_nothing_heavy_is_loaded_for_help(heavy_imports):
    assert heavy_imports("mnist_lab.export", "--help") == set()
