"""The report: one page of everything."""
