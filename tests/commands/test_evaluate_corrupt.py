"""`evaluate corrupt=NAME`: one corruption, or those of MNIST-C, each counted apart."""

import numpy as np
import pytest
import torch

from mnist_lab import LabError
from mnist_lab.data import CannyEdges, Digits, Fog, Stripe
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.reports import corrupted
from mnist_lab.settings.conf import make
from tests.commands.runs import read, rows, shown


def errors_of(folder, corruption, seed):
    """The share of test images, and of each class's, that the bare network gets wrong."""
    images, labels = Digits().read(None, "test")
    torch.manual_seed(seed)
    wrong = shown(folder, corruption(images)).argmax(1) != labels.numpy()
    return wrong.mean(), [wrong[labels.numpy() == digit].mean() for digit in range(10)]


@pytest.mark.slow
def test_the_fifteen_of_mnist_c(trained, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", "corrupt=mnist_c", "seed=3", "output=out")
    assert called.status == 0, called.err
    assert called.err == ""
    found = read(tmp_path / "out")
    assert lab_evaluate(f"checkpoint={trained}", "output=clean").status == 0
    assert found["metrics"] == read(tmp_path / "clean")["metrics"]
    suite, each = make("corrupt/mnist_c"), found["corruptions"]["each"]
    assert list(each) == list(found["corrupt"]) == list(suite)
    page = (tmp_path / "out/report.html").read_text()
    for name, corruption in suite.items():
        error, by_class = errors_of(trained, corruption, seed=3)
        assert each[name]["error"] == pytest.approx(error, rel=1e-6)
        worst = each[name]["worst_class"]
        assert worst["error"] == pytest.approx(max(by_class), rel=1e-6)
        assert by_class[int(worst["name"])] == max(by_class)
        assert each[name]["relative"] is None
        row = f"│ {name.replace('_', ' '):<13} │ {100 * error:.2f} %"
        assert row in called.out
        assert f'<td class="name">{name.replace("_", " ")}</td><td>{100 * error:.2f} %' in page
    mean = np.mean([one["error"] for one in each.values()])
    assert found["corruptions"]["mean_error"] == pytest.approx(mean, rel=1e-6)
    assert found["corruptions"]["mce"] is None
    told = f"Mean error over 15 corruptions: {100 * mean:.2f} %; mCE: no reference."
    assert told in called.out
    assert told in page
    assert page.count("<img ") == 8
    assert (tmp_path / "out/figures/corruptions.png").exists()
    # Alone, one damages all that is told.
    called = lab_evaluate(f"checkpoint={trained}", "corrupt=fog", "seed=3", "output=fog")
    assert "test, damaged by Fog severity 5" in called.out
    alone = read(tmp_path / "fog")
    assert 1 - alone["metrics"]["accuracy"] == pytest.approx(each["fog"]["error"], abs=1e-6)
    assert alone["corruptions"] is None
    assert len(rows(tmp_path / "fog/predictions.csv")) == 360


FEW = [f"~corrupt.{name}" for name in make("corrupt/mnist_c") if name not in ("fog", "stripe")]
REFERENCE = "+reference.digits.test={fog: 0.5, stripe: 0.25}"


@pytest.mark.slow
def test_errors_are_told_beside_those_of_a_reference(trained, lab_evaluate, tmp_path):
    given = [f"checkpoint={trained}", "corrupt=mnist_c", *FEW, REFERENCE]
    called = lab_evaluate(*given, "output=out")
    assert called.status == 0, called.err
    found = read(tmp_path / "out")["corruptions"]
    ratios = [errors_of(trained, Fog(), 0)[0] / 0.5, errors_of(trained, Stripe(), 0)[0] / 0.25]
    assert [one["relative"] for one in found["each"].values()] == pytest.approx(
        [ratios[1], ratios[0]], rel=1e-6
    )
    assert found["mce"] == pytest.approx(np.mean(ratios), rel=1e-6)
    assert f"mCE: {np.mean(ratios):.3f}, where the reference network has 1." in called.out
    # Of another strength it is another corruption, of which nobody has measured the reference's.
    called = lab_evaluate(*given, "corrupt.fog.severity=1", "output=other")
    assert called.status == 0, called.err
    assert read(tmp_path / "other")["corruptions"]["mce"] is None
    error, _ = errors_of(trained, Fog(severity=1), 0)
    found = read(tmp_path / "other")["corruptions"]["each"]
    assert found["fog"]["error"] == pytest.approx(error, rel=1e-6)


@pytest.mark.slow
def test_a_sweep_over_corruptions(trained, other, lab_evaluate, tmp_path):
    called = lab_evaluate("-m", f"checkpoint={trained}", "corrupt=none,stripe", "seed=1")
    assert called.status == 0, called.err
    told = {}
    for line in called.out.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if len(cells) == 7 and "_corrupt-" in cells[1]:
            told[cells[1].partition("_corrupt-")[2].partition("_")[0]] = float(cells[3])
    expected = {
        name: 1 - errors_of(trained, corruption, 1)[0]
        for name, corruption in {"none": lambda images: images, "stripe": Stripe()}.items()
    }
    assert told == pytest.approx(expected, abs=1e-4)
    called = lab_evaluate("-m", f"checkpoint={trained},{other}", "corrupt=mnist_c", *FEW)
    assert called.status == 0, called.err
    head = next(line for line in called.out.splitlines() if "mean corruption error" in line)
    assert "mCE" in head
    means = [read(path.parent)["corruptions"]["mean_error"]
             for path in tmp_path.glob("outputs/evaluations/*/*/evaluation.json")
             if read(path.parent)["corruptions"]]  # fmt: skip
    assert len(means) == 2
    assert all(f"│ {mean:.4f} " in called.out for mean in means)


def test_what_a_corruption_lacks_is_told_of_the_choice_that_lacks_it(trained, lab_evaluate):
    given = [f"checkpoint={trained}", "corrupt.severity=2"]
    called = lab_evaluate("-m", *given, "corrupt=stripe,mnist_c,none")
    assert called.status == 1
    for choice in ("mnist_c", "none"):
        assert f"corrupt.severity: no such setting of corrupt={choice}" in called.out
    assert "corrupt.severity: no such setting" in called.out


def test_images_that_one_is_not_defined_on_are_refused_before_any_is_judged():
    def judged(images: torch.Tensor) -> Evaluation:
        raise AssertionError

    images = torch.zeros(3, 3, 28, 28, dtype=torch.uint8)
    with pytest.raises(LabError, match="canny_edges is defined on grey images alone"):
        corrupted.judge(images, {"stripe": Stripe(), "canny_edges": CannyEdges()}, judged, 0)


def test_a_class_that_does_not_occur_is_not_the_worst():
    log_probabilities = torch.eye(3)[[0, 0, 2, 1]].double().log_softmax(1)
    judged = Evaluation(log_probabilities, torch.tensor([0, 0, 2, 2]), ["a", "b", "c"])
    found = corrupted.content({"fog": judged}, {"fog": {}}, None)["each"]["fog"]
    assert (found["error"], found["worst_class"]) == (0.25, {"name": "c", "error": 0.5})
