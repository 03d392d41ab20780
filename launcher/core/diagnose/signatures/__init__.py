"""Every failure that is known by its words, one module per field. Read only when a run has failed."""

from __future__ import annotations

from launcher.core.diagnose.signatures import ascend, cascades, cuda, files, network, packages, scripts, training

TABLE = (
    *training.TABLE,
    *ascend.TABLE,
    *cuda.TABLE,
    *packages.TABLE,
    *scripts.TABLE,
    *network.TABLE,
    *files.TABLE,
    *cascades.TABLE,
)
"""Where two know the same line, the first of them speaks: the narrow before the wide."""
