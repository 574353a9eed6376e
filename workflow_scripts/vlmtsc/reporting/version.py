"""The workflow's own version, the same as in CITATION.cff."""

from __future__ import annotations

VERSION = "0.1.0"
