"""The report: one HTML page from a results tree."""

from gradnoise.report.page import write_report

__all__ = ["write_report"]
