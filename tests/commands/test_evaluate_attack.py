"""`evaluate attack=NAME`: accuracy under an attack, beside the one without."""

import pytest
import torch

from mnist_lab import LabError, models
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import ensemble
from mnist_lab.models.attacks import FGSM, PGD
from mnist_lab.reports import evaluations
from mnist_lab.runs import trained as trained_networks
from tests.commands.runs import read, shown

CLASSES = list("0123456789")


def accuracy(folder, images):
    labels = Digits().read(None, "test")[1]
    return (shown(folder, images).argmax(1) == labels.numpy()).mean()


def under(folder, attack, **settings):
    """The share of test images that the bare network recognises when they are attacked."""
    images, labels = Digits().read(None, "test")
    return accuracy(folder, ensemble.attacked(models.load(folder), images, labels, attack,
                                              **settings))  # fmt: skip


def test_accuracy_under_fgsm_stands_beside_the_one_without(trained, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", "attack=fgsm", "attack.eps=0.1", "output=out")
    assert (called.status, called.err) == (0, "")
    found = read(tmp_path / "out")
    images, labels = Digits().read(None, "test")
    clean = accuracy(trained, images)
    # The attack worked out again, but for images that are not recognised as they are.
    model = models.load(trained).eval()
    point = (images / 255).requires_grad_()
    torch.nn.functional.cross_entropy(model(point), labels).backward()
    attacked = (point.detach() + 0.1 * point.grad.sign()).clamp(0, 1)
    good = shown(trained, images).argmax(1) == labels.numpy()
    still = shown(trained, attacked).argmax(1) == labels.numpy()
    assert found["metrics"]["accuracy"] == pytest.approx(clean, rel=1e-6)
    assert found["attacked"]["accuracy"] == pytest.approx((good & still).mean(), rel=1e-6)
    assert found["attacked"]["deceived"] == (good & ~still).sum()
    low, high = found["attacked"]["accuracy_interval"]
    assert low < found["attacked"]["accuracy"] < high
    assert found["attacked"]["attack"] == {
        "_target_": "mnist_lab.models.attacks.FGSM",
        "eps": 0.1,
        "step_size": None,
        "random_start": False,
    }
    told = f"accuracy {100 * (good & still).mean():.2f} %"
    page = (tmp_path / "out/report.html").read_text()
    console = " ".join(called.out.split())
    assert f"under attack │ {(good & still).mean():.4f}" in console
    for text in (console, page):
        assert "Under FGSM eps 0.1, random_start False: " in text
        assert told in text
    assert (tmp_path / "out/figures/attacked.png").exists()


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_at_eps_0_it_is_the_clean_accuracy(attack, trained, lab_evaluate, tmp_path):
    given = [f"checkpoint={trained}", f"attack={attack}", "attack.eps=0", "output=out"]
    given += ["attack.steps=2"] if attack == "pgd" else []
    assert lab_evaluate(*given).status == 0
    found = read(tmp_path / "out")
    assert found["attacked"]["accuracy"] == found["metrics"]["accuracy"] > 0.7
    assert found["attacked"]["deceived"] == 0


def test_at_eps_a_half_next_to_nothing_is_left(trained, tmp_path):
    assert under(trained, PGD(0.5, steps=20, step_size=0.1)) < 0.05
    assert under(trained, FGSM(0.5)) < 0.3


@pytest.mark.slow
def test_neither_steps_nor_restarts_nor_room_help_the_network(trained):
    def of(steps=4, restarts=1, eps=0.1):
        attack = PGD(eps, steps, step_size=0.03, restarts=restarts)
        return under(trained, attack, seed=1, batch_size=100)

    few, *more = (of(steps=steps) for steps in (1, 3, 6))
    assert few >= more[0] >= more[1]
    assert few > more[1]
    assert of(restarts=1) >= of(restarts=2) >= of(restarts=4)
    assert under(trained, FGSM(0.02)) > under(trained, FGSM(0.1)) > under(trained, FGSM(0.2))


@pytest.mark.slow
def test_several_networks_and_shifted_copies_are_attacked_together(trained, other, lab_evaluate,
                                                                   tmp_path):  # fmt: skip
    given = ["data=digits", "attack=fgsm", "attack.eps=0.1", "tta=2", "output=out"]
    called = lab_evaluate(f"checkpoint=[{trained},{other}]", *given)
    assert called.status == 0, called.err
    images, labels = Digits().read(None, "test")
    members = [models.load(path) for path in (trained, other)]
    attacked = ensemble.attacked(members, images, labels, FGSM(0.1), tta=2)
    expected = ensemble.evaluate(members, attacked, labels, CLASSES, tta=2).accuracy
    assert read(tmp_path / "out")["attacked"]["accuracy"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_the_same_seed_attacks_alike_and_a_sweep_tells_of_each(trained, lab_evaluate, tmp_path):
    given = [f"checkpoint={trained}", "attack.steps=1", "attack.eps=0.2", "seed=0,0,1"]
    called = lab_evaluate("-m", *given, "attack=pgd", "attack.step_size=0.1")
    assert called.status == 0, called.err
    paths = sorted(tmp_path.glob("outputs/evaluations/*/*/evaluation.json"))
    first, again, another = (read(path.parent)["attacked"] for path in paths)
    assert first == again != another
    (head,) = (line for line in called.out.splitlines() if "under attack ┃" in line)
    assert "accuracy" in head
    assert f"│ {first['accuracy']:.4f}" in called.out


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["attack=pdg"], "attack=pdg: no such choice; did you mean pgd?"),
        (["attack=fgsm", "attack.eps=1.5"], "attack.eps=1.5: should be less"),
        (["attack=pgd", "attack.eps=-0.1"], "attack.eps=-0.1: should be greater"),
        (["attack=pgd", "attack.steps=-3"], "attack.steps=-3: should be greater"),
        (["attack=pgd", "attack.restart=3"], "attack.restart: no such setting; did you mean"),
        (["attack=fgsm", "attack.steps=3"], "attack.steps: no such setting"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(typed, told, trained, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", *typed, "output=out")
    assert called.status == 1
    (line,) = called.err.strip().splitlines()
    assert line.startswith(told)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_from_python(trained, tmp_path):
    members = trained_networks.load_all([str(trained)])
    attack = {"_target_": "mnist_lab.models.attacks.PGD", "eps": 0.1, "steps": 2}
    numbers = evaluations.evaluate(
        members, DataModule(Digits(), val_size=200), tmp_path / "out", attack=attack, seed=2
    )
    expected = under(trained, PGD(0.1, 2), seed=2)
    assert numbers["attacked"]["accuracy"] == pytest.approx(expected, rel=1e-6)
    wrong = {
        r"attack\.eps=3: should be less": attack | {"eps": 3},
        r"attack\._target_: a Fog is no attack": {"_target_": "mnist_lab.data.Fog"},
    }
    for told, settings in wrong.items():
        with pytest.raises(LabError, match=told):
            evaluations.evaluate(
                members, DataModule(Digits(), val_size=200), tmp_path / "no", attack=settings
            )
