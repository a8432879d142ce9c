"""A comparison's CSV, Markdown and HTML: what stands there, and that names stay names."""

import io
import os
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from mnist_lab.comparison import gather, marks, panels, rendering, sections
from mnist_lab.comparison.groups import arrange
from mnist_lab.comparison.sections import Section

EVIL = "<script>alert(1)</script>|`x`$y$"


@pytest.fixture
def written(tmp_path):
    """The files of a comparison of all runs."""

    def write():
        runs, left_out = gather.read(gather.find([str(tmp_path / "runs")]))
        tables = arrange(runs, left_out)
        (tmp_path / "out").mkdir(exist_ok=True)
        rendering.write(tmp_path / "out", tables, [Section.of(table) for table in tables], left_out)
        return tmp_path / "out"

    return write


@pytest.fixture
def without_figures(monkeypatch):
    """Leave out what takes longest, where it isn't looked at."""
    monkeypatch.setattr(sections, "draw", lambda table, curves: [])


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_page_is_one_file_without_script_or_network(write_run, written):
    for seed in range(2):
        write_run(f"a{seed}", seed=seed, test=0.9 + seed / 100)
        write_run(f"b{seed}", seed=seed, model__norm=EVIL, data__batch_size=32)
        write_run(f"c{seed}", seed=seed, model__norm=EVIL)
    page = Page((written() / "compare.html").read_text())
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "a"} & set(names)
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 2 * 5  # for a page and for a phone
    assert all(source.startswith("data:image/png;base64,") for source in images)
    assert EVIL in page.text
    (policy,) = (a["content"] for t, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy


@pytest.mark.usefixtures("without_figures")
def test_markdown_tables_have_as_many_cells_in_each_row(write_run, written):
    write_run("a", model__norm=EVIL)
    write_run("b", data__batch_size=32)
    text = (written() / "compare.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
    assert widths == {7, 12}  # of effects, and the leaderboard
    assert "<script>" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|\`x\`$y$" in text


@pytest.mark.usefixtures("without_figures")
def test_left_out_runs_stand_in_every_report(write_run, written):
    write_run("a")
    path = write_run("<b>", seed=1) / "result.json"
    path.unlink()
    out = written()
    reason = f"{path.parent}: unfinished: there is no result.json"
    assert reason in Page((out / "compare.html").read_text()).text
    assert reason.replace("<b>", "&lt;b&gt;") in (out / "compare.md").read_text()
    assert "| 1 of 2 |" in (out / "compare.md").read_text()


def test_tables_of_different_data_stand_apart_with_their_own_figures(write_run, written):
    write_run("a")
    write_run("b", data__val_size=100)
    out = written()
    text = (out / "compare.md").read_text()
    assert re.findall(r"^## .*val_size=(\d+)", text, re.MULTILINE) == ["100", "200"]
    assert (out / "compare_1_groups.png").exists()
    assert (out / "compare_2_groups.png").exists()


def test_names_of_files_neither_steer_a_terminal_nor_break_the_encoding(write_run, written):
    (write_run(os.fsdecode(b"\xff\x1b[31m")) / "metrics.csv").unlink()
    (write_run(os.fsdecode(b"\xfe\x1b[31m"), seed=1) / "result.json").unlink()
    out = written()
    for name in ("compare.md", "compare.html"):
        text = (out / name).read_bytes().decode()
        assert "\x1b" not in text
        assert text.count("x1b") >= 2


@pytest.mark.parametrize("count", [2, 12])
def test_the_page_fits_wide_and_narrow_screens_and_its_figures_are_as_large_as_its_text(
    count, write_run, written, browser
):
    for number in range(count):
        optimizer, norm = ["adam", "sgd"][number % 2], ["after", "none"][number // 2 % 2]
        for seed in range(2):
            choice = {"_target_": f"torch.optim.{optimizer}", "_partial_": True, "lr": 0.001}
            write_run(f"{number}{seed}", seed=seed, test=0.9 - number / 100 + seed / 1000,
                      model__norm=norm, optimizer=choice,
                      data__batch_size=2 ** (5 + number // 4))  # fmt: skip
    address = (written() / "compare.html").as_uri()
    page = browser.new_page()
    for width, drawn in ((1280, panels.WIDE), (390, panels.NARROW)):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(address)
        fits = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits)
        shown = page.evaluate(
            "[...document.images].filter(x => x.clientWidth)"
            ".map(x => [x.clientWidth, x.closest('figure').clientWidth])"
        )
        assert len(shown) == (4 if count == 2 else 5)
        text = 100 / 72 * marks.TEXT  # pixels of an inch's hundred
        size = page.evaluate("getComputedStyle(document.querySelector('td')).fontSize")
        assert text == pytest.approx(float(size.removesuffix("px")), rel=0.02)
        for inside, card in shown:
            assert inside == pytest.approx(100 * drawn, abs=1)  # neither enlarged nor made small
            assert 0.8 * card < inside <= card
    page.emulate_media(media="print")  # from a phone, too, the page's figures are printed
    classes = page.evaluate("[...document.images].filter(x => x.clientWidth).map(x => x.className)")
    assert classes == ["for-page"] * len(shown)
    page.close()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("width", [40, 80, 140])
def test_on_a_narrow_console_columns_are_left_out_and_nothing_is_cut(width, write_run, read_table):
    for seed in range(3):
        write_run(f"a{seed}", seed=seed, val=0.5 + seed / 10, test=0.9)
        write_run(f"b{seed}", seed=seed, val=0.4, test=0.8, model__norm="a_norm_with_a_long_name")
    section = Section.of(read_table())
    file = io.StringIO()
    rendering.say(Console(file=file, width=width), [section], [])
    said = file.getvalue()
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    board = section.grids[0]
    for name in board.header[: 3 if width == 40 else 6 if width == 80 else None]:
        cells = [row[board.header.index(name)] for row in board.rows]
        if name != "group":  # which is wrapped
            assert all(cell in said for cell in cells)
    assert ("No room here for" in said) == (width < 140)
