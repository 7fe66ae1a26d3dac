"""`python -m shared.embedded`: a manager without a terminal, as `flywheel up --detach` starts it."""

import sys

from shared.config import load_settings
from shared.embedded.manager import Manager
from shared.errors import Cancelled, FlywheelError


def main() -> int:
    try:
        Manager(load_settings()).run()
    except Cancelled:
        return 130
    except FlywheelError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
