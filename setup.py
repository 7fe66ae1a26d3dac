"""Builds the native decode step where a C++ compiler for x86-64 Linux is at hand; everything else is in pyproject.toml.

Without it (`optional`) the installation succeeds all the same and models run on the torch path.
"""

import platform
import sys
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("services/inference/engine/native")
FLAGS = [
    "-std=c++20",
    "-O3",
    "-fopenmp",
    *(f"-m{name}" for name in ("fma", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512bf16", "avx512vnni")),
    "-Wall",
    "-Wextra",
    "-Wno-uninitialized",  # g++ 12 says it, and what follows, of its own intrinsics
    "-Wno-maybe-uninitialized",
]


def extensions() -> list[Extension]:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return []
    return [
        Extension(
            "services.inference.engine.native._step",
            sources=sorted(str(path) for path in FOLDER.glob("*.cpp")),
            depends=sorted(str(path) for path in FOLDER.glob("*.h")),
            language="c++",
            extra_compile_args=FLAGS,
            extra_link_args=["-fopenmp"],
            optional=True,
        )
    ]


setup(ext_modules=extensions())
