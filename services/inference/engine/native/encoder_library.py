"""The compiled encoder as seen from Python: its structs, mirrored field by field from encoder.h, and its function."""

from collections.abc import Callable
from ctypes import POINTER, Structure, c_float, c_int, c_int32, c_void_p
from functools import cache
from typing import Any, Final

from services.inference.engine.native import library
from services.inference.engine.native.library import Linear

NOTHING: Final = 0
TANH: Final = 1
RELU: Final = 2


class Plain(Structure):
    _fields_ = (
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("inputs", c_int32),
        ("outputs", c_int32),
    )


class Norm(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class Layer(Structure):
    _fields_ = (
        ("qkv", Linear),
        ("out", Linear),
        ("up", Linear),
        ("down", Linear),
        ("query", Plain),
        ("key", Plain),
        ("value", Plain),
        ("plain_out", Plain),
        ("plain_up", Plain),
        ("plain_down", Plain),
        ("attention_norm", Norm),
        ("norm", Norm),
    )


class Encoder(Structure):
    _fields_ = (
        ("layers", POINTER(Layer)),
        ("words", c_void_p),
        ("positions", c_void_p),
        ("types", c_void_p),
        ("norm", Norm),
        ("pooler", Plain),
        ("labels", Plain),
        ("activation", c_int32),
        ("count", c_int32),
        ("width", c_int32),
        ("heads", c_int32),
        ("mlp", c_int32),
        ("shift", c_int32),
        ("epsilon", c_float),
    )


class Texts(Structure):
    _fields_ = (
        ("ids", c_void_p),
        ("types", c_void_p),
        ("starts", c_void_p),
        ("out", c_void_p),
        ("count", c_int32),
        ("first_only", c_int32),
        ("with_head", c_int32),
    )


@cache
def why_not() -> str | None:
    """Why the native encoder cannot run on this machine, or None when it can."""
    reason = library.why_not()
    if reason is None and not hasattr(library.library(), "flywheel_encode_exactly"):
        return "the native library is older than its source (`python setup.py build_ext --inplace` builds it anew)"
    return reason


@cache
def encode(exactly: bool) -> Callable[[Any, Any], int]:
    """(address of an Encoder, of Texts) to 0, or 1 when there is no memory; from any number of threads at once.

    Products are in bfloat16, or `exactly` in float32."""
    loaded = library.library()
    function = loaded.flywheel_encode_exactly if exactly else loaded.flywheel_encode
    function.argtypes = [POINTER(Encoder), POINTER(Texts)]
    function.restype = c_int
    made: Callable[[Any, Any], int] = function
    return made
