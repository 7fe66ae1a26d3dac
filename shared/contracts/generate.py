"""Generates Python from protos/: `python -m shared.contracts.generate` (extra `dev`).

protoc writes absolute imports from the roots `flywheel` and `inference`; here the code lives under
`shared.contracts.generated`, so those imports are rewritten. Names on the wire stay as they are.
"""

import re
import sys
from importlib import resources
from pathlib import Path

PROTOS = Path(__file__).resolve().parents[2] / "protos"
GENERATED = Path(__file__).resolve().parent / "generated"
IMPORT = re.compile(r"^from (flywheel\.|inference )", re.MULTILINE)


def generate(output: Path) -> None:
    """Writes messages, stubs and servicers of every .proto file under `output`.

    Raises RuntimeError when protoc refuses a file; it has said why on standard error.
    """
    from grpc_tools import protoc

    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    output.mkdir(parents=True, exist_ok=True)
    well_known = str(resources.files("grpc_tools") / "_proto")
    flags = [
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={output}",
        f"--pyi_out={output}",
        f"--grpc_python_out={output}",
    ]
    if protoc.main(["protoc", *flags, *files]) != 0:
        raise RuntimeError("protoc failed")
    for path in [*output.rglob("*.py"), *output.rglob("*.pyi")]:
        path.write_text(IMPORT.sub(r"from shared.contracts.generated.\1", path.read_text()))
    for folder in [
        output,
        *(path for path in output.rglob("*") if path.is_dir() and path.name != "__pycache__"),
    ]:
        (folder / "__init__.py").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else GENERATED)
