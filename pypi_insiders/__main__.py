"""Run the command line: `pypi-insiders`, or `python -m pypi_insiders`."""

import gc
import sys


def main() -> None:
    """Import the command line and run it; Ctrl-C shows no traceback, also while it is imported."""
    # Nearly all that is imported and read stays until the end. With Python's threshold of 700 new
    # objects, searching them for cycles takes a tenth of the time of most commands.
    gc.set_threshold(20_000)
    # `LazyGroup.load` enables it for the command.
    gc.disable()
    try:
        from pypi_insiders.cli import main as run

        run()
    except KeyboardInterrupt:  # before or after `run` can catch it
        sys.exit(130)
    finally:
        # An interpreter that ends searches everything once more.
        gc.freeze()


if __name__ == "__main__":
    main()
