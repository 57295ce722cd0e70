"""The cap on torch's GPU allocator, set through the environment: from outside of whatever file was edited.

torch's option `per_process_memory_fraction` does what `torch.cuda.set_per_process_memory_fraction` does, on every GPU
and in every process. It arrived with torch 2.10; 2.9.1 does not know it, and fails on options that it does not know
(both read in c10/cuda/CUDAAllocatorConfig.h of those releases). No GPU has run this yet.
"""

import importlib.metadata
import re
import sys
from collections.abc import Mapping
from pathlib import Path

FRACTION = "per_process_memory_fraction"
SINCE = (2, 10)
CONTEXT_BYTES = 512 * 2**20  # CUDA's own share of a process (300 to 500 MB), which the allocator does not count


def reads_fraction(program: str) -> bool:
    """Whether `program` is of the Python that runs the agent, and its torch takes the option. Others are not known."""
    here = Path(sys.executable).parent
    if Path(program).parent != here and ("/" in program or not (here / program).exists()):
        return False
    try:
        version = re.match(r"(\d+)\.(\d+)", importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        return False
    return version is not None and (int(version[1]), int(version[2])) >= SINCE


def setting(env: Mapping[str, str], limit: int, total: int) -> dict[str, str]:
    """The setting for `limit` bytes of a GPU with `total`, joined to what `env` sets; empty where it would not bind.

    torch reads the older name first, and then not the newer one.
    """
    if limit >= total:
        return {}
    name = "PYTORCH_CUDA_ALLOC_CONF" if "PYTORCH_CUDA_ALLOC_CONF" in env else "PYTORCH_ALLOC_CONF"
    others = re.sub(rf"\b{FRACTION}\s*:[^,]*", "", env.get(name, ""))
    kept = [part for part in others.split(",") if part.strip()]
    return {name: ",".join([*kept, f"{FRACTION}:{max(0.0, (limit - CONTEXT_BYTES) / total):.4f}"])}
