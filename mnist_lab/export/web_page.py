"""The page to draw on: networks, images and the page's own files in one, which needs no other."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment

from mnist_lab import LabError
from mnist_lab.export.graph import bytes_base64, graph_of
from mnist_lab.export.handed import Handed
from mnist_lab.export.samples import Samples

SCRIPTS = ("interpreter", "form", "dom", "sheet", "answer", "inside", "explain", "tryout", "main")
"""In an order in which each comes after those that it imports."""


def web_page(networks: Sequence[Handed], samples: Samples | None) -> str:
    """The HTML of one network or of two beside each other.

    Raises:
        LabError: a network takes other images than drawings of 28x28, or it has no graph, or
            the page doesn't know an operation of it.
    """
    first = networks[0]
    for network in networks:
        if network.shape != (1, 28, 28):
            size = " x ".join(map(str, network.shape))
            raise LabError(
                f"checkpoint={network.checkpoint}: takes images of {size}; the page draws grey "
                "ones of 28 x 28"
            )
    titles = [network.facts["model"] for network in networks]
    if len(set(titles)) < len(titles):  # the same model twice
        titles = [f"{title} {place}" for place, title in enumerate(titles, 1)]
    handed: dict[str, Any] = {
        "classes": first.classes,
        "networks": [
            {
                "title": title,
                "facts": network.facts,
                "graph": graph_of(network),
                "temperature": network.temperature,
            }
            for title, network in zip(titles, networks, strict=True)
        ],
        "images": bytes_base64(samples.images) if samples else "",
        "labels": samples.labels.tolist() if samples else [],
    }
    datasets = dict.fromkeys(str(network.facts["dataset"]) for network in networks)
    page = files("mnist_lab.export") / "page"
    template = Environment(autoescape=True).from_string((page / "page.html.jinja").read_text())
    return template.render(
        title=f"{' and '.join(titles)} on {' and '.join(datasets)}",
        subtitle="A trained network in one file: draw, and see what it makes of it.",
        travelling=samples.told if samples else "",
        style=(page / "page.css").read_text(),
        script="\n".join(_script((page / f"{name}.js").read_text()) for name in SCRIPTS),
        handed=json.dumps(handed).replace("<", "\\u003c"),  # nothing in it ends the element
    )


def _script(module: str) -> str:
    """A module's text as a part of one script, where all names are known."""
    without_imports = re.sub(r"^import .*?;\n", "", module, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^export ", "", without_imports, flags=re.MULTILINE)
