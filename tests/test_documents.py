"""What README.md and docs/ point at is there."""

import re
from pathlib import Path

import pytest

from tests import documents

DOCUMENTS = ["README.md", *sorted(str(p.relative_to(documents.ROOT))
                                  for p in (documents.ROOT / "docs").rglob("*.md"))]  # fmt: skip


def anchors(text: str) -> set[str]:
    """Of its headings, as GitHub makes them."""
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-")
            for head in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    path = documents.ROOT / document
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" not in link:
            name, _, place = link.partition("#")
            target = path.parent / name if name else path
            assert target.exists(), link
            assert not place or place in anchors(target.read_text()), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_tests_that_are_named_exist(document):
    """`test_x.py::test_y…` is a test, or the first of several, whose names begin so."""
    text = (documents.ROOT / document).read_text()
    last = None
    for name, test in re.findall(r"`((?:[\w/]+\.py)?)(?:::(\w+)…?)?`", text):
        if name:
            places = (".", "tests", "tests/reliability", "mnist_lab")
            found = [p for where in places if (p := documents.ROOT / where / name).exists()]
            found += [*(documents.ROOT / "mnist_lab").rglob(name)]  # the map's, by room
            assert found, name
            last = found[0]
        if test:
            assert f"\ndef {test}" in last.read_text(), test


def test_what_make_test_leaves_out_is_said():
    """It runs pytest, which leaves out what is marked slow."""
    makefile = (documents.ROOT / "Makefile").read_text()
    line = re.search(r"^test:.*## (.*)\n\t(.*)$", makefile, re.MULTILINE)
    assert line.group(2) == "$(BIN)/python -m pytest $(ARGS)"
    (told,) = re.findall(r"^make test .*", (documents.ROOT / "README.md").read_text(), re.MULTILINE)
    assert "slow" in line.group(1)
    assert "slow" in told


def test_the_map_names_every_file_of_the_package():
    text = (documents.ROOT / "docs" / "architecture.md").read_text()
    named = {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", text)}
    package = documents.ROOT / "mnist_lab"
    files = {path.name for path in package.glob("*/*.py")} - {"__init__.py", "__main__.py"}
    assert named == files
