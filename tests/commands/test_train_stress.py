"""`train stress=mnist_c`: a run's network under each corruption, once it has been tested."""

import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands.runs import read

TINY = ["data=digits", "model=mlp", "model.hidden=[16]", "trainer.max_epochs=1",
        "stress=mnist_c"]  # fmt: skip
FEW = [f"~trainer.callbacks.corruptions.suite.{name}" for name in (
    "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "shear", "scale", "rotate",
    "brightness", "translate", "spatter", "dotted_line", "canny_edges")]  # fmt: skip


@pytest.mark.slow
def test_a_run_tells_of_corruptions_what_evaluate_does(
    lab_train, lab_evaluate, lab_compare, tmp_path
):
    sweep = ["-m", "seed=0,1", "augment=none,corruptions", "hydra.sweep.dir=runs",
             "artefacts=all"]  # fmt: skip
    called = lab_train(*sweep, *TINY, *FEW)
    assert called.status == 0, called.err
    folder = sorted(path.parent for path in (tmp_path / "runs").rglob("result.json"))[0]
    metrics = json.loads((folder / "result.json").read_text())["metrics"]
    called = lab_evaluate(f"checkpoint={folder}", "corrupt=mnist_c", "output=out")
    assert called.status == 0, called.err
    each = read(tmp_path / "out")["corruptions"]["each"]
    names = ["fog", "stripe", "zigzag"]
    for name in names:
        assert metrics[f"test/corruption_error/{name}"] == pytest.approx(
            each[name]["error"], rel=1e-6
        )
    mean = sum(each[name]["error"] for name in names) / 3
    assert metrics["test/corruption_error"] == pytest.approx(mean, rel=1e-6)
    events = EventAccumulator(str(folder / "tensorboard"), {"images": 0})
    events.Reload()
    (image,) = events.Images("test/corruptions")
    assert image.encoded_image_string == (folder / "figures/corruptions.png").read_bytes()
    page = (folder / "report.html").read_text()
    assert "<h2>Corruptions</h2>" in page
    assert f"{metrics['test/corruption_error']:.4f}" in page
    # Group by group, as by accuracy.
    called = lab_compare("runs=runs", "metric=corruption_error")
    assert called.status == 0, called.err
    errors = [
        100 * json.loads(path.read_text())["metrics"]["test/corruption_error"]
        for path in sorted((tmp_path / "runs").rglob("result.json"))
        if "augment: null" in (path.parent / "config.yaml").read_text()
    ]
    assert f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}" in called.out
    assert "paired over 2 seeds" in called.out


def test_what_does_not_fit_is_refused_in_a_line(lab_train, lab_compare, write_run):
    called = lab_train(*TINY, "trainer.callbacks.corruptions.suite.fog.severity=7")
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert line.startswith("trainer.callbacks.corruptions.suite.fog.severity=7: ")
    write_run("a")
    called = lab_compare("runs=runs", "metric=corruption_error")
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert "none of 1 runs can be compared" in line
    assert "was not measured by corruption_error" in line


def test_as_many_images_are_corrupted_as_tested(lab_train, tmp_path):
    called = lab_train(*TINY, *FEW, "trainer.fast_dev_run=true", "data.eval_batch_size=7",
                       "hydra.run.dir=quick")  # fmt: skip
    assert called.status == 0, called.err
    (told,) = (line for line in called.out.splitlines() if "corruption_error/fog" in line)
    error = float(told.split("│")[2])
    assert error * 7 == pytest.approx(round(error * 7), abs=1e-3)  # of seven images
    assert not (tmp_path / "quick/figures").exists()
