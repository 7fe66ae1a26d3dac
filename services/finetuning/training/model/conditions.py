"""What decides a run's bytes beside its spec: arithmetic, threads, libraries, processor. Written to the model card."""

import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")
"""Those whose code computes, orders or writes weights."""
CPU_FACTS = Path("/proc/cpuinfo")


def conditions(device: str, precision: str) -> dict[str, Any]:
    """Of this process, as plain values."""
    return {
        "device": device,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def processor() -> str:
    """The machine's kind: what its kernels are chosen by, and its model where the system tells."""
    features = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    features += ["bf16"] if torch.cpu._is_avx512_bf16_supported() else []
    features += ["amx"] if torch.cpu._is_amx_tile_supported() else []
    with suppress(OSError):
        lines = CPU_FACTS.read_text().splitlines()
        features += [line.partition(":")[2].strip() for line in lines if line.startswith("model name")][:1]
    return " ".join(features)
