"""Run the command line: `pypi-insiders`, or `python -m pypi_insiders`."""

import sys


def main() -> None:
    """Import the command line and run it; Ctrl-C shows no traceback, also while it is imported."""
    try:
        from pypi_insiders.cli import main as run

        run()
    except KeyboardInterrupt:  # before or after `run` can catch it
        sys.exit(130)


if __name__ == "__main__":
    main()
