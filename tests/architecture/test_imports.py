"""The import rules of ARCHITECTURE.md, read from the source."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "shared/contracts/generated"
SERVICES = ("ingestion", "finetuning", "evaluation", "inference", "control")
TORCH = {"torch", "transformers", "peft", "accelerate"}
SOURCES = [
    path
    for folder in ("shared", "services")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if GENERATED not in path.parents
]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def offences(forbidden: object, allowed: tuple[str, ...]) -> list[str]:
    """Where a module for which `forbidden(name)` is true is imported outside the allowed paths."""
    assert callable(forbidden)
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in SOURCES
        if not str(path.relative_to(ROOT)).startswith(allowed)
        for line, name in imports(path)
        if forbidden(name)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_never_imports_another(service: str) -> None:
    others = tuple(f"services.{other}" for other in SERVICES if other != service)
    everything_else = tuple(f"services/{other}/" for other in SERVICES if other != service)
    assert offences(lambda name: name.startswith(others), ("shared/", *everything_else)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_is_made_of_forms_no_circle(service: str) -> None:
    """Its packages, and the files that stand beside them."""
    root, needs = ROOT / "services" / service, defaultdict[str, set[str]](set)
    for path in root.rglob("*.py"):
        own = path.relative_to(root).with_suffix("").parts[0]
        named = (name.split(".") for _, name in imports(path) if name.startswith(f"services.{service}."))
        needs[own] |= {parts[2] for parts in named} - {own}
    assert set(TopologicalSorter(needs).static_order()) == set(needs)


def test_shared_never_imports_services() -> None:
    assert offences(lambda name: name.split(".")[0] == "services", ("services/",)) == []


def test_torch_stays_where_models_live() -> None:
    allowed = ("shared/modeling/", "services/finetuning/training/", "services/evaluation/", "services/inference/")
    assert offences(lambda name: name.split(".")[0] in TORCH, allowed) == []


@pytest.mark.parametrize(
    "module", ["services.ingestion", "services.control", "services.finetuning", "shared.cli", "shared.client"]
)
def test_a_process_that_needs_no_torch_never_loads_it(module: str) -> None:
    """Imports every module of the package, but the training process, in a fresh interpreter."""
    folder = ROOT / module.replace(".", "/")
    files = (path for path in SOURCES if folder in path.parents and "training" not in path.parts)
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if path.name != "__main__.py"]
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\nprint(*({TORCH} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_celery_is_touched_in_one_place() -> None:
    assert offences(lambda name: name.split(".")[0] in {"celery", "kombu"}, ("shared/messaging/",)) == []


def test_redis_clients_are_opened_in_two_places() -> None:
    allowed = ("shared/messaging/", "shared/storage/", "shared/embedded/valkey.py")
    assert offences(lambda name: name.split(".")[0] in {"redis", "valkey"}, allowed) == []


def test_protobuf_is_converted_at_the_door() -> None:
    names = ("servicer.py", "convert.py", "doors/", "convert/")
    doors = tuple(f"services/{service}/{name}" for service in SERVICES for name in names)
    allowed = ("shared/contracts/", "shared/rpc/", "shared/client/", *doors)
    assert offences(lambda name: "_pb2" in name, allowed) == []


def test_only_the_settings_read_the_environment() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path != ROOT / "shared/config.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and f"{node.value.id}.{node.attr}" in {"os.environ", "os.getenv", "os.putenv"}
    ]
    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_an_entry_point_is_at_most_25_lines(service: str) -> None:
    assert len((ROOT / "services" / service / "__main__.py").read_text().splitlines()) <= 25
