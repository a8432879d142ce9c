"""Checkpoints: written whole, with a checksum; read as files that nobody vouches for."""

import hashlib
import importlib
import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch.nn.parameter import UninitializedParameter

from mnist_lab import Diverged, LabError
from mnist_lab.models.classifier import Classifier
from mnist_lab.settings import packages, signatures
from mnist_lab.settings.signatures import OWN
from mnist_lab.system.files import whole

# Behind the archive's end, where torch.load doesn't look: any reader of checkpoints can read ours.
_SEAL = b"sha256:"
_SEAL_LENGTH = len(_SEAL) + 64
# The records that end an archive, in its 32-bit and 64-bit forms.
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_MAX_SETTINGS = 1000  # of a model, counting each value in its lists


class CheckpointIO(TorchCheckpointIO):
    """How the Trainer writes and reads checkpoints: whole, sealed, and never executing anything.

    Attributes:
        folder: the run's, absolute; below it no checkpoint is written once it has vanished.
    """

    folder: Path | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write under a temporary name, flush to disk, rename.

        Raises:
            Diverged: a weight is not finite: the previous checkpoint stays.
            OSError: the file cannot be written; likewise.
        """
        for name, weight in checkpoint["state_dict"].items():
            if weight.is_floating_point() and not bool(weight.isfinite().all()):
                step = checkpoint["global_step"]
                raise Diverged(f"{name} is not finite after step {step}")
        checkpoint.setdefault("mnist_lab", {})["sealed"] = True
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getbuffer()
        path = Path(path)
        if (
            self.folder is None
            or self.folder not in path.absolute().parents
            or self.folder.is_dir()
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path, "wb") as file:
            file.write(content)
            file.write(_SEAL + hashlib.sha256(content).hexdigest().encode())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """As `read`; the Trainer moves the tensors to where they belong."""
        return read(path)


def file_of(path: str | Path) -> Path:
    """A checkpoint, for which a run's folder stands, too: for its best one."""
    path = Path(path)
    return path / "checkpoints" / "best.ckpt" if path.is_dir() else path


def read(path: str | Path) -> dict[str, Any]:
    """The content of `file_of(path)`, on the CPU.

    Nothing in the file is executed (`weights_only=True`), and it cannot take more memory than its
    own size.

    Raises:
        LabError: no file, a damaged one, or no checkpoint of this package.
    """
    path = file_of(path)
    try:
        data = memoryview(path.read_bytes())
    except FileNotFoundError:
        raise LabError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise LabError(f"{path}: {getattr(error, 'strerror', error)}") from error
    sealed = bytes(data[-_SEAL_LENGTH:][: len(_SEAL)]) == _SEAL
    if sealed:
        told = bytes(data[-64:])
        data = data[:-_SEAL_LENGTH]
        if hashlib.sha256(data).hexdigest().encode() != told:
            raise LabError(f"{path}: damaged: its checksum doesn't match")
    try:
        _refuse_expansion(data)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if len(data) < _values(content, up_to=len(data)):
            raise ValueError("it refers to itself many times over")
    except Exception as error:  # whatever unpickling makes of a file that isn't what it says
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LabError(f"{path}: not a readable checkpoint: {reason}") from error
    if not (isinstance(content, dict) and isinstance(content.get("mnist_lab"), dict)):
        raise LabError(f"{path}: not a checkpoint of mnist_lab")
    if content["mnist_lab"].get("sealed") and not sealed:
        raise LabError(f"{path}: damaged: its checksum is missing")
    for part in ("state_dict", "hyper_parameters"):
        if not isinstance(content.get(part), dict):
            raise LabError(f"{path}: not a checkpoint of mnist_lab: no {part}")
    return content


def load(
    path: str | Path, device: str | torch.device = "cpu", trust: Sequence[str] = ()
) -> Classifier:
    """The model in a checkpoint, ready to predict: in eval mode, on `device`.

    Args:
        trust: packages beside `mnist_lab.models` whose classes the checkpoint may name.

    Raises:
        LabError: the file cannot be read, or its weights don't fit its own settings.
    """
    return model_of(read(path), path, device, trust)


def model_of(
    content: dict[str, Any],
    path: str | Path,
    device: str | torch.device = "cpu",
    trust: Sequence[str] = (),
) -> Classifier:
    """What `load` makes of the content that `read` gave.

    Raises:
        LabError: its weights don't fit its own settings.
    """
    model_class = _class(content["mnist_lab"].get("class"), path, trust)
    settings, weights = content["hyper_parameters"], content["state_dict"]
    reserved = [k for k in settings if k in ("optimizer", "scheduler") or str(k).startswith("_")]
    if reserved or not _plain(list(settings.values())):
        raise LabError(f"{path}: its settings are not plain values")
    if _values(settings, up_to=_MAX_SETTINGS) > _MAX_SETTINGS:
        raise LabError(f"{path}: more settings than any model has")
    try:
        signatures.check(settings, model_class)
        with torch.device("meta"):  # shapes without memory, however large they are said to be
            expected = _weights(model_class(**settings))
    except Exception as error:  # whatever a constructor makes of settings that aren't its own
        raise LabError(f"{path}: its settings don't fit: {error}") from error
    fault = _difference(expected, weights)
    if fault:
        raise LabError(f"{path}: {fault}")
    if sum(w.numel() * w.itemsize for w in weights.values()) > file_of(path).stat().st_size:
        raise LabError(f"{path}: its weights are larger than the file")
    model = model_class(**settings)
    model.load_state_dict(weights)
    return model.to(device).eval()


def init_from(model: L.LightningModule, path: str | Path) -> None:
    """Copy a checkpoint's weights into the model.

    The last layer stays as it is where the number of classes differs; normalisation stays the
    model's own, which is that of the data it will be trained on.

    Raises:
        LabError: the file cannot be read, or is of another architecture.
    """
    try:
        content = read(path)
    except LabError as error:
        raise LabError(f"init_from={error}") from error
    own, weights = model.state_dict(), dict(content["state_dict"])
    kept = ["mean", "std"]
    classes = content.get("hyper_parameters", {}).get("num_classes")
    if classes != getattr(model, "num_classes", None):
        kept += [name for name in own if name.startswith("network.")][-2:]
    weights |= {name: own[name] for name in kept if name in weights}
    fault = _difference(own, weights)
    if fault:
        raise LabError(f"init_from={path}: {fault}")
    model.load_state_dict(weights)


def step_to_continue_from(path: Path, model: L.LightningModule) -> int:
    """Training steps behind a run's last checkpoint.

    Raises:
        LabError: training cannot continue from it, or it is another model's.
    """
    content = read(path)
    parts = ("pytorch-lightning_version", "epoch", "loops", "optimizer_states", "lr_schedulers")
    for part in ("global_step", "callbacks", *parts):
        if part not in content:
            raise LabError(f"{path}: nothing to continue from: no {part}")
    fault = _difference(model.state_dict(), content["state_dict"])
    if (
        fault
        or content["mnist_lab"].get("class")
        != f"{type(model).__module__}.{type(model).__qualname__}"
    ):
        raise LabError(f"{path}: of another model: {fault or 'its class differs'}")
    return int(content["global_step"])


def _weights(model: Classifier) -> dict[str, torch.Tensor]:
    """Its state; layers that take their size from what they are given have been given something."""
    if any(isinstance(weight, UninitializedParameter) for weight in model.parameters()):
        with model.judging():
            model(model.example_input_array)
    return model.state_dict()


def _plain(value: Any, depth: int = 0) -> bool:
    if isinstance(value, list | tuple) and depth < 8:
        return all(_plain(each, depth + 1) for each in value)
    return isinstance(value, str | int | float | bool | None)


def _values(content: Any, up_to: int) -> int:
    """How many values there are at all levels, counted each time one is referred to."""
    count, containers = 0, [content]
    while containers and count <= up_to:
        container = containers.pop()
        inner = list(container.values()) if isinstance(container, dict) else container
        count += len(inner)
        containers += [each for each in inner if isinstance(each, dict | list | tuple | set)]
    return count


def _refuse_expansion(data: memoryview) -> None:
    # As torch writes it: the directory right before the end records, which agree. Of an archive
    # with two directories zipfile reads one and torch the other.
    end = len(data) - _END.size
    signature, *_, length, start, comment = _END.unpack(data[end:])
    good = signature == b"PK\5\6" and not comment
    if bytes(data[end - _LOCATOR.size :][:4]) == b"PK\6\7":
        end -= _LOCATOR.size + _END_64.size
        good &= _LOCATOR.unpack(data[end + _END_64.size :][: _LOCATOR.size])[2] == end
        signature, *_, length_64, start_64 = _END_64.unpack(data[end:][: _END_64.size])
        good &= (signature, length_64, start_64) == (b"PK\6\6", length, start)
    if not good or start + length != end:
        raise ValueError("it is not an archive as torch writes it")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("it claims to be larger than it is")
        # Of any length, by a number in the pickle: torch allows it, and no checkpoint needs it.
        if any(b"bytearray" in archive.read(e) for e in entries if e.filename.endswith(".pkl")):
            raise ValueError("it makes a bytearray")


def _difference(expected: dict[str, torch.Tensor], weights: dict[str, Any]) -> str | None:
    """What distinguishes the weights from those that the model expects."""
    for name in expected.keys() - weights.keys():
        return f"{name} is missing"
    for name in weights.keys() - expected.keys():
        return f"{name} is not a weight of this model"
    for name, tensor in expected.items():
        found = weights[name]
        if not isinstance(found, torch.Tensor):
            return f"{name} is not a tensor"
        if found.shape != tensor.shape:
            return f"{name} has the shape {list(found.shape)}, not {list(tensor.shape)}"
        if (found.layout, found.device.type, found.dtype) != (torch.strided, "cpu", tensor.dtype):
            return f"{name} is a {found.layout} tensor of {found.dtype} on {found.device}"
        if found.untyped_storage().nbytes() < found.numel() * found.itemsize:
            return f"{name} is larger than what is stored of it"
    return None


def _class(dotted: Any, path: str | Path, trust: Sequence[str]) -> type[Classifier]:
    if not isinstance(dotted, str):
        raise LabError(f"{path}: names no class")
    module, _, name = dotted.rpartition(".")
    allowed = ("mnist_lab.models", *trust, *packages.folders())
    if not any(f"{module}.".startswith(f"{known}.") for known in allowed):
        told = f"its class {dotted} is not of mnist_lab.models; {OWN}"
        raise LabError(f"{path}: {told}")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise LabError(f"{path}: its class {dotted}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Classifier)):
        raise LabError(f"{path}: its class {dotted} is not a Classifier")
    return found


def picture_form(data: Mapping[str, Any] | None, path: str) -> dict[str, Any]:
    """How pictures became images, by what a checkpoint says of its data: settings of the source.

    Nothing else is taken from a file that nobody vouches for, above all no class to build.

    Raises:
        LabError: it says other things.
    """
    form = (data or {}).get("whole") or {}
    kinds = {"form": str, "size": int, "grey": bool}
    if not isinstance(form, dict) or any(type(v) is not kinds.get(k) for k, v in form.items()):
        raise LabError(f"{path}: doesn't describe the form of its pictures: {form}")
    if form.get("form", "plain") != "plain":
        raise LabError(f"{path}: knows pictures of the form {form['form']}, which there isn't")
    return form
