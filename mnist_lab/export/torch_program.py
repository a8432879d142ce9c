"""A network as a torch program (`.pt2`), which needs torch but not this package."""

import io
import json
import warnings

import torch

from mnist_lab.export.handed import Handed, program_of

METADATA = "mnist_lab.json"
"""The name, within the archive, of what is told of the network."""


def torch_program(network: Handed) -> bytes:
    """What `torch.export.load` reads: uint8 images `(N, C, H, W)` in, logits `(N, K)` out.

    Raises:
        LabError: the network has no graph.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights in another memory format, which are all there
        torch.export.save(
            program_of(network), file, extra_files={METADATA: json.dumps(network.facts)}
        )
    return file.getvalue()
