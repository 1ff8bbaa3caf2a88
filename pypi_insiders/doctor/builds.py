"""Check the sandbox of builds."""

from pypi_insiders.builder import sandbox_probe
from pypi_insiders.builder.errors import SANDBOX_LOST
from pypi_insiders.builder.sandbox_probe import SandboxReport
from pypi_insiders.config.paths import Paths, hidden_from_builds
from pypi_insiders.config.settings import Settings
from pypi_insiders.doctor.finding import Finding, ok, problem, together, warning
from pypi_insiders.repositories import sandbox_state
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.process_group import ProcessGroup


def look(paths: Paths, settings: Settings, processes: ProcessGroup) -> Finding:
    """Run a probe in the sandbox of a build, and report what it could not reach.

    Args:
        paths: where everything is.
        settings: those of `config.toml`.
        processes: ends the probe when this process is to end.
    """
    wanted = settings.build.sandbox
    if wanted == "off":
        return ok("sandbox", 'off (`sandbox = "off"`): builds run with your permissions')
    had_before = False
    # By what builds start in, not by the version of systemd: containers, AppArmor and sysctls take
    # away parts of a sandbox, and systemd ignores in silence what it cannot do.
    try:
        had_before = sandbox_state.load(paths.state).had_at is not None
        make_directory(paths.cache)
        hidden = hidden_from_builds(paths)
        strength = sandbox_probe.measure(processes, hidden, paths.cache, is_patient=had_before)
    except InsidersError as error:
        # A directory that cannot be made is why no sandbox starts: it is no error of its own.
        strength = SandboxReport(trouble=error.message)
    kept = together(strength.kept)
    if strength.trouble is None:
        return ok("sandbox", f"active ({kept} isolated)")
    but = f" (it would isolate {kept})" if kept else ""
    if wanted == "required":
        hint = 'nothing is built while `sandbox = "required"` is set under [build]'
        return problem("sandbox", f"unavailable: {strength.trouble}{but}", hint)
    # Where builds were sandboxed once, updates refuse to build without: the user relies on it.
    if had_before:
        return problem("sandbox", f"no longer available: {strength.trouble}{but}", SANDBOX_LOST)
    hint = "watch only repositories that you trust as much as packages that you install"
    message = f"unavailable, builds run with your permissions: {strength.trouble}{but}"
    return warning("sandbox", message, hint)
