"""Answers in words, with the numbers of independent calculations in them."""

import re

import numpy as np
import pytest
from scipy import stats

from mnist_lab.comparison import answers, gather
from mnist_lab.comparison.columns import arrange

AFTER = [0.9912, 0.9920, 0.9907, 0.9915, 0.9911]
BEFORE = [0.9905, 0.9912, 0.9899, 0.9909, 0.9902]


@pytest.fixture
def table(tmp_path):
    def read():
        (found,) = arrange(gather.read(gather.find([str(tmp_path / "runs")]))[0])
        return found

    return read


@pytest.fixture
def write(write_run):
    def group(norm, tests, val, seeds=None, **settings):
        for seed, test in zip(seeds or range(len(tests)), tests, strict=True):
            name = "-".join(map(str, (norm, seed, *settings.values())))
            write_run(name, seed=seed, val=val, test=test, model__norm=norm, **settings)

    return group


def test_a_difference_by_seed(write, table):
    write("after", AFTER, 0.95)
    write("before", BEFORE, 0.94)
    (found,) = answers.compare(table())
    theirs = stats.ttest_rel(AFTER, BEFORE)
    assert found.p == pytest.approx(theirs.pvalue)
    low, high = (100 * end for end in theirs.confidence_interval())
    assert found.text == (
        f"norm=after beats norm=before by 0.08 points (95 % interval {low:.2f} to {high:.2f}, "
        "paired over 5 seeds, p < 0.001)"
    )


def test_who_wins_by_test_is_told_whoever_validation_chose(write, table):
    write("after", AFTER, 0.94)
    write("before", BEFORE, 0.95)
    (found,) = answers.compare(table())
    assert found.text.startswith("norm=after beats norm=before by 0.08 points (95 % interval 0.06")


def test_no_difference_names_the_smallest_that_could_be_shown(write, table):
    other = [0.9910, 0.9921, 0.9909, 0.9911, 0.9912]
    write("after", AFTER, 0.95)
    write("before", other, 0.94)
    (found,) = answers.compare(table())
    error = stats.sem(np.subtract(AFTER, other))
    noncentral = 3.7610603  # of power 0.8 at 5 % with 4 degrees of freedom
    assert found.text.startswith(
        "norm=after and norm=before: no difference that 5 seeds can show (the smallest they could: "
        f"{100 * noncentral * error:.2f} points; found: 0.00 points, 95 % interval \u22120."
    )


def test_other_seeds_are_compared_by_welchs_test(write, table):
    write("after", AFTER, 0.95)
    write("before", BEFORE[:4], 0.94, seeds=[7, 8, 9, 4])
    (found,) = answers.compare(table())
    assert found.p == pytest.approx(stats.ttest_ind(AFTER, BEFORE[:4], equal_var=False).pvalue)
    assert "Welch's test, 5 and 4 seeds" in found.text


def test_a_lost_seed_leaves_the_pairs_of_the_others(write, table):
    write("after", AFTER, 0.95)
    write("before", BEFORE[1:], 0.94, seeds=[1, 2, 3, 4])
    (found,) = answers.compare(table())
    assert found.p == pytest.approx(stats.ttest_rel(AFTER[1:], BEFORE[1:]).pvalue)
    assert "paired over 4 seeds" in found.text


def test_many_groups_are_compared_with_the_best_after_holms_correction(write, table):
    rng = np.random.RandomState(0)
    values = {norm: rng.normal(0.9, 0.01, 6) for norm in "abcd"}
    for rank, (norm, tests) in enumerate(values.items()):
        write(norm, tests, 0.9 - rank / 100)
    found = answers.compare(table())
    assert [each.other.name for each in found] == ["norm=b", "norm=c", "norm=d"]
    raw = [stats.ttest_rel(values["a"], values[norm]).pvalue for norm in "bcd"]
    order = np.argsort(raw)
    expected = np.empty(3)
    running = 0.0
    for step, index in enumerate(order):
        running = max(running, min(1.0, (3 - step) * raw[index]))
        expected[index] = running
    assert [each.p for each in found] == pytest.approx(expected.tolist())
    # What all share is said once, and of the others what differs.
    assert answers.lead(table(), found) == (
        "Against norm=a, first by validation, in test/accuracy; paired over 6 seeds; in brackets "
        "95 % intervals and p after Holm's correction for 3 comparisons:"
    )
    theirs = stats.ttest_rel(values["a"], values["b"])
    low, high = sorted(
        100 * end * np.sign(theirs.statistic) for end in theirs.confidence_interval()
    )
    gap = 100 * (values["a"] - values["b"]).mean()
    assert found[0].text.startswith(
        f"2. norm=b: {abs(gap):.2f} points {'behind' if gap > 0 else 'ahead'} "
        f"({low:.2f} to {high:.2f}, p = {expected[0]:.2g})".replace("-", "\u2212")
    )


def test_a_line_of_many_tells_what_differs_from_the_first(write, table):
    for number, (norm, size) in enumerate((n, s) for n in ("after", "none") for s in (32, 64)):
        tests = [0.9 - number / 10 + seed / 1000 * (seed + number) for seed in range(3)]
        write(norm, tests if number < 3 else tests[:1], 0.9 - number / 10, data__batch_size=size)
    found = answers.compare(table())
    lead = answers.lead(table(), found)
    assert lead.startswith("Against norm=after batch_size=32, first by validation,")
    assert lead.endswith("one seed alone of 4, so there is no interval there:")
    starts = ["2. batch_size=64: ", "3. norm=none: ", "4. norm=none batch_size=64: "]
    assert [each.text.startswith(s) for each, s in zip(found, starts, strict=True)] == [True] * 3
    assert found[2].text == "4. norm=none batch_size=64: 30.17 points behind"
    told = " ".join([lead, *(each.text for each in found)])
    assert told.count("norm=after") == told.count("one seed") == told.count("interval there") == 1


def test_where_nothing_has_an_interval_none_is_announced(write, table):
    write("after", AFTER, 0.95)
    write("before", BEFORE[:1], 0.94)
    write("none", BEFORE[:1], 0.93)
    assert answers.lead(table(), answers.compare(table())) == (
        "Against norm=after, first by validation, in test/accuracy; one seed alone of 2 and 3, so "
        "there is no interval there:"
    )


def test_single_seeds_are_said_once(write_run, table):
    for number in range(4):
        right = [True] * 90 + [n % 4 != number for n in range(40)]
        write_run(f"{number}", val=0.9 - number / 100, test=0.9, right=right,
                  data__batch_size=number + 1)  # fmt: skip
    found = answers.compare(table())
    assert answers.lead(table(), found) == (
        "Against batch_size=1, first by validation, in test/accuracy; one seed each, so there are "
        "no intervals; p by McNemar's exact test on the images after Holm's correction for 3 "
        "comparisons: of other seeds it says nothing:"
    )
    assert found[0].text == (
        "2. batch_size=2: level; 10 test images are right in the first alone and 10 in this one: "
        "as chance could divide them (p = 1)"
    )


def test_one_seed_has_no_interval(write, table):
    write("after", AFTER, 0.95)
    write("before", BEFORE[:1], 0.94)
    (found,) = answers.compare(table())
    assert found.p is None
    assert found.text == (
        "norm=after is 0.08 points ahead of norm=before; no interval: one seed alone of norm=before"
    )


def test_losses_are_told_as_they_are_and_less_is_better(write_run, table):
    for norm, losses in (("after", [0.25, 0.26, 0.24]), ("before", [0.35, 0.37, 0.36])):
        for seed, loss in enumerate(losses):
            metrics = {"val/loss": loss, "val/accuracy": 0, "test/loss": loss, "test/accuracy": 0}
            write_run(f"{norm}{seed}", seed=seed, model__norm=norm, monitor="val/loss", mode="min",
                      result={"metrics": metrics})  # fmt: skip
    (found,) = answers.compare(table())
    assert found.text.startswith("norm=after beats norm=before by 0.1100 (95 % interval 0.0")


def test_two_single_runs_are_compared_image_by_image(write_run, table):
    one = [True] * 90 + [True] * 9 + [False]
    other = [True] * 90 + [False] * 9 + [True]
    write_run("a", val=0.9, test=0.99, right=one)
    write_run("b", val=0.8, test=0.91, right=other, model__norm="none")
    (found,) = answers.compare(table())
    assert found.p == pytest.approx(stats.binomtest(1, 10).pvalue)
    assert (
        "norm=after is 8.00 points ahead of norm=none; no interval: one seed each. Of the test "
        "images 9 are right in the former alone and 1 in the latter: more than chance (McNemar's "
        "exact test, p = 0.021)"
    ) in found.text


def test_image_by_image_the_one_that_is_ahead_is_the_former(write_run, table):
    write_run("a", val=0.9, test=0.91, right=[True] * 90 + [False] * 9 + [True])
    write_run("b", val=0.8, test=0.99, right=[True] * 99 + [False], model__norm="none")
    (found,) = answers.compare(table())
    assert found.text.startswith("norm=none is 8.00 points ahead of norm=after")
    assert "9 are right in the former alone and 1 in the latter" in found.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("index,truth,prediction\n0,1,1\n", "is of other images"),
        ("index,truth\n0,0\n", "cannot be read: 'prediction'"),
        ("index,truth,prediction\n0,zero,0\n", "cannot be read"),
        ("", "holds no predictions"),
        (None, "cannot be read: [Errno 2]"),
    ],
)
def test_predictions_that_cannot_be_compared_are_told(text, told, write_run, table):
    write_run("a")
    path = write_run("b", model__norm="none") / "predictions.csv"
    path.unlink() if text is None else path.write_text(text)
    (found,) = answers.compare(table())
    assert f"not compared image by image: {path}: {told}" in found.text
    assert found.p is None


def test_an_effect_is_the_mean_over_pairs_that_differ_in_nothing_else(write, table):
    rng = np.random.RandomState(3)
    values = {(n, b): rng.normal(0.9, 0.01, 4) - 0.05 * (n == "none") for n in ("after", "none")
              for b in (32, 64)}  # fmt: skip
    for (norm, size), tests in values.items():
        write(norm, tests, 0.95 if (norm, size) == ("after", 64) else 0.9, data__batch_size=size)
    write("before", rng.normal(0.9, 0.01, 4), 0.8, data__batch_size=128)  # pairs with nothing
    found = {(e.setting, e.value, e.against): e for e in answers.effects(table())}
    assert found.keys() == {("norm", "after", "none"), ("batch_size", "64", "32")}
    norm = found["norm", "after", "none"]
    by_seed = np.mean([values["after", b] - values["none", b] for b in (32, 64)], axis=0)
    theirs = stats.ttest_1samp(by_seed, 0)
    assert norm.difference.mean == pytest.approx(by_seed.mean())
    assert norm.difference.p == pytest.approx(theirs.pvalue)
    assert norm.groups == 2
    (low, high) = sorted(each.difference.p for each in found.values())
    assert sorted(each.p for each in found.values()) == pytest.approx([2 * low, max(2 * low, high)])
    assert 2 * low < 1


def test_an_effect_over_other_seeds_is_the_mean_of_the_pairs_differences(write, table):
    rng = np.random.RandomState(4)
    sizes = {("after", 32): 4, ("none", 32): 5, ("after", 64): 6, ("none", 64): 3}
    values = {key: rng.normal(0.9, 0.01, n) for key, n in sizes.items()}
    for number, ((norm, size), tests) in enumerate(values.items()):
        seeds = range(10 * number, 10 * number + len(tests))
        write(norm, tests, 0.9, seeds, data__batch_size=size)
    found = next(e for e in answers.effects(table()) if e.setting == "norm")
    variances = {key: each.var(ddof=1) / len(each) for key, each in values.items()}
    sign = 1 if found.value == "after" else -1
    gaps = [values["after", b].mean() - values["none", b].mean() for b in (32, 64)]
    assert found.difference.mean == pytest.approx(sign * np.mean(gaps))
    # A contrast of four means with weights of a half: error and degrees of freedom by Welch and
    # Satterthwaite over all four.
    parts = np.array(list(variances.values())) / 4
    freedom = parts.sum() ** 2 / sum(
        p**2 / (sizes[k] - 1) for k, p in zip(sizes, parts, strict=True)
    )
    assert found.difference.error == pytest.approx(np.sqrt(parts.sum()))
    assert found.difference.freedom == pytest.approx(freedom)
    p = 2 * stats.t.sf(abs(np.mean(gaps)) / np.sqrt(parts.sum()), freedom)
    assert found.difference.p == pytest.approx(p)


def test_classes_are_told_apart_over_runs(write_run, table):
    recalls = [(0.90, 0.99, 0.95), (0.91, 0.98, 0.96), (0.89, 0.995, 0.94), (0.90, 0.985, 0.95)]
    for seed, each in enumerate(recalls):
        write_run(f"{seed}", seed=seed, recalls=each)
    best, worst = np.array(recalls)[:, 1], np.array(recalls)[:, 0]
    theirs = stats.ttest_rel(best, worst)
    told = answers.classes(table().groups)
    low, high = (100 * end for end in theirs.confidence_interval(1 - 0.05 / 3))
    assert told.lead == (
        "The best and the worst recognised class; in brackets 95 % intervals and p, paired over 4 "
        "runs, both for 3 pairs:"
    )
    assert told.lines == [
        f"lenet: best 1 (98.75 %), worst 0 (90.00 %), 8.75 points apart ({low:.2f} to {high:.2f}, "
        f"p = {3 * theirs.pvalue:.2g}), more than chance"
    ]


def test_classes_of_one_run_have_intervals_over_images(write_run, table):
    write_run("a", recalls=(0.81, 0.95))
    theirs = [stats.binomtest(k, 100).proportion_ci(method="wilson") for k in (95, 81)]
    first, second = (f"{100 * ci.low:.2f} to {100 * ci.high:.2f}" for ci in theirs)
    told = answers.classes(table().groups)
    assert told.lead.endswith("95 % intervals over images (Wilson's), over seeds there is none:")
    assert told.lines == [
        f"lenet: best 1 (95.00 %), worst 0 (81.00 %), 14.00 points apart ({first} and {second})"
    ]


def test_classes_without_images_are_neither_best_nor_worst(write_run, table):
    metrics = {"precision": 1.0, "f1": 1.0, "support": 100}
    per_class = {
        "a": {**metrics, "recall": 0.9},
        "b": {**metrics, "recall": None, "support": 0},
        "c": {**metrics, "recall": 0.7},
    }
    for seed, recall in enumerate((None, 0.0)):  # as earlier versions wrote it
        per_class["b"] = {**metrics, "recall": recall, "support": 0}
        write_run(f"{seed}", seed=seed, result={"per_class": per_class})
    (line,) = answers.classes(table().groups).lines
    assert (
        line == "lenet: best a (90.00 %), worst c (70.00 %), 20.00 points apart in each of 2 runs"
    )


def test_predictions_by_name_and_by_index_are_of_the_same_images(write_run, table):
    """Of classes called 1 and 2, a 1 was the class 2 in files of earlier versions."""
    by_class = {n: {"precision": 1, "recall": 1, "f1": 1, "support": 2} for n in "12"}
    for name, rows in (
        ("now", ["p1,p2", "0,1,1,0.9,0.9,0.1", "1,2,1,0.9,0.9,0.1"]),
        ("before", ["p0,p1", "0,0,0,0.9,0.9,0.1", "1,1,1,0.9,0.1,0.9"]),
    ):
        folder = write_run(name, model__norm=name, result={"per_class": by_class})
        text = "\n".join(["index,truth,prediction,confidence," + rows[0], *rows[1:]])
        (folder / "predictions.csv").write_text(text)
    (found,) = answers.compare(table())
    assert "not compared" not in found.text
    numbers = re.search(r"(\d)(?: test images)? are right in the \w+ alone and (\d)", found.text)
    assert sorted(numbers.groups()) == ["0", "1"]
