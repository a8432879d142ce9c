"""Every command and every example in README.md, as it stands there."""

import importlib.util
import json
import re
import shlex
import shutil
import sys

import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from PIL import Image

from mnist_lab import predict
from mnist_lab.cli import command
from mnist_lab.data import Digits
from mnist_lab.export import __main__ as export
from tests import documents
from tests.forked import call

SMALL = ["trainer.max_epochs=1", "data.val_size=100", "data.train_size=200",
         "+trainer.limit_test_batches=2"]  # fmt: skip
UNDRAWN = ["artefacts=few", "trainer.callbacks.dashboard=null"]

LINES = documents.lines("README.md")
SCALING = documents.lines("docs/scaling.md")


def arguments_of(command: str) -> list[str]:
    start = f"python -m mnist_lab.{command} "
    return [line.removeprefix(start) for line in LINES if line.startswith(start)]


TRAIN = arguments_of("train")
EVALUATE = arguments_of("evaluate")
PREDICT = arguments_of("predict")
COMPARE = arguments_of("compare")
EXPORT = arguments_of("export")
MAKE = [line.removeprefix("make ") for line in LINES if line.startswith("make ")]


def test_the_readme_has_what_is_tested_here():
    assert len(TRAIN) >= 6
    assert len(EVALUATE) >= 4
    assert len(PREDICT) >= 3
    assert len(COMPARE) >= 2
    assert len(EXPORT) == 2
    assert len(SCALING) == 5
    assert len(LINES) == sum(map(len, (TRAIN, EVALUATE, PREDICT, COMPARE, EXPORT, MAKE)))


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """What the commands take for the user's own: pictures, and Kaggle's files."""
    # Joblib's workers of other tests know of no MNIST_LAB_DATA.
    get_reusable_executor().shutdown(kill_workers=True)
    folder = tmp_path_factory.mktemp("users")
    images, labels = Digits().read(None, "test")
    names = [f"pixel{i}" for i in range(784)]
    (folder / "digit-recognizer").mkdir()
    for file, columns in (("train.csv", ["label", *names]), ("test.csv", names)):
        rows = torch.column_stack([labels, images.flatten(1)]) if "label" in columns else images
        lines = [",".join(map(str, row)) for row in rows.flatten(1).tolist()]
        content = "\n".join([",".join(columns), *lines, ""])
        (folder / "digit-recognizer" / file).write_text(content)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "pictures" / str(int(label))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - image[0].numpy()).resize((60, 60)).save(place / f"{i}.png")
    Image.fromarray(images[0, 0].numpy()).resize((60, 60)).save(folder / "photo.jpg")
    return folder


@pytest.fixture
def own_files(users, tmp_path):
    shutil.copytree(users, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("target", MAKE)
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:.*## ", (documents.ROOT / "Makefile").read_text(), re.MULTILINE)


# Those on Ray and Slurm are run on real ones, in tests/scaling.
LAPTOP = [x for x in SCALING if not re.search(r"launcher=(ray|slurm)", x)]
SLOW = "launcher=|data=folder"  # jobs in processes of their own; hundreds of pictures
RUN = [x for x in TRAIN if "shallow" not in x] + [x.removeprefix(documents.TRAIN) for x in LAPTOP]


@pytest.mark.mnist
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(each, marks=pytest.mark.slow if re.search(SLOW, each) else [])
        for each in dict.fromkeys(RUN)
    ],
)
def test_train_commands(arguments, lab_train, own_files, tmp_path, mnist_root, monkeypatch):
    if "fashion_mnist" in arguments:  # nobody ships it: MNIST's archives stand in for it
        arguments = arguments.replace("fashion_mnist", "mnist")
    arguments = arguments.replace("launcher=slurm", "launcher=joblib")  # Slurm: tests/scaling
    monkeypatch.setenv("MNIST_LAB_DATA", str(mnist_root))
    small = [] if "--cfg" in arguments else SMALL
    if "data.folds=" in arguments:  # of which one is validated on
        small = [each for each in small if "val_size" not in each]
    if "study=batch_norm" in arguments:
        small = [*small, "seed=0", "model.dropout=0"]
    if "search=" in arguments:
        small = [*small, "hydra.sweeper.n_trials=2"]
    drawn = "data=" in arguments or "experiment=" in arguments or arguments == RUN[0]
    if small and ("-m" in arguments or not drawn):  # of models on MNIST one will do
        small = [*small, *UNDRAWN]
    if "trainer=ddp" in arguments:  # whose second process is started by the command's name
        status, _, err = call("mnist_lab.train", *shlex.split(arguments), *small, folder=tmp_path)
        assert status == 0, err
    else:
        called = lab_train(*shlex.split(arguments), *small)
        assert called.status == 0, called.err
    jobs = {
        "sweep=sizes": 6,
        "sweep=more": 6,
        "sweep=folds": 5,
        "sweep=a ": 6,
        "sweep=array": 4,
        "study=": 3,
        "search=": 2,
    }
    expected = next((count for key, count in jobs.items() if key in arguments), 1)
    if small:
        assert len(list(tmp_path.rglob("result.json"))) == expected


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run's folder."""
    folder = tmp_path_factory.mktemp("first")
    run = ["data=digits", "trainer.max_epochs=1", "hydra.run.dir=outputs/first", *UNDRAWN]
    status, _, err = call("mnist_lab.train", *run, folder=folder)
    assert status == 0, err
    return folder / "outputs/first"


@pytest.fixture
def outputs(first, tmp_path, monkeypatch):
    """The working folder, in which it lies as outputs/first."""
    shutil.copytree(first, tmp_path / "outputs/first")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_predict_commands(outputs, own_files, tmp_path, monkeypatch):
    for arguments in PREDICT:
        monkeypatch.setattr(sys, "argv", ["predict", *arguments.split()])
        command.run(predict.main)
    lines = {path.name: len(path.read_text().splitlines()) for path in tmp_path.glob("*.csv")}
    assert lines == {"photo.csv": 2, "pictures.csv": 361, "submission.csv": 361}


def test_export_commands(outputs, tmp_path, monkeypatch):
    for arguments in EXPORT:
        monkeypatch.setattr(sys, "argv", ["export", *arguments.split()])
        command.run(export.main)
    assert sorted(path.name for path in tmp_path.glob("first.*")) == ["first.html", "first.onnx"]


@pytest.mark.slow
def test_evaluate_commands(outputs, lab_evaluate, own_files, tmp_path):
    shutil.copytree(tmp_path / "outputs/first", tmp_path / "outputs/second")
    for arguments in EVALUATE:
        called = lab_evaluate(*arguments.split())
        assert called.status == 0, called.err
    made = list(tmp_path.rglob("evaluation.json"))
    assert len(made) == len(EVALUATE)
    images = sorted(json.loads(path.read_text())["images"] for path in made)
    assert images == [200, 360, 360, 360, 360]


@pytest.mark.parametrize("arguments", COMPARE)
def test_compare_commands(arguments, write_run, lab_compare, tmp_path):
    write_run("a")
    for place in ("outputs/sweeps", "outputs/mnist/lenet", "outputs/mnist/mlp"):
        shutil.copytree(tmp_path / "runs", tmp_path / place)
    called = lab_compare(*(text.strip("'") for text in arguments.split()))
    assert called.status == 0, called.err
    assert len(list(tmp_path.rglob("compare.html"))) == 1


@pytest.mark.slow
def test_own_model_and_experiment_are_the_files_shown(lab_train, tmp_path, monkeypatch):
    (source,) = (
        x for x in documents.blocks("README.md", "python") if x.startswith("# mnist_lab/models/")
    )
    name = re.match(r"# (mnist_lab/models/\w+)\.py", source).group(1).replace("/", ".")
    spec = importlib.util.spec_from_loader(name, loader=None)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    exec(source, module.__dict__)
    for block in documents.blocks("README.md", "yaml"):
        path = tmp_path / re.match(r"# (conf/\S+\.yaml)\n", block).group(1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.split("\n", 1)[1])
    (arguments,) = (x for x in TRAIN if "shallow" in x)
    called = lab_train("--config-dir", str(tmp_path / "conf"), *arguments.split(), "data=digits",
                       "trainer.max_epochs=1")  # fmt: skip
    assert called.status == 0, called.err
    assert len(list(tmp_path.rglob("result.json"))) == 3


@pytest.mark.slow
def test_python_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (source,) = (x for x in documents.blocks("README.md", "python") if "default_trainer" in x)
    exec(source, {})
    assert (tmp_path / "outputs/from_python/result.json").exists()
    accuracy = float(capsys.readouterr().out.split("\n")[-4])
    assert 0.5 < accuracy <= 1


# Settings and commands that stand in the documents beside those that are run above.
DOCUMENTS = ["README.md", *(str(p.relative_to(documents.ROOT))
                            for p in sorted((documents.ROOT / "docs").rglob("*.md"))
                            if p.name != "mended.md")]  # it names what is refused  # fmt: skip
ELSEWHERE = ("tta=", "inside=", "format=", "invert=", "scale=", "transpose=", "weights_only=",
             "max_epochs=", "images=", "overwrite=", "corrupt=", "corrupt.", "calibrate=",
             "accuracy=", "foreign=", "temperature=", "confident=", "metric=", "lines=",
             "boxes=", "hydra.sweeper.pruner=",
             "checkpoint=")  # of evaluate, predict, export; no settings, as they stand  # fmt: skip


def told(document: str) -> list[str]:
    """Train commands' arguments, and settings alone; of several values for a sweep the first."""
    text = (documents.ROOT / document).read_text()
    found = re.findall(rf"^{re.escape(documents.TRAIN)}(?:-m )?(.+)$", text, re.MULTILINE)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for code in re.findall(r"`([^`]+)`", prose):
        tokens = code.split()
        if all(re.match(r"[+~]*[a-z][\w./@]*=.", token) for token in tokens):
            found.append(" ".join(tokens))
    return [re.sub(r"=([^\s,\[{('\"]+),\S+", r"=\1", each) for each in found]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_that_are_named_compose(document, lab_train, tmp_path):
    for arguments in dict.fromkeys(told(document)):
        placeholder = re.search(r"[=/:][A-Z]{2,}", arguments)
        other = (
            arguments.startswith(ELSEWHERE)
            or "shallow" in arguments
            or "experiment=bars" in arguments  # of the package that the page shows
            or "resume=" in arguments
            or "interval(" in arguments
        )
        if not (placeholder or other or "--cfg" in arguments):
            called = lab_train("--cfg", "job", *shlex.split(arguments))
            assert called.status == 0, (arguments, called.err)
