"""The notebooks run as they are stored, and what is stored is what running them shows."""

import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE = re.compile(r"(?<![\w.<:/])(/[\w.-]+){2,}|\b[A-Z]:\\\\")


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: nbformat.NotebookNode) -> list[list[str]]:
    """Of each output, the forms it comes in; what is printed has a name instead."""
    return [sorted(o.data) if "data" in o else [o.get("name", "error")] for o in cell.outputs]


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What an output says in words, in all its forms."""
    found = []
    for output in cell.outputs:
        forms = {"text": output.text} if "text" in output else output.get("data", {})
        found += [text for form, text in forms.items() if form.startswith("text")]
    return found


def test_there_are_three_and_the_readme_names_them():
    readme = (ROOT / "README.md").read_text()
    assert NOTEBOOKS == ["compare_models", "explore_data", "inside_a_network"]
    assert all(f"(notebooks/{name}.ipynb)" in readme for name in NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_are_of_one_run_from_top_to_bottom(name):
    notebook = stored(name)
    nbformat.validate(notebook)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells if not cell.source.startswith("!"))
    printed = {form for cell in cells for each in kinds(cell) for form in each}
    assert "image/png" in printed
    assert not printed & {"stderr", "error", "text/html"}
    assert set(notebook.metadata) == {"kernelspec"}
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 600 * 1024


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_name_no_place_on_a_machine(name):
    said = "\n".join(text for cell in code(stored(name)) for text in texts(cell))
    assert not ABSOLUTE.search(said)
    assert ABSOLUTE.search(f"{said} {ROOT}")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_of_code_is_explained_before_it(name):
    cells = stored(name).cells
    for before, cell in pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown"
            assert len(cell.source.splitlines()) <= 12


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_running_it_shows_what_is_stored(name, tmp_path, mnist_root, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_DATA", str(mnist_root.resolve()))
    path = ROOT / "notebooks" / "execute.py"
    spec = importlib.util.spec_from_file_location("execute", path)
    execute = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(execute)

    notebook = stored(name)
    found = execute.executed(ROOT / "notebooks" / f"{name}.ipynb", tmp_path)
    assert [cell.source for cell in found.cells] == [cell.source for cell in notebook.cells]
    for ours, theirs in zip(code(found), code(notebook), strict=True):
        assert kinds(ours) == kinds(theirs), ours.source
        if name == "explore_data":  # nothing is trained: every number is the same again
            assert texts(ours) == texts(theirs)
