"""Build the command that runs a program in a transient unit."""

from collections.abc import Iterable


def command(
    words: Iterable[str],
    description: str,
    properties: Iterable[str] = (),
    *,
    unit: str | None = None,
    variables: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return a systemd-run command that waits, with the streams and exit status of the program.

    Args:
        words: the program and its arguments.
        description: of the unit; visible to all readers of the journal.
        properties: `NAME=VALUE`, as in a unit file.
        unit: its name; `None`: chosen by systemd.
        variables: `NAME=VALUE`, or `NAME` for the value in our environment, which other users
            cannot see.

    Source: systemd-run(1).
    """
    return (
        # Without --collect a failed unit would stay loaded, and in `systemctl --failed`. --pipe
        # passes our streams, --wait returns the exit status.
        *("systemd-run", "--user", "--wait", "--pipe", "--collect", "--quiet"),
        *((f"--unit={unit}",) if unit else ()),
        f"--description={description}",
        *(f"--setenv={word}" for word in variables),
        *(f"--property={line}" for line in properties),
        "--",
        # The manager expands `$NAME` in arguments. Source: systemd.service(5), "COMMAND LINES".
        *(word.replace("$", "$$") for word in words),
    )
