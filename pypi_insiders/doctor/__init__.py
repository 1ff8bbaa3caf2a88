"""Check for common problems."""

from pypi_insiders.doctor.examination import examine
from pypi_insiders.doctor.finding import Finding, Verdict, grouped

__all__ = ["Finding", "Verdict", "examine", "grouped"]
