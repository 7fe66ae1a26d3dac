"""Which device a process computes on, and which arithmetic that device is fast at."""

import torch


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda` for a setting that may say `auto`."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def fast_at_bfloat16(device: str) -> bool:
    """Whether the device computes with bfloat16 in hardware."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_precision(wanted: str, device: str) -> str:
    """float32 or bfloat16: what is wanted, or for `auto` bfloat16 where the device is fast at it."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if fast_at_bfloat16(device) else "float32"
