"""The compiled step as seen from Python: its structs, mirrored field by field from model.h, and its three functions."""

import ctypes
from ctypes import POINTER, Structure, c_float, c_int32, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

import torch  # noqa: F401  its OpenMP library must be loaded first, so that both share one pool of threads

BFLOAT16: Final = 0
INT8: Final = 1
SECTIONS: Final = 3
NEEDED_FLAGS: Final = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16", "avx512_vnni", "fma"})


class Linear(Structure):
    _fields_ = (
        ("weight", c_void_p),
        ("scale", c_void_p),
        ("sum", c_void_p),
        ("bias", c_void_p),
        ("inputs", c_int32),
        ("panels", c_int32),
    )


class Layer(Structure):
    _fields_ = (
        ("attention_norm", c_void_p),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("qkv", Linear),
        ("out", Linear),
        ("gate_up", Linear),
        ("down", Linear),
        ("keys", c_void_p),
        ("values", c_void_p),
    )


class Model(Structure):
    _fields_ = (
        ("layers", POINTER(Layer)),
        ("norm", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
        ("embedding", c_void_p),
        ("head", Linear),
        ("kind", c_int32),
        ("count", c_int32),
        ("hidden", c_int32),
        ("heads", c_int32),
        ("key_heads", c_int32),
        ("size", c_int32),
        ("mlp", c_int32),
        ("vocabulary", c_int32),
        ("window", c_int32),
        ("epsilon", c_float),
        ("scale", c_float),
    )


class Delta(Structure):
    _fields_ = (
        ("down", c_void_p),
        ("up", c_void_p),
        ("rank", c_int32),
        ("end", c_int32 * SECTIONS),
        ("pair_start", c_int32 * SECTIONS),
        ("pair_count", c_int32 * SECTIONS),
    )


class LayerDelta(Structure):
    _fields_ = (("qkv", Delta), ("out", Delta), ("gate_up", Delta), ("down", Delta))


class Batch(Structure):
    _fields_ = (
        ("ids", c_void_p),
        ("positions", c_void_p),
        ("starts", c_void_p),
        ("counts", c_void_p),
        ("first_row", c_void_p),
        ("table_at", c_void_p),
        ("tables", c_void_p),
        ("wanted", c_void_p),
        ("adapter", c_void_p),
        ("adapters", c_void_p),
        ("logits", c_void_p),
        ("tokens", c_int32),
        ("segments", c_int32),
        ("wanted_count", c_int32),
        ("adapter_count", c_int32),
        ("threads", c_int32),
    )


@cache
def why_not() -> str | None:
    """Why the native step cannot run on this machine, or None when it can."""
    if not _file():
        return "the native step is not compiled (install a C++ compiler, then `python setup.py build_ext --inplace`)"
    if missing := NEEDED_FLAGS - _processor_flags():
        return f"this processor lacks {', '.join(sorted(missing))}"
    return None


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once. Raises AssertionError where `why_not` has a reason."""
    assert why_not() is None, why_not()
    path = _file()
    loaded = ctypes.CDLL(str(path))
    loaded.flywheel_open.argtypes = [POINTER(Model)]
    loaded.flywheel_open.restype = c_void_p
    loaded.flywheel_keep.argtypes = [ctypes.c_int]
    loaded.flywheel_keep.restype = None
    loaded.flywheel_close.argtypes = [c_void_p]
    loaded.flywheel_close.restype = None
    loaded.flywheel_step.argtypes = [c_void_p, POINTER(Batch)]
    loaded.flywheel_step.restype = ctypes.c_int
    return loaded


def _file() -> Path | None:
    return next(iter(sorted(Path(__file__).parent.glob("_step*.so"))), None)


def _processor_flags() -> set[str]:
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return set()
    lines = (line for line in information.read_text().splitlines() if line.startswith("flags"))
    return set(next(lines, "").partition(":")[2].split())
