"""The report of a sweep: one HTML file that needs nothing else, and the table of its runs."""

from __future__ import annotations

from peerwatt.experiments.sweep.report.page import write_sweep_report

__all__ = ["write_sweep_report"]
