"""Files that are whole or not there, written beside those of others."""

import multiprocessing
import os
import signal

from mnist_lab.system.files import left_behind, whole


def killed_while_writing(path):
    with whole(path) as file:
        file.write("half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_lies_beside_a_file_is_nobody_elses(tmp_path):
    (tmp_path / "table.csv.part").write_text("mine")
    with whole(tmp_path / "table.csv") as file:
        file.write("whole")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"table.csv": "whole", "table.csv.part": "mine"}


def test_a_name_may_be_as_long_as_the_file_system_has_it(tmp_path):
    path = tmp_path / ("x" * 255)
    with whole(path) as file:
        file.write("whole")
    assert path.read_text() == "whole"


def test_what_a_killed_process_leaves_is_known_by_its_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    (tmp_path / ".notes.part").touch()
    (tmp_path / ".mnist_lab-notes.part").touch()
    process = multiprocessing.get_context("fork").Process(target=killed_while_writing, args=(path,))
    process.start()
    process.join()
    assert process.exitcode < 0
    assert path.read_text() == "before"
    (left,) = left_behind(tmp_path)
    assert left.read_text() == "half"
