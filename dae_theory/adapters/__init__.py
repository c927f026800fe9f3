"""Bridges to other frameworks. Each module needs its own optional dependencies; importing this package needs none."""
