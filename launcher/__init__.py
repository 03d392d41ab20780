"""launcher: the runtime that starts training jobs inside containers."""

__version__ = "0.1.0"
