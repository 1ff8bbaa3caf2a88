"""Write the command that runs a program in a transient unit, to its end."""

from collections.abc import Iterable


def command(
    words: Iterable[str],
    description: str,
    properties: Iterable[str] = (),
    *,
    unit: str | None = None,
    variables: Iterable[str] = (),
) -> tuple[str, ...]:
    """Write a command that waits for the unit, and has its standard streams and exit status.

    Args:
        words: of the program.
        description: seen by all who may read the journal.
        properties: `NAME=VALUE`, as in a unit file.
        unit: its name; `None`: one that systemd makes up.
        variables: `NAME=VALUE`, or `NAME` for the value in the environment of the command, which
            other users do not see.

    Source: systemd-run(1).
    """
    return (
        # Without `--collect` a unit that failed would stay loaded, and be in `systemctl --failed`
        # for ever. `--pipe` hands our streams on; `--wait` gives the exit status of the program.
        *("systemd-run", "--user", "--wait", "--pipe", "--collect", "--quiet"),
        *((f"--unit={unit}",) if unit else ()),
        f"--description={description}",
        *(f"--setenv={word}" for word in variables),
        *(f"--property={line}" for line in properties),
        "--",
        # `$` begins a variable of the manager. Source: systemd.service(5), "COMMAND LINES".
        *(word.replace("$", "$$") for word in words),
    )
