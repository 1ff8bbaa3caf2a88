"""Run the command line as `python -m pypi_insiders`."""

from pypi_insiders.cli import main

if __name__ == "__main__":
    main()
