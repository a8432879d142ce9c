"""Whether a network knows when it doesn't: temperature, coverage, foreign images."""

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from mnist_lab import LabError, models
from mnist_lab.data import DataModule, Digits
from mnist_lab.reports import detected, selective
from mnist_lab.settings.conf import make
from tests.commands.runs import read


def logits_of(folder, images):
    with torch.inference_mode():
        return models.load(folder)(images).double().numpy()


@pytest.fixture(scope="module")
def parts(trained):
    """Logits and labels of a run's validation and test images."""
    data = DataModule(Digits(), val_size=200)
    return {
        split: (logits_of(trained, images), labels.numpy())
        for split in ("val", "test")
        for images, labels in [data.tensors(split)]
    }


def test_a_temperature_is_fitted_on_validation_images(trained, parts, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", "calibrate=true", "accuracy=0.98", "output=out")
    assert called.status == 0, called.err
    found = read(tmp_path / "out")
    logits, labels = parts["val"]

    def loss(temperature):
        return log_loss(labels, softmax(logits / temperature, axis=1), labels=range(10))

    expected = optimize.minimize_scalar(loss, bounds=(0.01, 10), method="bounded",
                                        options={"xatol": 1e-8}).x  # fmt: skip
    temperature = found["calibration"]["temperature"]
    assert temperature == pytest.approx(expected, rel=1e-4)
    assert found["calibration"]["validation_images"] == len(labels)
    logits, labels = parts["test"]
    for key, divisor in (("before", 1), ("after", temperature)):
        shares = softmax(logits / divisor, axis=1)
        each = found["calibration"][key]
        assert each["loss"] == pytest.approx(log_loss(labels, shares), rel=1e-4)
        brier = brier_score_loss(labels, shares, labels=range(10), scale_by_half=False)
        assert each["brier_score"] == pytest.approx(brier, rel=1e-4)
    assert found["calibration"]["before"].items() <= found["metrics"].items()

    # The lowest confidence that is right often enough there, and what it gives on the test images.
    wished, sure = found["risk_coverage"]["wished"], {}
    for split, (logits, labels) in parts.items():
        confidence = softmax(logits / temperature, axis=1).max(1)
        sure[split] = (confidence, logits.argmax(1) == labels)
    confidence, right = sure["val"]
    fitting = [each for each in confidence if right[confidence >= each].mean() >= 0.98]
    assert wished["confidence"] == pytest.approx(min(fitting), abs=1e-5)
    confidence, right = sure["test"]
    answered = confidence >= wished["confidence"]
    assert wished["coverage"] == pytest.approx(answered.mean(), abs=0.003)
    assert wished["reached"] == pytest.approx(right[answered].mean(), abs=0.003)

    page = (tmp_path / "out/report.html").read_text()
    told = f"Temperature {temperature:.4f} fits the {len(parts['val'][1])} validation images best"
    for text in (" ".join(called.out.split()), page):
        assert told in text
        assert f"A confidence of {wished['confidence']:.6g} or more at temperature" in text
    drawn = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert {"calibration", "risk_coverage"} <= drawn


def test_accuracies_by_coverage(trained, parts, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", "output=out")
    assert called.status == 0, called.err
    found = read(tmp_path / "out")
    assert (found["calibration"], found["foreign"]) == (None, None)
    logits, labels = parts["test"]
    shares = softmax(logits, axis=1)
    wrong = (shares.argmax(1) != labels)[np.argsort(-shares.max(1))]
    risk = wrong.cumsum() / np.arange(1, 361)
    assert found["risk_coverage"]["area"] == pytest.approx(risk.mean(), rel=1e-3)
    expected = {"99": 1 - risk[356], "95": 1 - risk[341], "90": 1 - risk[323]}
    assert found["risk_coverage"]["accuracy"] == pytest.approx(expected, rel=1e-6)
    assert found["risk_coverage"]["wished"] is None
    for percent, accuracy in expected.items():
        assert f"│ {percent} %          │ {100 * accuracy:.2f} %" in called.out


def test_a_wish_that_no_confidence_fulfils(trained):
    """The surest image of all is taken for another class."""
    data = DataModule(Digits(), val_size=200)
    images, labels = data.tensors("val")
    surest = softmax(logits_of(trained, images), axis=1).max(1).argmax()
    judged = models.evaluate(models.load(trained), images, labels, data.classes)
    labels[surest] = (int(judged.predictions[surest]) + 1) % 10
    found = selective.threshold(judged, judged, 1.0, 1.0)
    assert (found["confidence"], found["coverage"], found["reached"]) == (None, None, None)
    told = selective.told({"area": 0.01, "wished": found})
    assert "No confidence gives an accuracy of 100.00 % among the 200 validation images." in told


@pytest.mark.slow
@pytest.mark.mnist
def test_foreign_images(trained, mnist_root, lab_evaluate, tmp_path, monkeypatch):
    """Digits of scikit-learn's are a network's own; MNIST's, of another hand, are foreign."""
    monkeypatch.setenv("MNIST_LAB_DATA", str(mnist_root))
    called = lab_evaluate(f"checkpoint={trained}", "foreign=[mnist]", "output=out")
    assert called.status == 0, called.err
    found = read(tmp_path / "out")["foreign"]["mnist"]
    own, _ = Digits().read(None, "test")
    images, _ = make("data/mnist", root=str(mnist_root)).tensors("test")
    logits = torch.from_numpy(logits_of(trained, torch.cat([own, images])))
    scores = {
        "largest_probability": logits.softmax(1).amax(1),
        "largest_logit": logits.amax(1),
        "energy": logits.logsumexp(1),
    }
    assert list(found) == ["images", *scores]
    assert found["images"] == 10_000
    truth = np.repeat([1, 0], [360, 10_000])
    for name, values in scores.items():
        auroc = roc_auc_score(truth, values)
        assert found[name]["auroc"] == pytest.approx(auroc, abs=1e-4)
        least = np.sort(values[:360])[-342]
        passed = np.mean(values[360:].numpy() >= least)
        assert found[name]["false_positive_rate"] == pytest.approx(passed, abs=2e-3)
        row = f"│ mnist          │ {name.replace('_', ' '):<19} │ {100 * auroc:.1f}"
        assert row in called.out
    assert "Foreign images" in (tmp_path / "out/report.html").read_text()
    assert (tmp_path / "out/figures/foreign.png").exists()


def test_foreign_images_of_other_sizes_are_refused():
    own = torch.zeros(3, 1, 28, 28)
    detected.refuse_other_sizes(own, {"kmnist": own[:2]})
    with pytest.raises(
        LabError, match=r"foreign=colours: has images of 3 x 28 x 28; .* 1 x 28 x 28"
    ):
        detected.refuse_other_sizes(own, {"colours": torch.zeros(9, 3, 28, 28)})
