"""A model's layers as a table."""

import contextlib
import io
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary
from rich.console import Console
from rich.table import Table
from torch import nn

from mnist_lab.models import Classifier


def layer_table(model: L.LightningModule) -> str:
    """Every layer with its output shape for a batch of one, its parameters, and the totals.

    Of a stranger's model, Lightning's table of its parts.
    """
    if not isinstance(model, Classifier):
        return f"{type(model).__name__}\n{ModelSummary(model)}"
    table = Table("layer", "output shape", "parameters")
    outputs: list[int] = []

    def row(layer: nn.Module, inputs: Any, output: Any) -> None:
        count = sum(p.numel() for p in layer.parameters())
        while isinstance(output, tuple | list):  # of a recurrent layer, or attention
            output = output[0]
        table.add_row(type(layer).__name__, str(list(output.shape)), f"{count:,}")
        outputs.append(output.numel())

    layers = [m for m in model.network.modules() if not list(m.children())]
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.register_forward_hook(row))
        stack.enter_context(model.judging())
        model(model.example_input_array)
    total = sum(p.numel() for p in model.parameters())
    table.add_section()
    table.add_row("total", "", f"{total:,}")
    memory = f"{total * 4 / 2**20:.2f} MiB of weights, {sum(outputs) * 4 / 2**10:.0f} KiB"
    return f"{model.name}\n{table_text(table)}\n{memory} of outputs per image"


def table_text(table: Table) -> str:
    text = io.StringIO()  # not the terminal, which would be given escapes, and so would train.log
    Console(file=text, width=100, force_terminal=False, force_jupyter=False).print(table)
    return text.getvalue().rstrip()
