"""Look in what builds run."""

from pypi_insiders.builder import sandbox_probe
from pypi_insiders.builder.errors import SANDBOX_LOST
from pypi_insiders.builder.sandbox_probe import SandboxReport
from pypi_insiders.config.paths import Paths
from pypi_insiders.config.settings import Settings
from pypi_insiders.doctor.finding import Finding, ok, problem, together, warning
from pypi_insiders.repositories import state
from pypi_insiders.util.errors import InsidersError
from pypi_insiders.util.files import make_directory
from pypi_insiders.util.process_group import ProcessGroup


def look(paths: Paths, settings: Settings, processes: ProcessGroup) -> Finding:
    """Run a probe in the sandbox of a build, and tell what was kept from it.

    Args:
        paths: where everything lies.
        settings: those of `config.toml`.
        processes: ends the probe when this process is to end.
    """
    wanted = settings.build.sandbox
    if wanted == "off":
        return ok("sandbox", "off, as config.toml says: builds may do what you may")
    had_before = False
    try:
        had_before = state.load_sandbox(paths.state).had_at is not None
        make_directory(paths.cache)
        hidden = paths.hidden_from_builds()
        strength = sandbox_probe.measure(processes, hidden, paths.cache, is_patient=had_before)
    except InsidersError as error:
        strength = SandboxReport(trouble=error.message)
    kept = together(strength.kept)
    if strength.trouble is None:
        return ok("sandbox", f"kept from builds, as measured: {kept}")
    but = f" (kept from them would be {kept})" if kept else ""
    if wanted == "required":
        hint = 'nothing is built while `sandbox = "required"` under [build]'
        return problem("sandbox", f"none can be had: {strength.trouble}{but}", hint)
    if had_before:
        return problem(
            "sandbox", f"none can be had any more: {strength.trouble}{but}", SANDBOX_LOST
        )
    hint = "watch only repositories that you trust as much as packages that you install"
    message = f"none can be had, builds may do what you may: {strength.trouble}{but}"
    return warning("sandbox", message, hint)
