"""What groups are called, and in which settings they are said to differ."""

import json

from mnist_lab.comparison import sections


def test_how_many_images_are_trained_on_is_a_setting_like_any_other(write_run, read_table):
    write_run("a", data__train_size=500)
    write_run("b", data__train_size=None)
    assert {group.name for group in read_table().groups} == {"train_size=500", "train_size=none"}


def test_a_datas_seed_of_its_own_is_a_setting(write_run, read_table):
    write_run("a", data__seed=5)
    write_run("b", data__seed=6)
    assert {group.name for group in read_table().groups} == {"seed=5", "seed=6"}


def test_the_choice_of_a_model_names_it_and_its_own_settings_are_not_told(write_run, read_table):
    write_run("a")
    write_run("b", model__name="mlp", model__hidden=[100], model__norm="none",
              model___target_="mnist_lab.models.MLP")  # fmt: skip
    table = read_table()
    assert {group.name for group in table.groups} == {"model=lenet", "model=mlp"}
    assert [(setting.key, setting.along) for setting in table.settings] == [("model", ())]


def test_a_choice_of_none_has_a_name(write_run, read_table):
    write_run("a")
    write_run("b", augment={"_target_": "mnist_lab.data.augment.Shift", "pixels": 2})
    write_run("c", augment={"_target_": "mnist_lab.data.augment.Shift", "pixels": 3})
    assert {group.name for group in read_table().groups} == {
        "augment=none", "augment=Shift pixels=2", "augment=Shift pixels=3",
    }  # fmt: skip


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
    assert (size.key, size.along) == ("data.batch_size", ("trainer.max_epochs",))
    assert (epochs.key, epochs.leader, epochs.along) == ("trainer.max_epochs", size.key, ())
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
    assert (setting.key, setting.name, setting.along) == ("optimizer.lr", "lr", ())


def test_names_that_would_be_equal_are_told_apart(write_run, read_table):
    for end in "ab":
        write_run(end, model__norm="x" * 60 + end + "x" * 60)
    names = sorted(group.name for group in read_table().groups)
    assert len(set(names)) == 2
    assert [letter in name for letter, name in zip("ab", names, strict=True)] == [True, True]


def test_what_is_shown_of_a_setting_can_be_printed(write_run, read_table):
    write_run("a", model__norm="\x1b[31mred\n")
    write_run("b")
    names = {group.name for group in read_table().groups}
    assert names == {r"norm=\x1b[31mred\n", "norm=after"}
    assert json.dumps(sorted(names)).isascii()
