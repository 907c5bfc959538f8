"""The composition root and the `affix` command."""

__version__ = "0.1.0"
