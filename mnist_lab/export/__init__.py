"""A trained network in one file, for those who don't have this package.

Imports nothing heavy before something is exported.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from mnist_lab import LabError
from mnist_lab.settings.ranges import Positive, ranged
from mnist_lab.system import files
from mnist_lab.system.imports import swift_imports

Format = Literal["html", "onnx", "pt2"]
FORMATS: tuple[Format, ...] = ("html", "onnx", "pt2")


@ranged
def export(
    checkpoint: str | list[str],
    output: str,
    format: Format | None = None,
    overwrite: bool = False,
    images: Annotated[int, Ge(0)] = 120,
    trust: tuple[str, ...] | list[str] = (),
    temperature: Positive = 1.0,
) -> Path:
    """Write a trained network as a page, as ONNX or as a torch program; the file written.

    Args:
        checkpoint: a run's folder, or a checkpoint; of a page one or two.
        format: by the ending of `output`, unless it is given.
        images: how many test images of the run travel along with a page; 0 needs no dataset.
        trust: packages whose classes the checkpoint may name.
        temperature: by which logits are divided where probabilities are made of them; a torch
            program, which gives logits, has it among its facts. It is of one network.

    Raises:
        LabError: a file or a setting that cannot be used, or a network that this form cannot
            express; there is no output then, or the former one.
    """
    target = Path(output)
    form = _form(target, format)
    files.refuse_taken(target, overwrite)
    paths = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    most = 2 if form == "html" else 1
    if not 1 <= len(paths) <= most:
        raise LabError(
            f"checkpoint: .{form} holds {'one or two networks' if most == 2 else 'one network'}, "
            f"not {len(paths)}"
        )
    if len(paths) == 2 and temperature != 1:
        raise LabError(f"temperature={temperature}: is of one network, and two are named")
    content = _content(form, paths, images, trust, temperature)
    with files.output_file(target) as file:
        file.write(content)
    return target


def _form(target: Path, format: Format | None) -> Format:
    for form in FORMATS:
        if format == form or (format is None and target.suffix.lower() == f".{form}"):
            return form
    raise LabError(
        f"output={target}: ends in none of .html, .onnx, .pt2; format=NAME says the form"
    )


def _content(
    form: Format, paths: list[str], images: int, trust: Sequence[str], temperature: float
) -> bytes:
    with swift_imports():
        from mnist_lab.export.handed import handed

    networks = handed(paths, trust, temperature)
    if form == "pt2":
        from mnist_lab.export.torch_program import torch_program

        return torch_program(networks[0])
    if form == "onnx":
        from mnist_lab.export.onnx_model import onnx_model

        return onnx_model(networks[0])
    from mnist_lab.export.samples import samples
    from mnist_lab.export.web_page import web_page

    travelling = samples(networks[0], images) if images else None
    return web_page(networks, travelling).encode()


__all__ = ["FORMATS", "Format", "export"]
