"""Several processes that train one model together: which one this is, and what the others have.

Imports nothing heavy.
"""

import os
from typing import TypeVar

T = TypeVar("T")

# As torchrun, Lightning (for the processes that it starts) and Slurm say it.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def rank() -> int:
    """This process's number; 0 is the one that writes, and the only one of an ordinary run."""
    return int(next((os.environ[name] for name in _RANKS if name in os.environ), 0))


def gathered(own: T) -> list[T]:
    """What each of the processes passes, in the order of their numbers; all of them must call."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    found: list[T] = [own] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found
