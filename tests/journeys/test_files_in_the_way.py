"""What lies in the place of a file stops no command for ever."""

import os

from fixtures import Person, Watch, run_command


def test_no_command_waits_for_what_is_in_the_place_of_a_file(person: Person, watch: Watch) -> None:
    """Nor has it a traceback, whichever file of the user or of the program that is."""
    watch("probe").release("1.0")
    person.run("server", "token")
    person.paths.settings.write_text("[server]\nuploads = true\n")
    person.run("update")
    kept = (person.paths.config, person.paths.data, person.paths.state)
    found = [path for place in kept for path in place.rglob("*") if path.is_file()]
    assert {"passwords", "held.json", "checks.json", "distributions.sqlite"} <= {
        path.name for path in found
    }
    seen = {}
    for path in found:
        aside = path.rename(person.home / "aside")
        os.mkfifo(path)
        for command in ("status", "update", "server token"):
            done = run_command(command.split(), person.environment)
            assert "Traceback" not in done.stderr, (path, command, done.stderr)
            seen[path, command] = done.stdout + done.stderr
        path.unlink(missing_ok=True)
        aside.rename(path)
    for path, command in (
        (person.paths.settings, "update"), (person.paths.settings, "status"),
        (person.paths.repositories, "update"), (person.paths.repositories, "status"),
        (person.paths.passwords, "server token"), (person.paths.passwords, "status"),
    ):  # fmt: skip
        assert f"cannot read {path}: it is a FIFO, not a file" in seen[path, command]
