"""`plan` and `python -m planner`."""

import gc
import sys


def start() -> None:
    """Run the command line. One short answer makes no garbage worth collecting, and collecting costs a tenth of the start."""
    gc.disable()
    try:
        from planner.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    start()
