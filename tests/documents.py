"""The commands that stand in README.md and docs/, to be run by tests."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRAIN = "python -m mnist_lab.train "


def blocks(document: str, language: str) -> list[str]:
    """The contents of the document's fenced blocks in this language."""
    text = (ROOT / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def lines(document: str) -> list[str]:
    """Its commands, without comments."""
    shell = "".join(blocks(document, "bash"))
    return [line.split("#")[0].strip() for line in shell.splitlines()]


def scaling(word: str) -> list[str]:
    """The arguments of the one train command in docs/scaling.md that has this word in it."""
    (line,) = (line for line in lines("docs/scaling.md") if word in line)
    assert line.startswith(TRAIN)
    return line.removeprefix(TRAIN).split()
