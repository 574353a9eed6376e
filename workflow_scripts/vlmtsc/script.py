"""Command lines of functions, their logs, messages on full disks and on progress."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
import time
import traceback
from argparse import ArgumentDefaultsHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from vlmtsc.errors import InputError

# Read when transformers is imported.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A job checks for GPUs before it reserves one. PyTorch's usual check fixes which GPUs the process sees, NVML does not.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

logger = logging.getLogger("vlmtsc")

#: Seconds between two messages on progress; work that takes less logs none.
EVERY_SECONDS = 30.0
#: Errors of a full device, an exhausted quota, a file too large, a read-only file system.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
#: Messages of PyTorch's writer when the disk is full; it drops the system's error.
PYTORCH_STOPPED = ("PytorchStreamWriter failed", "basic_ios::clear: iostream error")


@contextmanager
def paused_collection() -> Iterator[None]:
    """Pause garbage collection while the block imports PyTorch, or makes many other objects that are kept.

    A fifth of such an import is searching its modules for garbage. Later searches leave them out too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class LogFile(logging.FileHandler):
    """A log file on a disk that may be full: messages also go to standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore a full disk; logging itself would print a traceback for each message."""
        error = sys.exc_info()[1]
        if not (isinstance(error, OSError) and error.errno in NO_ROOM):
            super().handleError(record)


def configure_logging(log: Path | None) -> None:
    """Send the library's messages to standard error and, if given, to the file `log`."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(LogFile(log, mode="w", encoding="utf-8"))
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    for handler in handlers:
        handler.setFormatter(formatter)
    logger.handlers[:] = handlers
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers[:] = handlers[1:] or handlers


def run_script(*functions: Callable[..., Any], positional: bool = False) -> None:
    """Call a function with the arguments of the command line; of several, the first argument names it.

    Types, defaults and help come from its signature and docstring; settings are given as JSON. Messages and tracebacks
    go to standard error and to the file of the option ``--log``.

    Parameters
    ----------
    *functions : callable
        Functions with typed keyword parameters.
    positional : bool, default False
        Whether parameters without a default are arguments in order, not options.
    """
    main, arguments, name = functions[0], sys.argv[1:], Path(sys.argv[0]).name
    if len(functions) > 1:
        by_name = {function.__name__: function for function in functions}
        chooser = ArgumentParser(prog=name, description="COMMAND --help explains a command.")
        chooser.add_argument("command", choices=by_name)
        command, *arguments = arguments or ["--help"]
        main, name = by_name[chooser.parse_args([command]).command], f"{name} {command}"
    # Not jsonargparse's own, which writes out the checks inside of types.
    description, formatter = (main.__doc__ or "").split("\n\n")[0], ArgumentDefaultsHelpFormatter
    parser = ArgumentParser(prog=name, description=description, formatter_class=formatter)
    parser.add_function_arguments(main, as_group=False, as_positional=positional)
    parser.add_argument("--log", type=Path, help="File for messages and tracebacks.")
    parsed = parser.parse_args(arguments)
    try:
        configure_logging(parsed.pop("log"))
        main(**vars(parser.instantiate_classes(parsed)))
    except InputError as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception as error:
        if reason := no_room(error):
            hint = "incomplete files are removed; run the same command again once there is room"
            logger.error("%s: %s; %s", main.__name__, reason, hint)
        else:
            logger.error("%s failed\n%s", main.__name__, traceback.format_exc())
        sys.exit(1)


def no_room(error: BaseException | None) -> str | None:
    """Return a message if an error, or one that led to it, is of a full disk; otherwise None.

    A library that cleans up after a failed write may fail again, with an error that does not name the cause.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
        text = str(error)
        # Libraries in other languages raise errors of their own, with the system's message inside.
        if message := next((message for message in map(os.strerror, NO_ROOM) if message in text), None):
            return message
        if any(message in text for message in PYTORCH_STOPPED):
            return f"{os.strerror(errno.ENOSPC)}, it seems: PyTorch could not write a file"
        error = error.__cause__ or error.__context__
    return None


class Progress:
    """Logs now and then how many of `total` pieces of work are done, and about how long the rest will take.

    `name` is the subject of messages, `unit` the plural of a piece.
    """

    def __init__(self, logger: logging.Logger, name: str, total: int, unit: str) -> None:
        self._logger, self._name, self._total, self._unit = logger, name, total, unit
        self._started = self._logged = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the work began."""
        return time.monotonic() - self._started

    def update(self, done: int) -> None:
        """Log it, if the last message is long enough ago and something is left to do."""
        now = time.monotonic()
        if now - self._logged < EVERY_SECONDS or not 0 < done < self._total:
            return
        self._logged = now
        left = (self._total - done) * self.seconds / done
        self._logger.info(
            "%s: %d of %d %s, %.1f min left", self._name, done, self._total, self._unit, left / 60
        )
