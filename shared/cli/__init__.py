"""The command `flywheel`. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 unreachable, 130 interrupted."""
