"""A network's graph as the page's interpreter takes it: plain values, weights in base64.

`page/interpreter.js` knows each operation that stands here.
"""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from mnist_lab import LabError
from mnist_lab.export.handed import Handed, Shown, check_shown, tracing

Arguments = dict[str, Any]
"""Of one call, by the names that torch's schema gives them, defaults included."""


def graph_of(network: Handed) -> dict[str, Any]:
    """What the page needs to run a network.

    `nodes` are in the order of their calls, each with its operation, the names of the nodes that
    its inputs are `from`, the shape of its output without the batch, and the numbers of its
    weights; `shown` is how images become its input.

    Raises:
        LabError: the network has no graph, or an operation that the page doesn't know.
    """
    shown = Shown(network)
    check_shown(network, shown)
    with tracing(network):
        example = shown(torch.zeros(1, *network.shape, dtype=torch.uint8))
        program = torch.export.export(network.model.network, (example,), strict=False)
    weights = _Weights(program)
    nodes: list[dict[str, Any]] = []
    alias: dict[str, str] = {}  # of what isn't calculated: dropout, and inputs changed in place
    output = ""
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in weights.by_placeholder:
            nodes.append({"name": node.name, "op": "input", "from": [], "shape": _shape(node)})
        elif node.op == "output":
            ((last,),) = node.args
            output = alias.get(last.name, last.name)
        elif node.op == "call_function":
            described = _call(node, weights, network)
            if described is None:
                alias[node.name] = alias.get(node.args[0].name, node.args[0].name)
                continue
            described["from"] = [alias.get(name, name) for name in described["from"]]
            nodes.append(described)
            if str(node.target).split(".")[1].endswith("_"):
                alias[node.args[0].name] = node.name
    return {
        "nodes": nodes,
        "output": output,
        "shown": {
            "rows": None if shown.rows is None else shown.rows.tolist(),
            "columns": None if shown.columns is None else shown.columns.tolist(),
            "mean": shown.mean.flatten().tolist(),
            "std": shown.std.flatten().tolist(),
        },
        "weights": weights.places,
        "values": weights.base64(),
    }


class _Weights:
    """Those of a program, each stored when it is first asked for."""

    def __init__(self, program: ExportedProgram) -> None:
        signature = program.graph_signature
        named = {**program.state_dict, **program.constants}
        places = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
                  **signature.inputs_to_lifted_tensor_constants}  # fmt: skip
        self.by_placeholder = {
            placeholder: named[name] for placeholder, name in places.items() if name in named
        }
        self.places: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._values: list[bytes] = []
        self._count = 0

    def number(self, node: fx.Node | None) -> int | None:
        """Which of `places` it is at; None of a weight that there isn't."""
        if node is None:
            return None
        if node.name not in self._numbers:
            tensor: Tensor = self.by_placeholder[node.name]
            self._numbers[node.name] = len(self.places)
            self.places.append({"shape": list(tensor.shape), "start": self._count})
            self._values.append(tensor.detach().float().numpy().astype("<f4").tobytes())
            self._count += tensor.numel()
        return self._numbers[node.name]

    def base64(self) -> str:
        return base64.b64encode(b"".join(self._values)).decode()


def _call(node: fx.Node, weights: _Weights, network: Handed) -> dict[str, Any] | None:
    """The node of a call; None of one whose output is its input."""
    name = str(node.target)
    _, _, operation = name.partition("aten.")
    operation = operation.partition(".")[0].rstrip("_")
    path, module = _module(node)
    unknown = f"checkpoint={network.checkpoint}: the page doesn't know the operation {name}"
    unknown += f" (network.{path}, {module})" * bool(path)
    if not isinstance(node.target, torch._ops.OpOverload) or operation not in _KNOWN:
        raise LabError(unknown)
    arguments: Arguments = {
        argument.name: node.args[place]
        if place < len(node.args)
        else node.kwargs.get(argument.name, argument.default_value)
        for place, argument in enumerate(node.target._schema.arguments)
    }
    try:
        settings = _KNOWN[operation](arguments, node)
    except _Unknown as error:
        raise LabError(f"{unknown} with {error}") from None
    if settings is None:
        return None
    inputs = arguments.get("tensors") or [
        value
        for value in (arguments.get("input", arguments.get("self")), arguments.get("other"))
        if isinstance(value, fx.Node)
    ]
    if any(value.name in weights.by_placeholder for value in inputs):
        raise LabError(f"{unknown} of a weight")
    described = {
        "name": node.name,
        "op": operation,
        "from": [value.name for value in inputs],
        "shape": _shape(node),
        "module": module,
        "path": path,
        **settings,
    }
    for key in ("weight", "bias", "running_mean", "running_var"):
        if key in arguments:
            described[key] = weights.number(arguments[key])
    return described


class _Unknown(Exception):
    """An argument that the page's form of the operation doesn't take."""


def _refuse_unless(fits: bool, argument: str) -> None:
    if not fits:
        raise _Unknown(argument)


def _shape(node: fx.Node) -> list[int]:
    """Of its output, without the batch, which is one."""
    return [int(size) for size in node.meta["val"].shape[1:]]


def _module(node: fx.Node) -> tuple[str, str]:
    """The innermost module that calls: where it stands in the network, and its class's name."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", ""
    path, kind = stack[-1]
    return str(path), (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]


def _pair(value: int | list[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _convolution(given: Arguments, node: fx.Node) -> Arguments:
    dilation, padding = _pair(given["dilation"]), given["padding"]
    weight: Tensor = given["weight"].meta["val"]
    if padding == "same":
        total = [d * (size - 1) for d, size in zip(dilation, weight.shape[2:], strict=True)]
        before = [each // 2 for each in total]
        around = [*before, *(a - b for a, b in zip(total, before, strict=True))]
    else:
        around = [0] * 4 if padding == "valid" else _pair(padding) * 2
    return {
        "stride": _pair(given["stride"]),
        "padding": around,  # top, left, bottom, right
        "dilation": dilation,
        "groups": given["groups"],
    }


def _pooling(given: Arguments, node: fx.Node) -> Arguments:
    _refuse_unless(given.get("divisor_override") is None, "divisor_override")
    kernel = _pair(given["kernel_size"])
    return {
        "kernel": kernel,
        "stride": _pair(given["stride"]) if given["stride"] else kernel,
        "padding": _pair(given["padding"]),
        "dilation": _pair(given.get("dilation", 1)),
        "counts_padding": bool(given.get("count_include_pad")),
    }


def _reshaped(given: Arguments, node: fx.Node) -> Arguments:
    _refuse_unless(node.meta["val"].shape[:1] == (1,), "the batch's axis")
    return {"op": "reshape"}


def _padding(given: Arguments, node: fx.Node) -> Arguments:
    _refuse_unless(given.get("mode", "constant") == "constant", f"mode={given.get('mode')}")
    left, right, top, bottom = [*given["pad"], 0, 0][:4]
    _refuse_unless(len(given["pad"]) in (2, 4) and len(_shape(node)) == 3, "other axes")
    return {"op": "pad", "padding": [top, left, bottom, right], "value": given["value"] or 0}


def _mean(given: Arguments, node: fx.Node) -> Arguments:
    axes = sorted(axis % 4 for axis in given["dim"] or ())
    fits = given["self"].meta["val"].ndim == 4 and axes == [2, 3]
    _refuse_unless(fits, f"dim={given['dim']}")
    return {}


def _sum(given: Arguments, node: fx.Node) -> Arguments:
    other = given["other"]
    same = isinstance(other, fx.Node) and _shape(other) == _shape(given["self"]) == _shape(node)
    _refuse_unless(same and given["alpha"] == 1, "terms of different shapes, or alpha")
    return {}


def _along(key: str) -> Callable[[Arguments, fx.Node], Arguments]:
    def settings(given: Arguments, node: fx.Node) -> Arguments:
        axis = given[key] % node.meta["val"].ndim
        _refuse_unless(axis > 0, "the batch's axis")
        return {"axis": axis - 1}

    return settings


def _plain(*names: str) -> Callable[[Arguments, fx.Node], Arguments]:
    return lambda given, node: {name: given[name] for name in names}


def _nothing(given: Arguments, node: fx.Node) -> None:
    return None


_KNOWN: dict[str, Callable[[Arguments, fx.Node], Arguments | None]] = {
    "conv2d": _convolution,
    "linear": _plain(),
    "batch_norm": _plain("eps"),
    "relu": _plain(),
    "tanh": _plain(),
    "sigmoid": _plain(),
    "silu": _plain(),
    "gelu": _plain("approximate"),
    "leaky_relu": _plain("negative_slope"),
    "max_pool2d": _pooling,
    "avg_pool2d": _pooling,
    "adaptive_avg_pool2d": _plain(),
    "mean": _mean,
    "flatten": _reshaped,
    "view": _reshaped,
    "reshape": _reshaped,
    "squeeze": _reshaped,
    "unsqueeze": _reshaped,
    "pixel_unshuffle": _plain("downscale_factor"),
    "pad": _padding,
    "constant_pad_nd": _padding,
    "add": _sum,
    "cat": _along("dim"),
    "softmax": _along("dim"),
    "dropout": _nothing,
    "feature_dropout": _nothing,
    "alpha_dropout": _nothing,
    "contiguous": _nothing,
    "clone": _nothing,
    "alias": _nothing,
    "detach": _nothing,
}


def bytes_base64(images: Tensor) -> str:
    """Images of bytes, one after another."""
    return base64.b64encode(np.ascontiguousarray(images.numpy(), np.uint8).tobytes()).decode()
