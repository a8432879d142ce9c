"""Pages that need neither network nor script: `report.html` of a run, and of an evaluation."""

import io
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mnist_lab.runs import folder as run_folder
from mnist_lab.runs.result import Result
from mnist_lab.settings.changes import changed
from mnist_lab.system.files import whole

MAX_FIGURES = 2_000_000  # bytes of all PNG files together: a third more in base64
_READABLE = 0.85  # of a figure's size: made smaller than that, text in it could not be read

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
    "corruptions": (
        "Corruptions",
        "The same images under each; the bar is the share of all images that are not recognised.",
    ),
    "attacked": (
        "Under attack",
        "Images that are recognised, each above what the attack made of it, and what that is taken "
        "for, with its confidence.",
    ),
    "reliability": (
        "Reliability",
        "Of predictions made with a confidence of 90 % nine in ten should be right.",
    ),
    "calibration": (
        "Temperature",
        "Reliability before and after logits were divided by the temperature that fits the "
        "validation images best.",
    ),
    "risk_coverage": (
        "Where it may say that it doesn't know",
        "Mistakes among the images that it is surest of, by how many of all these are; dashed: "
        "among all.",
    ),
    "foreign": (
        "Foreign images",
        "What tells images of other datasets from its own, and how often it has which value.",
    ),
    "class_distribution": ("Dataset", ""),
    "samples": ("", "Images to train on, as they are stored."),
    "filters": ("Inside the network", ""),
    "feature_maps": ("", "Every convolution's output for {inside}."),
    "outputs": ("", "The probabilities of the classes for the same image."),
}


class Figure(NamedTuple):
    """One of the page's figures; the first of a kind has heading and text."""

    name: str
    heading: str
    text: str
    png: bytes
    width: int
    """In the page's pixels: half its own."""
    least: int
    """What a narrow screen shows of this width; the rest is scrolled to."""


def render(template: str, **values: Any) -> str:
    """A page of a template, which `NAME.jinja` within the package is, with its figures in it."""
    environment = Environment(
        loader=PackageLoader("mnist_lab", "."), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["data"] = lambda png: f"data:image/png;base64,{b64encode(png).decode()}"
    return environment.get_template(template).render(**values)


def write(
    folder: Path,
    title: str,
    *,
    tiles: Mapping[str, str],
    numbers: Mapping[str, str],
    tables: Mapping[str, Sequence[Sequence[str]]],
    inside: str,
    leads: Sequence[str] = (),
    notes: Sequence[str] = (),
    changes: Mapping[str, str] | None = None,
    configuration: str = "",
) -> None:
    """`report.html` of a folder with `figures/`.

    Args:
        tiles: what is seen first, by name.
        tables: rows, of which the first is the head, that stand below a figure, by its name.
        inside: which image the feature maps are of.
        leads: lines above the tiles; `notes`: below them.
        changes: settings that differ from the defaults.
    """
    text = render(
        "reports/report.html.jinja",
        title=title,
        leads=leads,
        tiles=tiles,
        notes=notes,
        changed=changes,
        figures=list(_figures(folder / "figures", inside)),
        tables=tables,
        numbers=numbers,
        configuration=configuration,
    )
    with whole(folder / "report.html", encoding="utf-8") as file:
        file.write(text)


def write_report(folder: Path, result: Result) -> None:
    """`report.html` of a run's folder, from its result, configuration and figures.

    Raises:
        LabError: a file of the folder cannot be read.
    """
    metrics, git = result.metrics, result.git
    epochs = "epoch" if result.epochs == 1 else "epochs"
    best = "-" if result.best_epoch is None else str(result.best_epoch + 1)
    settings = folder / "config.yaml"
    changes, configuration = {}, ""
    notes = ["The run was started from Python; there is no file of its settings."]
    if settings.exists():
        changes = changed(run_folder.read_config(folder))
        notes = [] if changes else ["All settings are the defaults."]
        configuration = settings.read_text(encoding="utf-8", errors="replace")
    per_class = {name: scores.model_dump() for name, scores in (result.per_class or {}).items()}
    means = {name.removeprefix("test/"): value for name, value in metrics.items()}
    write(
        folder,
        f"{result.model} on {result.dataset}",
        leads=[f"{result.epochs} {epochs}, seed {result.seed}, {result.device}"],
        tiles={
            "test accuracy": percent(metrics.get("test/accuracy")),
            "test loss": number(metrics.get("test/loss")),
            "test F1 (macro)": percent(metrics.get("test/f1")),
            "validation accuracy": percent(metrics.get("val/accuracy")),
            "parameters": f"{result.parameters:,}",
            "training": f"{number(result.seconds.fit, '.1f')} s",
        },
        notes=notes,
        changes=changes,
        tables={"per_class": class_table(per_class, means)},
        inside="the first test image",
        numbers={
            **{name: number(value) for name, value in metrics.items()},
            "best epoch": f"{best} of {result.epochs}",
            "weights": result.weights or "-",
            "steps": number(result.steps, ","),
            "images per second": number(result.images_per_second, ",.0f"),
            "seconds": ", ".join(f"{k} {number(v, '.1f')}" for k, v in result.seconds),
            "versions": ", ".join(f"{k} {v}" for k, v in result.versions.items()),
            "commit": f"{git.commit}{' (changed)' if git.dirty else ''}" if git else "-",
            "configuration's hash": result.config_hash or "-",
        },
        configuration=configuration,
    )


def class_table(
    per_class: Mapping[str, Mapping[str, Any]], means: Mapping[str, float | None]
) -> list[list[str]]:
    """Head and rows: each class's metrics and number of images, then the means of all."""
    if not per_class:
        return []
    names = [name for name in next(iter(per_class.values())) if name != "support"]
    images = sum(scores["support"] for scores in per_class.values())
    rows = [*per_class.items(), ("mean", {**means, "support": images})]
    head = ["class", *("F1" if name == "f1" else name for name in names), "images"]
    return [head] + [
        [title, *(percent(scores.get(name)) for name in names), f"{scores['support']:,}"]
        for title, scores in rows
    ]


def percent(value: float | None) -> str:
    """A share, or a dash."""
    return "-" if value is None else f"{100 * value:.2f} %"


def number(value: float | None, form: str = ".4f") -> str:
    """A number, or a dash."""
    return "-" if value is None else format(value, form)


def described(settings: Mapping[str, Any]) -> str:
    """An object of `conf/` in words: its class, and what it was given; null is nothing."""
    given = [
        f"{key} {value}" for key, value in settings.items() if key[0] != "_" and value is not None
    ]
    return " ".join([settings["_target_"].rpartition(".")[2], ", ".join(given)]).strip()


def _figures(folder: Path, inside: str) -> Iterator[Figure]:
    """All of the folder, in the page's order; `inside` says which image's maps there are."""
    order = list(_FIGURES)

    def place(path: Path) -> tuple[int, int, str]:
        name, _, count = path.stem.rpartition("_")
        if not count.isdecimal():
            name, count = path.stem, "0"
        return (order.index(name) if name in order else len(order)), int(count), name

    paths = sorted(folder.glob("*.png"), key=place)
    shown: set[str] = set()
    for path, (png, width) in zip(paths, _pictures(paths), strict=True):
        _, _, name = place(path)
        heading, text = ("", "") if name in shown else _FIGURES.get(name, (path.stem, ""))
        shown.add(name)
        text = text.format(inside=inside)
        yield Figure(path.stem, heading, text, png, width, round(_READABLE * width))


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
