"""How much is needed for a statement over datasets. Imports nothing: the workflow reads this while it plans."""

from __future__ import annotations

#: Methods and datasets that a ranking needs at least. On five datasets no two-sided signed-rank test can fall below
#: 0.05: its smallest p-value is 2 / 2**5.
METHODS_NEEDED, DATASETS_NEEDED = 3, 6
