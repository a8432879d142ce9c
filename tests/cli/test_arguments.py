"""What is typed and what Hydra reads: paths of any characters, settings that no YAML lists."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from mnist_lab import predict
from mnist_lab.cli import command
from mnist_lab.cli.arguments import quote_paths

NAMES = [
    "größe.jpg", "photo (1).jpg", "run=3.jpg", "a,b.jpg", "[1].jpg", "it's.jpg", 'say "7".jpg',
    "$HOME.jpg", "a b", " a ", "1.50", "true", "10e3", "back\\", "a\\'b", "{a: 1}", "#7.png", "7;8",
    "a&b", "手書き.png", "new\nline", "a:b", "glob(*)", "*.png", "@home", "%7", "^", "`ls`", "a~",
]  # fmt: skip


def read(*typed):
    """What settings are, once Hydra has read them."""
    parser = OverridesParser.create()
    overrides = parser.parse_overrides(quote_paths(typed))
    values = [each.value() for each in overrides]
    assert not any(each.is_sweep_override() for each in overrides)
    return [OmegaConf.to_container(OmegaConf.create({"value": v}))["value"] for v in values]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["input", "data.root", "+data.mirror", "hydra.run.dir"])
def test_a_path_is_what_was_typed(key, name):
    assert read(f"{key}={name}") == [name]


@given(st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_a_path_is_what_was_typed_whatever_it_is(name):
    path = f"./{name}/x"  # no quotes around all of it, no ~ at its start
    if "${" not in path:
        assert read(f"input={path}") == [path]


def test_a_path_that_is_there_is_itself_even_where_hydra_would_read_more_into_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("'a'", "[a]", "[a,b]", "~", "a${b}"):
        Path(name).touch()
        (found,) = read(f"runs={name}")
        assert OmegaConf.create({"a": found}).a == name


def test_a_home_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/größe")
    assert read("data.root=~/x (1)", "output=~") == ["/home/größe/x (1)", "/home/größe"]


def test_what_is_written_for_hydra_stays():
    assert read("input='a b'", 'output="c,d"', "output=null") == ["a b", "c,d", None]
    assert quote_paths(["hydra.run.dir=outputs/${model.name}"]) == [
        "hydra.run.dir=outputs/${model.name}"]  # fmt: skip
    rest = ["-m", "model=mlp,lenet", "model.hidden=[1,2]", "--config-dir", "a=b"]
    assert quote_paths(rest) == rest


def test_several_paths_are_a_list():
    assert read("checkpoint=[größe, 'a,b',c=1]") == [["größe", "a,b", "c=1"]]
    assert read("runs=[a (1)/*]") == [["a (1)/*"]]


def test_in_a_sweep_commas_are_choices():
    (override,) = OverridesParser.create().parse_overrides(
        quote_paths(["-m", "data.root=größe,'a,b'"])[1:]
    )
    assert list(override.sweep_string_iterator()) == ["'größe'", "'a,b'"]
    (override,) = OverridesParser.create().parse_overrides(
        quote_paths(["-m", "distil.teachers=[größe],[größe,'a,b']"])[1:]
    )
    assert list(override.sweep_string_iterator()) == ["['größe']", "['größe','a,b']"]
    (override,) = OverridesParser.create().parse_overrides(quote_paths(["data.root=a,b"]))
    assert override.value() == "a,b"


def test_jobs_of_a_sweep_are_called_as_before_paths_were_quoted():
    typed = ["-m", "data=folder", "data.root=~/pics", "init_from=outputs/first,outputs/2nd-run"]
    home = str(Path.home() / "pics")
    assert quote_paths(typed) == [*typed[:2], f"data.root={home}", typed[3]]
    run = "init_from=outputs/mnist/lenet/2026-11-21_22-48-13-e5b18ad6"
    assert quote_paths([run, "data.root=../pics.d"]) == [run, "data.root=../pics.d"]


@pytest.mark.slow
def test_commands_take_paths_of_any_characters(
    lab_train, lab_evaluate, lab_compare, tmp_path, monkeypatch
):
    name = "größe (1), a=b it's"
    called = lab_train("data=digits", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1",
                       f"hydra.run.dir={name}")  # fmt: skip
    assert called.status == 0, called.err
    called = lab_train(f"resume={name}")
    assert called.status == 0, called.err
    assert "Finished before" in called.out
    called = lab_evaluate(f"checkpoint={name}", f"output={name}/evaluation")
    assert called.status == 0, called.err
    assert (tmp_path / name / "evaluation/evaluation.json").exists()
    shutil.rmtree(tmp_path / name / "evaluation")
    called = lab_compare(f"runs={name}", f"output={name}/comparison")
    assert called.status == 0, called.err
    Image.new("L", (28, 28)).save("7 (1), ä=b.png")
    monkeypatch.setattr(sys, "argv", [
        "predict", f"checkpoint={name}", "input=7 (1), ä=b.png", "output=ü (1).csv"])  # fmt: skip
    command.run(predict.main)
    assert Path("ü (1).csv").exists()


def test_of_another_text_it_is_said_how_to_quote_it(lab_train):
    called = lab_train("model.name=größe (1)")
    assert called.status == 1
    assert called.err.strip().endswith("""if it is a text: 'model.name='"'"'größe (1)'"'"''""")


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["trainer.limit_val_batches=0"], "trainer.limit_val_batches", 0),
        (["optimizer=sgd", "optimizer.dampening=0.1", "optimizer.nesterov=false"],
         "optimizer.dampening", 0.1),
        (["augment=shift", "augment.degrees=30"], "augment.degrees", 30),
        (["optimizer.foreach=false", "optimizer._target_=torch.optim.Adamax"],
         "optimizer.foreach", False),
        (["trainer.callbacks.early_stopping.min_delta=0.1"],
         "trainer.callbacks.early_stopping.min_delta", 0.1),
        (["model.in_channels=3"], "model.in_channels", 3),
    ],
)  # fmt: skip
def test_what_a_class_has_is_set_without_a_plus(arguments, key, value, lab_train):
    called = lab_train("--cfg", "job", *arguments)
    assert called.status == 0, called.err
    assert OmegaConf.select(OmegaConf.create(called.out), key) == value


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model=mlp", "model.nrm=after"], "model.nrm: no such setting; did you mean norm?"),
        (["optimizer._target_=torch.optim.SGD", "optimizer.amsgrad=true"],
         "optimizer.amsgrad: no such setting; there are params, lr, momentum"),
        (["trainer.callbacks.early_stoping=null"],
         "trainer.callbacks.early_stoping: no such setting; did you mean early_stopping?"),
        (["augment.degrees=3"], "augment.degrees: no such setting"),
        (["trainer.callbacks.rate={_target_:lightning.pytorch.callbacks.LearningRateMonitor}"],
         "trainer.callbacks.rate: there is none yet; a new one is set with a +"),
        (["optimizer.foreach=false", "optimizer._target_=torch.optim.Adamaxx"],
         "optimizer._target_=torch.optim.Adamaxx: cannot be imported: "),
        (["+model=mlp"], "+model=mlp: is chosen without a +, model=mlp"),
        (["++model=mlp"], "++model=mlp: is chosen without a +, model=mlp"),
        (["+experiment=bn_cnn"], "+experiment=bn_cnn: is chosen without a +, experiment=bn_cnn"),
    ],
)  # fmt: skip
def test_what_it_lacks_is_refused(arguments, told, lab_train):
    called = lab_train("--cfg", "job", *arguments)
    assert called.status == 1
    assert called.err.startswith(told)
    assert len(called.err.splitlines()) == 1


def test_a_class_that_is_mistyped_and_a_setting_are_told_what_was_meant(lab_train, heavy_imports):
    called = lab_train("optimizer.foreach=false", "optimizer._target_=torch.optim.Adamaxx")
    assert called.err.strip().endswith("did you mean torch.optim.Adamax?")
    assert heavy_imports("mnist_lab.train", "model.imge_size=32") == set()  # the YAML decides


QUICK = ["-m", "data=digits", "trainer.fast_dev_run=true", "sweep=s"]


def test_a_sweep_sets_what_its_choices_have(lab_train, monkeypatch, tmp_path):
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/tiny.yaml").write_text(
        "_target_: mnist_lab.models.MLP\nhidden: [8]\n"  # which lists little
    )
    called = lab_train("--config-dir", "conf", "-m", "data=digits", "sweep=s", "model=tiny,mlp",
                       "model.hidden=[4]", "model.norm=after", "trainer.max_epochs=1")  # fmt: skip
    assert called.status == 0, called.err
    stored = [OmegaConf.load(path) for path in tmp_path.glob("outputs/sweeps/s/*/config.yaml")]
    assert sorted((each.model.name, each.model.norm) for each in stored) == [
        ("mlp", "after"), ("tiny", "after")]  # fmt: skip
    record = json.loads((tmp_path / "outputs/sweeps/s/sweep.json").read_text())
    assert record["settings"] == ["data", "model", "model.hidden", "model.norm",
                                  "trainer.max_epochs"]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["model=mlp,lenet,lenet_maxpool", "model.norm=after"],
         "model.norm: no such setting of model=lenet, model=lenet_maxpool; did you mean normalize"),
        (["optimizer=sgd,adam", "optimizer.momentum=0.5"],
         "optimizer.momentum: no such setting of optimizer=adam;"),
        (["augment=affine,none", "augment.degrees=0,15"],
         "augment.degrees: no such setting of augment=none"),
        (["scheduler=onecycle,step", "scheduler.warmup=0.1"],
         "scheduler.warmup: no such setting of scheduler=step;"),
        (["experiment=bn_cnn,lenet_tanh", "model.norm=after"],
         "model.norm: no such setting of experiment=lenet_tanh;"),
        (["optimizer._target_=torch.optim.SGD,torch.optim.Adam", "optimizer.momentum=0.5"],
         "optimizer.momentum: no such setting of optimizer._target_=torch.optim.Adam;"),
        (["seed=0,1", "model.nrm=after"], "model.nrm: no such setting; there are"),
        (["seed=0,1", "trainer.callbacks.early_stoping=null"],
         "trainer.callbacks.early_stoping: no such setting; did you mean early_stopping?"),
    ],
)  # fmt: skip
def test_a_sweep_says_which_of_its_choices_lack_a_setting(arguments, told, lab_train, tmp_path):
    called = lab_train(*QUICK, *arguments)
    assert called.status == 1
    assert called.err.startswith(told)
    assert len(called.err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()
