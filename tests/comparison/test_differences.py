"""By how much groups differ, against independent calculations."""

import numpy as np
import pytest
from scipy import stats

from mnist_lab.comparison.differences import compare, effects
from mnist_lab.metrics.significance import holm

AFTER = [0.9912, 0.9920, 0.9907, 0.9915, 0.9911]
BEFORE = [0.9905, 0.9912, 0.9899, 0.9909, 0.9902]


def test_groups_are_compared_seed_by_seed_as_far_as_their_seeds_match(write_group, read_table):
    write_group("after", AFTER, 0.95)
    write_group("before", BEFORE[1:], 0.94, seeds=[1, 2, 3, 4])
    (compared,) = compare(read_table())
    assert compared.p == pytest.approx(stats.ttest_rel(AFTER[1:], BEFORE[1:]).pvalue)
    assert (compared.difference.paired, compared.difference.n) == (True, 4)


def test_other_seeds_are_compared_by_welchs_test(write_group, read_table):
    write_group("after", AFTER, 0.95)
    write_group("before", BEFORE[:4], 0.94, seeds=[7, 8, 9, 4])
    (compared,) = compare(read_table())
    assert compared.p == pytest.approx(stats.ttest_ind(AFTER, BEFORE[:4], equal_var=False).pvalue)
    assert not compared.difference.paired


def test_many_groups_are_compared_with_the_best_after_holms_correction(write_group, read_table):
    rng = np.random.RandomState(0)
    values = {norm: rng.normal(0.9, 0.01, 6) for norm in "abcd"}
    for rank, (norm, tests) in enumerate(values.items()):
        write_group(norm, tests, 0.9 - rank / 100)
    compared = compare(read_table())
    assert [each.other.name for each in compared] == ["norm=b", "norm=c", "norm=d"]
    raw = [stats.ttest_rel(values["a"], values[norm]).pvalue for norm in "bcd"]
    assert [each.p for each in compared] == pytest.approx(holm(raw))


def test_single_runs_are_compared_image_by_image(write_run, read_table):
    write_run("a", val=0.9, test=0.99, right=[True] * 90 + [True] * 9 + [False])
    write_run("b", val=0.8, test=0.91, right=[True] * 90 + [False] * 9 + [True], model__norm="none")
    (compared,) = compare(read_table())
    assert compared.alone == (9, 1)
    assert compared.p == pytest.approx(stats.binomtest(1, 10).pvalue)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("index,truth,prediction\n0,1,1\n", "is of other images"),
        ("index,truth\n0,0\n", "cannot be read: 'prediction'"),
        ("index,truth,prediction\n0,zero,0\n", "cannot be read"),
        ("", "holds no predictions"),
        (None, "cannot be read: [Errno 2]"),
    ],
)
def test_why_predictions_cannot_be_compared_is_known(text, reason, write_run, read_table):
    write_run("a")
    path = write_run("b", model__norm="none") / "predictions.csv"
    path.unlink() if text is None else path.write_text(text)
    (compared,) = compare(read_table())
    assert compared.alone.startswith(f"{path}: {reason}")
    assert compared.p is None


def test_predictions_by_name_and_by_index_are_of_the_same_images(write_run, read_table):
    """Of classes called 1 and 2, a 1 was the class 2 in files of earlier versions."""
    by_class = {n: {"precision": 1, "recall": 1, "f1": 1, "support": 2} for n in "12"}
    for name, rows in (
        ("now", ["p1,p2", "0,1,1,0.9,0.9,0.1", "1,2,1,0.9,0.9,0.1"]),
        ("before", ["p0,p1", "0,0,0,0.9,0.9,0.1", "1,1,1,0.9,0.1,0.9"]),
    ):
        folder = write_run(name, model__norm=name, result={"per_class": by_class})
        text = "\n".join(["index,truth,prediction,confidence," + rows[0], *rows[1:]])
        (folder / "predictions.csv").write_text(text)
    (compared,) = compare(read_table())
    assert compared.first.name == "norm=before"
    assert compared.alone == (1, 0)


def test_an_effect_is_the_mean_over_pairs_that_differ_in_nothing_else(write_group, read_table):
    rng = np.random.RandomState(3)
    values = {(n, b): rng.normal(0.9, 0.01, 4) - 0.05 * (n == "none") for n in ("after", "none")
              for b in (32, 64)}  # fmt: skip
    for (norm, size), tests in values.items():
        val = 0.95 if (norm, size) == ("after", 64) else 0.9
        write_group(norm, tests, val, data__batch_size=size)
    write_group("before", rng.normal(0.9, 0.01, 4), 0.8, data__batch_size=128)  # in no pair
    by_value = {(e.setting, e.value, e.against): e for e in effects(read_table())}
    assert by_value.keys() == {("norm", "after", "none"), ("batch_size", "64", "32")}
    norm = by_value["norm", "after", "none"]
    by_seed = np.mean([values["after", b] - values["none", b] for b in (32, 64)], axis=0)
    assert norm.difference.mean == pytest.approx(by_seed.mean())
    assert norm.difference.p == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue)
    assert norm.groups == 2
    raw = [effect.difference.p for effect in by_value.values()]
    assert [effect.p for effect in by_value.values()] == pytest.approx(holm(raw))


def test_an_effect_over_other_seeds_is_the_mean_of_the_pairs_differences(write_group, read_table):
    rng = np.random.RandomState(4)
    sizes = {("after", 32): 4, ("none", 32): 5, ("after", 64): 6, ("none", 64): 3}
    values = {key: rng.normal(0.9, 0.01, n) for key, n in sizes.items()}
    for number, ((norm, size), tests) in enumerate(values.items()):
        seeds = range(10 * number, 10 * number + len(tests))
        write_group(norm, tests, 0.9, seeds, data__batch_size=size)
    effect = next(e for e in effects(read_table()) if e.setting == "norm")
    sign = 1 if effect.value == "after" else -1
    gaps = [values["after", b].mean() - values["none", b].mean() for b in (32, 64)]
    assert effect.difference.mean == pytest.approx(sign * np.mean(gaps))
    # A contrast of four means with weights of a half: error and degrees of freedom by Welch and
    # Satterthwaite over all four.
    parts = np.array([x.var(ddof=1) / len(x) for x in values.values()]) / 4
    freedom = parts.sum() ** 2 / (parts**2 / (np.array(list(sizes.values())) - 1)).sum()
    assert effect.difference.error == pytest.approx(np.sqrt(parts.sum()))
    assert effect.difference.freedom == pytest.approx(freedom)


def test_of_settings_that_change_together_one_has_the_effect(write_run, read_table):
    for size, epochs in ((32, 2), (64, 4), (128, 8)):
        write_run(f"{size}", data__batch_size=size, trainer__max_epochs=epochs, val=size / 200)
    assert [(e.setting, e.against) for e in effects(read_table())] == [
        ("batch_size", "32"), ("batch_size", "64"),
    ]  # fmt: skip
