"""Check for common problems."""

from pypi_insiders.doctor.examination import examine
from pypi_insiders.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
