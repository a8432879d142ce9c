"""The table at a sweep's end, of folders that are there."""

from mnist_lab.cli import standings


def test_of_many_jobs_the_best_and_all_that_failed_are_listed(write_run, tmp_path, capsys):
    for number in range(105):
        write_run(f"job{number}", val=number / 105)
    (tmp_path / "runs/failed").mkdir()
    (tmp_path / "runs/failed/failed.txt").write_text("reason")
    standings.show(tmp_path / "runs", {}, "val/accuracy", "max")
    out = capsys.readouterr().out
    jobs = [cells[2].strip() for line in out.splitlines() if len(cells := line.split("│")) > 2]
    assert jobs == [*(f"job{number}" for number in range(104, 4, -1)), "failed"]
    assert "and 5 finished jobs more" in out


def test_jobs_without_a_rank_are_listed_in_the_order_of_their_numbers(write_run, tmp_path, capsys):
    for size in (1024, 256, 32, 64, 10):
        (write_run(f"size-{size}_seed-1") / "result.json").unlink()
    standings.show(tmp_path / "runs", {}, "val/accuracy", "max")
    names = [row.split("\u2502")[2].strip() for row in capsys.readouterr().out.splitlines()
             if "size-" in row]  # fmt: skip
    assert names == [f"size-{size}_seed-1" for size in (10, 32, 64, 256, 1024)]
