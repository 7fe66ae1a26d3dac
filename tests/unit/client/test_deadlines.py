"""Every call of the client has a deadline, so that none can hang."""

import ast
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[3] / "shared/client"


def calls_on_stubs() -> list[tuple[str, ast.Call]]:
    """Calls such as `stub.Generate(…)`; `Connection.call` brings its own deadline."""
    return [
        (f"{path.name}:{node.lineno}", node)
        for path in sorted(CLIENT.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "stub"
    ]


def test_every_call_on_a_stub_says_how_long_it_may_take() -> None:
    found = calls_on_stubs()
    assert len(found) >= 5
    assert [place for place, call in found if "timeout" not in {word.arg for word in call.keywords}] == []
