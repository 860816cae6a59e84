"""`plan` and `python -m planner`."""

import gc


def start() -> None:
    """Run the command line. One short answer makes no garbage worth collecting, and collecting costs a tenth of the start."""
    gc.disable()
    from planner.cli import main

    main()


if __name__ == "__main__":
    start()
