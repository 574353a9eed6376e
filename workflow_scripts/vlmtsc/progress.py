"""Saying now and then how far long work has come."""

from __future__ import annotations

import logging
import time

#: Seconds between two messages; work that takes less says nothing on its way.
EVERY_SECONDS = 30.0


class Progress:
    """Says how much of some work is done, and about how long the rest will take.

    Parameters
    ----------
    logger : logging.Logger
    name : str
        What the work is on, for messages.
    total : int
        Pieces of work.
    unit : str
        What a piece is, in the plural.
    """

    def __init__(self, logger: logging.Logger, name: str, total: int, unit: str) -> None:
        self._logger, self._name, self._total, self._unit = logger, name, total, unit
        self._started = self._told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the work began."""
        return time.monotonic() - self._started

    def tell(self, done: int) -> None:
        """Say it, if the last message is long enough ago and something is left to do."""
        now = time.monotonic()
        if now - self._told < EVERY_SECONDS or not 0 < done < self._total:
            return
        self._told = now
        left = (self._total - done) * self.seconds / done
        self._logger.info(
            "%s: %d of %d %s, %.1f min left", self._name, done, self._total, self._unit, left / 60
        )
