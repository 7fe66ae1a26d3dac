"""How long a call may take."""

import time

import grpc

MARGIN_SECONDS = 0.05  # the server's deadline is a little before the client's, so that its answer arrives


def deadline(context: grpc.ServicerContext, default: float) -> float:
    """When the answer is due, on the clock of `time.monotonic`; the server's own limit when the client sets none."""
    left = context.time_remaining()
    if left is None or left > default:
        left = default
    return time.monotonic() + left - min(MARGIN_SECONDS, left / 10)
