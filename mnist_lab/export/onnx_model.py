"""A network as ONNX, for programs that have no torch."""

import contextlib
import io
import json
import logging
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.export import Dim

from mnist_lab import LabError
from mnist_lab.export.handed import Handed, Shown, check_shown, tracing


def onnx_model(network: Handed) -> bytes:
    """An ONNX file: `images` uint8 `(N, C, H, W)` in, `logits` and `probabilities` `(N, K)` out.

    Probabilities are those at the network's temperature. What is told of the network is its
    metadata: texts as they are, all else as JSON.

    Raises:
        LabError: onnx isn't installed, or the network has no graph or one that ONNX lacks.
    """
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise LabError("format=onnx: needs onnx and onnxscript; pip install mnist-lab[export]")
    import onnx

    shown = Shown(network)
    check_shown(network, shown)
    for name in ("onnxscript", "onnx_ir"):  # which tell of each simplification
        logging.getLogger(name).setLevel(logging.WARNING)
    example = torch.zeros(2, *network.shape, dtype=torch.uint8)
    # The exporter prints its progress, and what it thinks of packages that it does without.
    with tracing(network), contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            _WithProbabilities(shown, network.model.network, network.temperature).eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: Dim("batch")},),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info,
                   *model.graph.input, *model.graph.output, *model.graph.initializer,
                   *model.functions):  # fmt: skip
        del holder.metadata_props[:]  # stack traces, with paths of this machine
        holder.doc_string = ""
    for key, value in network.facts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


class _WithProbabilities(nn.Module):
    def __init__(self, shown: Shown, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.shown, self.network, self.temperature = shown, network, temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.network(self.shown(images))
        return logits, (logits / self.temperature).softmax(1)
