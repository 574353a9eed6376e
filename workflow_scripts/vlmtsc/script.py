"""Running a function as a command line, with a log that keeps what went wrong."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from vlmtsc.errors import InputError

# Before transformers is imported: its advice is not ours to give.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Whether there is a GPU is asked before a job takes one of its own. The driver's library answers without taking hold of
# any; the usual way fixes which GPUs the process sees.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

logger = logging.getLogger("vlmtsc")

#: Errors that say nothing about the code: no place on the device, none left of a quota, or nowhere to write at all.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
NO_ROOM_TEXTS = (*map(os.strerror, NO_ROOM), "PytorchStreamWriter failed")


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Pause garbage collection while the block imports PyTorch and what is built on it.

    Modules are no garbage, and looking through them again and again is a fifth of such an import
    (``benchmarks/overhead.py``). Afterwards they are left out of every later search, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def configure_logging(log: Path | None) -> None:
    """Send the library's messages to standard error and, if given, to the file `log`."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="w", encoding="utf-8"))
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    for handler in handlers:
        handler.setFormatter(formatter)
    logger.handlers[:] = handlers
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").handlers[:] = handlers[1:] or handlers


def run_script(main: Callable[..., Any]) -> None:
    """Call `main` with the arguments of the command line.

    Types, defaults and help come from the signature and docstring of `main`; dataclass parameters
    accept JSON. Messages and tracebacks go to standard error and to the file of its parameter ``log``.

    Parameters
    ----------
    main : callable
        Function with typed keyword parameters, ``log: Path | None`` among them.
    """
    parser = ArgumentParser(prog=f"{main.__name__}.py", description=(main.__doc__ or "").split("\n\n")[0])
    parser.add_function_arguments(main, as_group=False)
    parsed = parser.parse_args()
    try:
        configure_logging(None if parsed.log is None else Path(parsed.log))
        main(**vars(parser.instantiate_classes(parsed)))
    except InputError as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception as error:
        words = no_room(error)
        if words is None:
            logger.error("%s failed\n%s", main.__name__, traceback.format_exc())
        else:
            logger.error(
                "%s: %s; what was half written is removed, the same command goes on once there is room",
                main.__name__,
                words,
            )
        sys.exit(1)


def no_room(error: Exception) -> str | None:
    """Say what there is no room for, in the system's words; None if an error says something else."""
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}" if error.errno in NO_ROOM else None
    # Libraries in other languages pass on the system's words, or PyTorch's own, in errors of their own.
    return next((text for text in NO_ROOM_TEXTS if text in str(error)), None)
