"""What a sweep over evaluations ends with: a table of them."""

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnist_lab.reports.page import number


def show_all(folder: Path) -> None:
    """A table of the evaluations in the folder of a sweep over them, in the order of its jobs."""
    stored = {path.parent.name: path for path in folder.glob("*/evaluation.json")}
    if not stored:
        return
    jobs = {
        name: json.loads(stored[name].read_text(encoding="utf-8"))
        for name in sorted(stored, key=lambda name: int(name.partition("_")[0]))
    }
    table = Table("evaluation", "images", "accuracy", "95 % interval", "loss")
    with_corruptions = any(numbers["corruptions"] for numbers in jobs.values())
    if with_corruptions:
        table.add_column("mean corruption error")
        table.add_column("mCE")
    with_attack = any(numbers["attacked"] for numbers in jobs.values())
    if with_attack:
        table.add_column("under attack")
    for name, numbers in jobs.items():
        accuracy, loss = (f"{numbers['metrics'][key]:.4f}" for key in ("accuracy", "loss"))
        low, high = numbers["accuracy_interval"]
        cells = [f"{numbers['images']:,}", accuracy, f"{low:.4f} to {high:.4f}", loss]
        if with_corruptions:
            means = numbers["corruptions"] or {"mean_error": None, "mce": None}
            cells += [number(means["mean_error"]), number(means["mce"])]
        if with_attack:
            cells.append(number((numbers["attacked"] or {"accuracy": None})["accuracy"]))
        table.add_row(escape(name), *cells)
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a row is a line, to be searched
    console.print(table)
    console.print(f"Evaluations: {escape(str(folder))}", highlight=False, soft_wrap=True)
