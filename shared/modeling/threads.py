"""How torch's threads wait for each other. Torch-free: it has to run before torch is imported."""

import os


def wait_passively() -> None:
    """Let OpenMP threads sleep at a barrier rather than spin; call it before the first import of torch.

    On a machine that other processes use too, spinning threads hold the core that the late one needs: steps were
    measured at a third of the speed. On a quiet machine there is no difference.
    """
    os.putenv("OMP_WAIT_POLICY", "PASSIVE")
