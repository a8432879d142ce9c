"""Every shipped configuration composes and builds; settings are held against signatures."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import pytest
from hydra import compose, initialize_config_dir
from hydra.types import RunMode
from omegaconf import OmegaConf
from PIL import Image
from torch import zeros
from torch.nn import Parameter
from torch.optim import SGD

from mnist_lab.cli.names import job_name, register_resolvers
from mnist_lab.data import RandomAffine
from mnist_lab.settings import packages, signatures
from mnist_lab.settings.changes import choices
from mnist_lab.settings.conf import CONF, MADE, in_folder, make
from mnist_lab.settings.identity import fingerprint
from mnist_lab.settings.signatures import ConfigError
from mnist_lab.training.configured import Settings
from tests.settings.composing import composed

CONF = Path(CONF)
GROUPS = ["data", "augment", "model", "optimizer", "scheduler", "trainer", "stress", "experiment"]
CHOICES = [f"{group}={name}" for group in GROUPS for name in packages.files(group)]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_passes_the_check_and_builds(choice, tmp_path):
    for label in range(10):  # classes of data=folder
        (tmp_path / str(label)).mkdir()
    own = [f"data.root={tmp_path}"] if choice in ("data=folder", "data=kaggle") else []
    own += ["data.source.dataset=GTSRB"] if choice == "data=torchvision" else []
    plain = composed(tmp_path, choice, *own)
    settings = in_folder(plain, tmp_path)
    signatures.check(settings, Settings)
    built = signatures.build(settings)
    assert Settings(**built).trainer is built["trainer"]
    assert set(built) == set(Settings.__annotations__)
    group, name = choice.split("=")
    if group == "model":
        assert built["model"].name == name
    if group == "data":
        assert built["data"].source.name == ("GTSRB" if name == "torchvision" else name)
        assert len(built["data"].classes) == built["model"].num_classes
        assert built["model"].num_classes == {"emnist": 47, "emnist_letters": 26}.get(name, 10)


STUDIES = sorted(path.stem for path in (CONF / "study").glob("*.yaml"))


def jobs_of(study):
    """What a study sweeps over, and its jobs but for their seeds, as overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"study={study}"], return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    assert cfg.sweep == study
    params = {key: str(value).split(",") for key, value in cfg.hydra.sweeper.params.items()}
    seeds = params.pop("seed")
    assert len(set(seeds)) == len(seeds) >= 5
    return [
        [f"study={study}", *map("=".join, zip(params, values, strict=True))]
        for values in itertools.product(*params.values())
    ]


@pytest.mark.parametrize("study", STUDIES)
def test_every_job_of_a_study_passes_the_check_and_builds_something_else(study, tmp_path):
    register_resolvers()
    prints = set()
    jobs = jobs_of(study)
    assert len(jobs) >= 2
    for overrides in jobs:
        plain = composed(tmp_path, *overrides)
        signatures.check(in_folder(plain, tmp_path), Settings)
        assert signatures.build(in_folder(plain, tmp_path))["trainer"].max_epochs >= 4
        prints.add(fingerprint(plain))
    assert len(prints) == len({job_name(each) for each in jobs}) == len(jobs)


def test_every_arm_belongs_to_a_study():
    arms = {path.stem for path in (CONF / "arm").glob("*.yaml")}
    used = {text for study in STUDIES for job in jobs_of(study) for text in job}
    assert arms == {text.removeprefix("arm=") for text in used if text.startswith("arm=")}


def test_networks_of_different_depth_have_equally_many_parameters(tmp_path):
    sizes = [
        sum(weights.numel() for weights in signatures.build(in_folder(plain, tmp_path))["model"]
            .parameters())
        for plain in (composed(tmp_path, *overrides) for overrides in jobs_of("depth"))
    ]  # fmt: skip
    assert sizes == [63_050, 62_650, 62_848]  # by hand: the sum of inputs x outputs + outputs


def test_equal_steps_are_equal_for_every_batch_size(tmp_path):
    for overrides in jobs_of("batch_steps"):
        built = signatures.build(in_folder(composed(tmp_path, *overrides), tmp_path))
        data, trainer = built["data"], built["trainer"]
        assert data.train_size // data.batch_size >= trainer.limit_train_batches
        assert trainer.limit_train_batches * trainer.max_epochs == 1000
        assert trainer.max_epochs % trainer.check_val_every_n_epoch == 0


def test_settings_reach_the_objects(tmp_path):
    plain = composed(
        tmp_path,
        "model=bn_cnn",
        "model.norm=before",
        "optimizer=sgd",
        "optimizer.lr=0.25",
        "data.batch_size=17",
        "augment=affine",
        "seed=5",
        "trainer.callbacks.early_stopping=null",
    )
    built = signatures.build(in_folder(plain, tmp_path))
    optimizer = built["model"]._make_optimizer(built["model"].parameters())
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert built["data"].batch_size == 17
    assert built["data"].seed == 5
    assert built["data"].augment.degrees == 15
    assert [type(m).__name__ for m in built["model"].network[:4]] == [
        "Conv2d",
        "BatchNorm2d",
        "MaxPool2d",
        "ReLU",
    ]
    assert "EarlyStopping" not in [type(c).__name__ for c in built["trainer"].callbacks]


def test_plain_configuration_names_its_folder_only_by_reference(tmp_path):
    plain = composed(tmp_path / "first")
    assert str(tmp_path) not in OmegaConf.to_yaml(OmegaConf.create(plain))
    moved = in_folder(plain, tmp_path / "second")
    assert moved["trainer"]["callbacks"]["best"]["folder"] == f"{tmp_path}/second"
    assert moved["folder"] == f"{tmp_path}/second"


class Common(TypedDict, total=False):
    size: int


class Whole:
    def __init__(
        self,
        count: int,
        part: RandomAffine | None = None,
        kind: Literal["a", "b"] = "a",
        share: int | float = 1,
        names: Sequence[str] = (),
        **common: Unpack[Common],
    ) -> None: ...


PART = {"_target_": "mnist_lab.data.RandomAffine"}


@pytest.mark.parametrize(
    "settings",
    [
        {"count": 3},
        {"count": 3, "size": 4, "share": 0.5, "names": ["x"], "kind": "b"},
        {"count": 3, "part": None},
        {"count": 3, "part": {**PART, "degrees": 2, "scale": 0.5}},
    ],
)
def test_check_accepts_what_the_signature_takes(settings):
    signatures.check(settings, Whole)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "count: a value is missing"),
        ({"count": "3"}, "count=3: should be a valid integer"),
        ({"count": True}, "count=True: should be a valid integer"),
        ({"count": 2.5}, "count=2.5: should be a valid integer"),
        ({"count": None}, "count=None: should be a valid integer"),
        ({"count": 1, "kind": "c"}, "kind=c: should be 'a' or 'b'"),
        ({"count": 1, "sise": 3}, "sise: no such setting; did you mean size?"),
        ({"count": 1, "zzz": 3}, "zzz: no such setting; there are count, part, kind"),
        ({"count": 1, "size": "x"}, "size=x: should be a valid integer"),
        ({"count": 1, "names": "x"}, "names=x: should be a valid array"),
        ({"count": 1, "part": {**PART, "shift": "x"}}, "part.shift=x: should be a valid number"),
        ({"count": 1, "part": {**PART, "shifts": 1}}, "part.shifts: no such setting; did you mean"),
        ({"count": 1, "part": 3}, "part=3: should be a RandomAffine or null"),
        ({"count": 1, "part": {"_target_": "pathlib.Path"}}, "must be a RandomAffine"),
        ({"count": 1, "part": {"_target_": "no.where"}}, "cannot be imported"),
    ],
)
def test_check_refuses_in_one_line_that_names_the_key(settings, told):
    with pytest.raises(ConfigError) as caught:
        signatures.check(settings, Whole)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_partial_targets_may_leave_arguments_open_but_not_invent_them():
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True}
    signatures._check_value({**optimizer, "lr": 0.1, "betas": [0.8, 0.9]}, object, "optimizer")
    with pytest.raises(ConfigError, match=r"momentum: no such setting"):
        signatures._check_value({**optimizer, "momentum": 0.9}, object, "optimizer")
    with pytest.raises(ConfigError, match=r"optimizer.betas=\[0.8\]"):
        signatures._check_value({**optimizer, "betas": [0.8]}, object, "optimizer")


@pytest.mark.parametrize(
    "name",
    [
        f"{group}/{name}"
        for group in ("data", "model", "optimizer", "scheduler")
        for name in packages.files(group)
        if name not in ("folder", "kaggle", "torchvision")  # which need a setting
    ],
)
def test_make_builds_what_a_file_describes(name):
    assert make(name) is not None


def test_make_changes_settings(tmp_path):
    assert make("data/kaggle", root="here").root == Path("here")
    data = make("data/mnist", train_size=1000)
    assert (data.train_size, data.val_size, data.source.name) == (1000, 5000, "mnist")
    assert make("model/mlp", hidden=[7]).network[-1].in_features == 7
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (9, 9)).save(tmp_path / name / "a.png")
    assert make("data/folder", root=str(tmp_path)).classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("data/mnits", {}, "data/mnits: no such choice; did you mean mnist?"),
        ("nothing", {}, "nothing: no such choice"),
        ("data/kaggle", {}, "data.root: a value is missing"),
        ("data/folder", {}, "data.root: a value is missing"),  # its classes are computed from it
        ("data/mnist", {"source": {"nme": "x"}}, "data.source.nme: no such setting"),
        ("augment/none", {"degrees": 3}, "augment.degrees: no such setting of augment/none"),
        (
            "corrupt/mnist_c",
            {"severity": 3},
            "corrupt.severity: no such setting of corrupt/mnist_c",
        ),
        ("corrupt/mnist_c", {"fog": {"severity": 6}}, "corrupt.fog.severity=6: should be"),
        ("trainer/default", {}, "trainer/default: is for a run's folder; training."),
        ("experiment/bn_cnn", {}, "experiment/bn_cnn: sets what a run is made of"),
        ("model/mlp", {"optimizer": object()}, "model.optimizer="),
        ("data/mnist", {"train_siz": 3}, "data.train_siz: no such setting; did you mean"),
        ("data/mnist", {"train_size": "3"}, "data.train_size=3: should be a valid"),
        (
            "data/mnist",
            {"batch_size": 0},
            "data.batch_size=0: should be greater",
        ),
    ],
)
def test_make_refuses_what_does_not_fit(name, settings, told):
    with pytest.raises(signatures.ConfigError) as error:
        make(name, **settings)
    assert str(error.value).startswith(told)


MADE = [f"{group}/{name}" for group in MADE for name in packages.files(group)]
OTHERS = [str(p.relative_to(CONF).with_suffix("")) for p in sorted(CONF.rglob("*.yaml"))]


@pytest.mark.parametrize("name", MADE)
def test_make_builds_what_every_file_of_an_object_describes(name, tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
    own = {"root": tmp_path} if name in ("data/folder", "data/kaggle") else {}
    own |= {"teachers": ["run"]} if name == "distil/teachers" else {}
    source = {"dataset": "GTSRB"} if name == "data/torchvision" else {}
    made = make(name, **own, **({"source": source} if source else {}))
    described = choices(name.partition("/")[0])[name.partition("/")[2]] or {}
    assert (made is None) == name.endswith("/none")
    if made is not None and not described.get("_partial_") and "_target_" in described:
        assert type(made).__name__ == described["_target_"].rpartition(".")[2]
    for key, value in own.items():
        assert getattr(made, key) == value


@pytest.mark.parametrize("name", sorted(set(OTHERS) - set(MADE)))
def test_of_any_other_file_make_says_in_a_line_that_it_makes_nothing_of_it(name):
    with pytest.raises(ConfigError) as error:
        make(name)
    assert str(error.value).startswith(name)
    assert len(str(error.value).splitlines()) == 1


def test_make_takes_lists_dictionaries_and_objects():
    assert make("model/mlp", hidden=(32, 16)).hparams["hidden"] == [32, 16]
    data = make("data/mnist", source={"name": "other", "sizes": {"test": 5}}, mirror=None)
    assert (data.source.name, data.mirror) == ("other", None)
    assert data.source.sizes == {"train": 60000, "test": 5}
    assert data.source.classes == list("0123456789")
    turn = RandomAffine(degrees=5)
    assert make("data/digits", augment=turn).augment is turn
    model = make("model/lenet", optimizer=partial(SGD, lr=0.25))
    assert model._make_optimizer(model.parameters()).param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize("target", ["torch.optim.RMSprop", "torch.optim.NAdam"])
def test_another_class_takes_the_settings_that_it_has(target):
    cfg = OmegaConf.create({"optimizer": OmegaConf.load(CONF / "optimizer/adam.yaml")})
    cfg.optimizer._target_ = target
    typed = [f"optimizer._target_={target}"]
    (told,) = signatures.leave_out(cfg, typed)
    left = {"torch.optim.RMSprop": "betas, fused", "torch.optim.NAdam": "fused"}[target]
    assert told == f"optimizer: {target} takes no {left}: left out"
    built = signatures.build({"optimizer": OmegaConf.to_container(cfg.optimizer)})["optimizer"]
    assert built([Parameter(zeros(1))]).param_groups[0]["lr"] == 1e-3
    assert signatures.leave_out(cfg, typed) == []


def test_what_was_set_by_hand_is_never_left_out():
    cfg = OmegaConf.create({"optimizer": OmegaConf.load(CONF / "optimizer/adam.yaml")})
    cfg.optimizer._target_ = "torch.optim.RMSprop"
    typed = ["optimizer._target_=torch.optim.RMSprop", "optimizer.fused=true"]
    (told,) = signatures.leave_out(cfg, typed)
    assert told.endswith("takes no betas: left out")
    assert cfg.optimizer.fused is True


def test_make_leaves_the_hydra_that_runs_as_it_was():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert make("model/mlp", hidden=[8]).hparams["hidden"] == [8]
        assert compose("augment/shift").augment.shift == 2
