"""What every test may use: the fixtures of tests.support.servers, and bounded threads."""

import os
import signal

from hypothesis import settings

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell starts background jobs with Ctrl-C ignored, and every process below them inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("flywheel", deadline=None)  # how long an example takes says more about the machine
settings.load_profile("flywheel")

pytest_plugins = ["tests.support.servers"]
