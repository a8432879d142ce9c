"""What groups are called, and in which settings they are said to differ."""

import pytest

from mnist_lab.comparison import sections


def shift(pixels):
    return {"augment": {"_target_": "mnist_lab.data.augment.Shift", "pixels": pixels}}


MLP = {"model__name": "mlp", "model___target_": "mnist_lab.models.MLP", "model__hidden": [100]}


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        ([{"data__train_size": 500}, {"data__train_size": None}], "train_size=500 train_size=none"),
        ([{"data__seed": 5}, {"data__seed": 6}], "seed=5 seed=6"),
        ([{}, MLP], "model=lenet model=mlp"),  # whose own settings are not told
        ([{}, shift(2)], "augment=none augment=Shift"),
        ([{"model__norm": "\x1b[31mred\n"}, {}], r"norm=\x1b[31mred\n norm=after"),
    ],
)
def test_groups_are_called_by_what_differs_as_it_can_be_printed(runs, names, write_run, read_table):
    for number, settings in enumerate(runs):
        write_run(f"{number}", val=-number, **settings)
    assert " ".join(group.name for group in read_table().groups) == names


def test_choices_of_conf_have_their_names_unless_they_were_changed(write_run, read_table):
    affine = {"_target_": "mnist_lab.data.RandomAffine", "degrees": 15, "scale": 0.15, "shift": 2}
    shift = {"_target_": "mnist_lab.data.RandomAffine", "shift": 2}
    for name, augment in (("a", None), ("b", shift), ("c", affine)):
        write_run(name, augment=augment)
    table = read_table()
    assert [setting.key for setting in table.settings] == ["augment"]
    names = {group.runs[0].folder.name: group.name for group in table.groups}
    assert names == {"a": "augment=none", "b": "augment=shift", "c": "augment=affine"}
    write_run("d", augment={**shift, "shift": 3})
    assert "shift=3" in {g.runs[0].folder.name: g.name for g in read_table().groups}["d"]


def test_settings_that_change_together_are_one_and_said_to_be(write_run, read_table):
    for size, epochs in ((32, 2), (64, 4), (128, 8)):
        write_run(f"{size}", data__batch_size=size, trainer__max_epochs=epochs)
    table = read_table()
    size, epochs = table.settings
    assert (size.key, size.leader) == ("data.batch_size", None)
    assert (epochs.key, epochs.leader) == ("trainer.max_epochs", size.key)
    assert "With data.batch_size trainer.max_epochs changes: their effects are one." in [
        *sections.notes(table)
    ]


def test_a_searchs_trials_are_told_apart_by_all_that_was_chosen(write_run, read_table):
    for number in range(3):
        choice = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": (number + 1) / 10,
                  "weight_decay": (3 - number) / 100}  # fmt: skip
        write_run(f"{number}", optimizer=choice, test=0.9 - number / 10)
    table = read_table()
    assert [setting.key for setting in table.settings] == ["optimizer.lr", "optimizer.weight_decay"]
    names = {group.runs[0].folder.name: group.name for group in table.groups}
    assert names == {
        "0": "lr=0.1 weight_decay=0.03", "1": "lr=0.2 weight_decay=0.02",
        "2": "lr=0.3 weight_decay=0.01",
    }  # fmt: skip


def test_an_interpolations_second_copy_is_not_told(write_run, read_table):
    for lr in (0.1, 0.2):
        choice = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": lr}
        write_run(f"{lr}", optimizer=choice)
    (setting,) = read_table().settings
    assert (setting.key, setting.name) == ("optimizer.lr", "lr")


def test_names_that_would_be_equal_are_told_apart(write_run, read_table):
    for end in "ab":
        write_run(end, model__norm="x" * 60 + end + "x" * 60)
    names = sorted(group.name for group in read_table().groups)
    assert len(set(names)) == 2
    assert [letter in name for letter, name in zip("ab", names, strict=True)] == [True, True]
