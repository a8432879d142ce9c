"""`report.html`: a run or an evaluation on one page that needs neither network nor script."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from mnist_lab.runs import folder as run_folder
from mnist_lab.runs.result import Result
from mnist_lab.settings import changes
from mnist_lab.system.files import whole

MAX_FIGURES = 2_000_000  # bytes of all PNG files together: a third more in base64

# Heading, and what is said below it, of each figure in its order on the page.
_FIGURES = {
    "curves": ("Learning curves", "The dashed line is the epoch whose weights were tested."),
    "confusion_matrix": (
        "Confusion matrix",
        "Images by truth (row) and prediction (column). Blue is the share of a row that is right, "
        "orange the number of mistakes.",
    ),
    "per_class": ("Classes", ""),
    "confusions": ("Most frequent confusions", ""),
    "mistakes": ("Most confident mistakes", "The prediction with its confidence, and the truth."),
    "predictions": ("Predictions", "The first images, in their order."),
    "reliability": (
        "Reliability",
        "Of predictions made with a confidence of 90 % nine in ten should be right.",
    ),
    "class_distribution": ("Dataset", ""),
    "samples": ("", "Images to train on, as they are stored."),
    "filters": ("Inside the network", ""),
    "feature_maps": ("", "Every convolution's output for {inside}."),
    "outputs": ("", "The probabilities of the classes for the same image."),
}

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --muted: #5f6368; --line: #e0e3e7;
  --paper: #fff; --card: #f6f7f9; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --muted: #a2a9b1; --line: #3a3f45;
  --paper: #16181b; --card: #202428; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .5rem; font-size: 1.2rem; }
p { margin: .25rem 0; color: var(--muted); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
  gap: .75rem; margin: 1.25rem 0; }
.tiles div { padding: .7rem .9rem; border-radius: .5rem; background: var(--card); }
.tiles b { display: block; white-space: nowrap; font-size: 1.35rem;
  font-variant-numeric: tabular-nums; }
.tiles div:first-child b { color: var(--accent); }
.tiles span, th { color: var(--muted); font-size: .85rem; font-weight: normal; }
.wide { overflow-x: auto; margin: .75rem 0; }
.wide img { display: block; height: auto; max-width: 100%; padding: .5rem;
  border-radius: .5rem; background: #fff; border: 1px solid var(--line); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem 1.1rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: 1rem; border-radius: .5rem; background: var(--card);
  font-size: .8rem; line-height: 1.4; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem; } h1 { font-size: 1.35rem; }
  th, td { padding-right: .5rem; } }
@media print { body { max-width: none; padding: 0; } h2, p { break-after: avoid; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(6.5rem, 1fr)); }
  .tiles div { padding: 0; }
  .wide, tr { break-inside: avoid; } pre { white-space: pre-wrap; } }
"""


def write_report(folder: Path, result: Result | None = None) -> None:
    """`report.html` of a run's folder, from its result, configuration and figures.

    Args:
        result: what `result.json` will hold, where it isn't written yet.

    Raises:
        FolderError: no result, or a file of the folder cannot be read.
    """
    result = Result.read(folder) if result is None else result
    if result is None:
        raise run_folder.FolderError(f"{folder}: there is no finished run here (no result.json)")
    title = escape(f"{result.model} on {result.dataset}")
    means = {key: result.metrics.get(f"test/{key}") for key in ("precision", "recall", "f1")}
    by_class = {name: scores.model_dump() for name, scores in (result.per_class or {}).items()}
    table = _table(by_class, means) if by_class else ""
    parts = [
        *_head(title, result),
        *_changed(folder),
        *_figures(folder, table, "the first test image"),
        *_facts(folder, result),
    ]
    _write(folder, title, parts)


def write_evaluation(folder: Path, numbers: Mapping[str, Any]) -> None:
    """`report.html` of an evaluation's folder, from what `evaluation.json` holds and figures."""
    title = escape(evaluation_title(numbers))
    metrics, (low, high) = numbers["metrics"], numbers["accuracy_interval"]
    tiles = {
        "accuracy": _percent(metrics["accuracy"]),
        "loss": _number(metrics["loss"]),
        "F1 (macro)": _percent(metrics["f1"]),
        "calibration error": _percent(metrics["calibration_error"]),
        "images": f"{numbers['images']:,}",
    }
    facts = {
        **{name.replace("_", " "): _number(value) for name, value in metrics.items()},
        "checkpoints": ", ".join(each["path"] for each in numbers["checkpoints"]),
        "copies of each image": numbers["tta"],
        "damaged by": damage(numbers) or "-",
        "seed": numbers["seed"],
        "versions": ", ".join(f"{k} {v}" for k, v in numbers["versions"].items()),
    }
    parts = [
        f"<h1>{title}</h1>",
        _tiles(tiles),
        f"<p>95 % interval of the accuracy: {100 * low:.2f} to {_percent(high)}.</p>",
        f"<p>{escape(disputed(numbers))}</p>" if numbers["without_disputed"] else "",
        *_figures(
            folder,
            _table(numbers["per_class"], metrics),
            f"image {numbers['inside']} of the split",
        ),
        "<h2>Numbers</h2>",
        _rows(facts),
    ]
    _write(folder, title, parts)


def evaluation_title(numbers: Mapping[str, Any]) -> str:
    """Which networks on which images, and what was done to these."""
    models = " + ".join(each["model"] for each in numbers["checkpoints"])
    damaged = f", damaged by {damage(numbers)}" if numbers["augment"] else ""
    return f"{models} on {numbers['dataset']}, {numbers['split']}{damaged}"


def damage(numbers: Mapping[str, Any]) -> str:
    """What the images of an evaluation went through, with all of its settings."""
    augment = numbers["augment"] or {"_target_": ""}
    named = [f"{key} {value}" for key, value in augment.items() if not key.startswith("_")]
    return " ".join([augment["_target_"].rpartition(".")[2], ", ".join(named)]).strip()


def disputed(numbers: Mapping[str, Any]) -> str:
    """What is told beside the plain accuracy, which counts all labels."""
    rest = numbers["without_disputed"]
    low, high = rest["accuracy_interval"]
    return (
        f"Without the {len(rest['disputed'])} labels that have no majority behind them: accuracy "
        f"{_percent(rest['accuracy'])} ({100 * low:.2f} to {_percent(high)})."
    )


def _write(folder: Path, title: str, parts: Iterable[str]) -> None:
    body = "\n".join(parts)
    with whole(folder / "report.html", encoding="utf-8") as file:
        file.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
            f"<body>\n{body}\n</body>\n</html>\n"
        )


def _head(title: str, result: Result) -> Iterator[str]:
    metrics = result.metrics
    yield f"<h1>{title}</h1>"
    epochs = "epoch" if result.epochs == 1 else "epochs"
    words = f"{result.epochs} {epochs}, seed {result.seed}, {result.device}"
    yield f"<p>{escape(words)}</p>"
    tiles = {
        "test accuracy": _percent(metrics.get("test/accuracy")),
        "test loss": _number(metrics.get("test/loss")),
        "test F1 (macro)": _percent(metrics.get("test/f1")),
        "validation accuracy": _percent(metrics.get("val/accuracy")),
        "parameters": f"{result.parameters:,}",
        "training": f"{_number(result.seconds.fit, '.1f')} s",
    }
    yield _tiles(tiles)


def _changed(folder: Path) -> Iterator[str]:
    """The settings that differ from the defaults; a run from Python may have no file of them."""
    if (folder / "config.yaml").exists():
        found = changes.changed(run_folder.read_config(folder))
        if found:
            yield "<h2>Settings that differ from the defaults</h2>"
            yield _rows(found)
        else:
            yield "<p>All settings are the defaults.</p>"


def _tiles(tiles: Mapping[str, str]) -> str:
    cells = (f"<div><b>{value}</b><span>{name}</span></div>" for name, value in tiles.items())
    return f'<div class="tiles">{"".join(cells)}</div>'


def _figures(folder: Path, table: str, inside: str) -> Iterator[str]:
    """All of the folder, the table below that of classes; `inside` says which image's maps."""
    order = list(_FIGURES)

    def place(path: Path) -> tuple[int, int, str]:
        name, _, number = path.stem.rpartition("_")
        if not number.isdecimal():
            name, number = path.stem, "0"
        return (order.index(name) if name in order else len(order)), int(number), name

    paths = sorted((folder / "figures").glob("*.png"), key=place)
    shown: set[str] = set()
    for path, (content, width) in zip(paths, _pictures(paths), strict=True):
        _, _, name = place(path)
        heading, text = _FIGURES.get(name, (path.stem, ""))
        if name not in shown:
            yield f"<h2>{escape(heading)}</h2>" if heading else ""
            yield f"<p>{escape(text.format(inside=inside))}</p>" if text else ""
        shown.add(name)
        data = base64.b64encode(content).decode()
        source = f'src="data:image/png;base64,{data}"'
        image = f'<img alt="{escape(path.stem)}" width="{width}" {source}>'
        yield f'<div class="wide">{image}</div>'
        if name == "per_class":
            yield table


def _pictures(paths: list[Path]) -> list[tuple[bytes, int]]:
    """Each file's content and the width that it is shown at: half its own.

    Too many bytes become fewer by fewer colours, and if need be by fewer pixels.
    """
    from PIL import Image

    contents = [path.read_bytes() for path in paths]
    widths = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            widths.append(image.width // 2)
    scale = 1.0
    while sum(map(len, contents)) > MAX_FIGURES:
        contents = [_smaller(path, scale) for path in paths]
        scale *= 0.7
    return list(zip(contents, widths, strict=True))


def _smaller(path: Path, scale: float) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        colors = image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(128)
    file = io.BytesIO()
    colors.save(file, "PNG", optimize=True)
    return file.getvalue()


def _table(per_class: Mapping[str, Mapping[str, Any]], means: Mapping[str, Any]) -> str:
    """Precision, recall, F1 and support by class, and their means."""
    support = sum(each["support"] for each in per_class.values())
    cells = (
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{_percent(each[key])}</td>" for key in ("precision", "recall", "f1"))
        + f"<td>{each['support']:,}</td></tr>"
        for name, each in [*per_class.items(), ("mean", {**means, "support": support})]
    )
    head = "".join(f"<th>{x}</th>" for x in ("class", "precision", "recall", "F1", "images"))
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(cells)}</table></div>'


def _facts(folder: Path, result: Result) -> Iterator[str]:
    git = result.git
    best = "-" if result.best_epoch is None else str(result.best_epoch + 1)
    facts = {
        **{name: _number(value) for name, value in result.metrics.items()},
        "best epoch": f"{best} of {result.epochs}",
        "steps": _number(result.steps, ","),
        "images per second": _number(result.images_per_second, ",.0f"),
        "seconds": ", ".join(f"{k} {_number(v, '.1f')}" for k, v in result.seconds),
        "versions": ", ".join(f"{k} {v}" for k, v in result.versions.items()),
        "commit": f"{git.commit}{' (changed)' if git.dirty else ''}" if git else "-",
        "configuration's hash": result.config_hash or "-",
    }
    yield "<h2>Numbers</h2>"
    yield _rows(facts)
    yield "<h2>Configuration</h2>"
    path = folder / "config.yaml"
    if path.exists():
        with open(path, encoding="utf-8", errors="replace") as file:
            yield f"<pre>{escape(file.read(run_folder.MAX_CONFIG_BYTES))}</pre>"
    else:
        yield "<p>The run was started from Python; there is no file of its settings.</p>"


def _rows(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items())
    return f'<div class="wide"><table class="facts">{"".join(rows)}</table></div>'


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)
