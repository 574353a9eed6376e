"""The states that an interrupted run goes on from: which are whole."""

from __future__ import annotations

import logging
import shutil
import zipfile
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vlmtsc.errors import InputError
from vlmtsc.files import fault_of_sums, read_json
from vlmtsc.training.processes import Processes, wait_for_all

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"
#: Without any of these the Trainer would fail, or go on with a fresh optimizer.
NEEDED = (STATE, "adapter_model.safetensors", "optimizer.pt", "scheduler.pt")


def fault_of_file(path: Path) -> str | None:
    """Say what is wrong with a file of a state or an adapter; None if nothing is.

    JSON is parsed, safetensors have to be as long as their header says (their bytes are checked by ``SHA256SUMS``), and
    PyTorch's files, which are zip files, hold a checksum of each tensor. Nothing is unpickled.
    """
    try:
        if path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                pass
        elif path.suffix in (".pt", ".pth", ".bin"):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            return None if damaged is None else f"{path.name}: {damaged} is damaged"
    except InputError as error:
        return str(error)
    except (OSError, EOFError, SafetensorError, zipfile.BadZipFile, zlib.error) as error:
        return f"{path.name} cannot be read ({error})"
    return None


def fault_of_folder(folder: Path, needed: tuple[str, ...]) -> str | None:
    """Say what is wrong with a folder of such files; None if nothing is."""
    for name in needed:
        if not (folder / name).is_file():
            return f"{name} is missing"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return next((fault for path in files if (fault := fault_of_file(path))), None) or fault_of_sums(folder)


def fault_of_state(state: Path, keep_best: bool, needed: tuple[str, ...] = NEEDED) -> str | None:
    """Say why a run cannot go on from a state; None if it can.

    Parameters
    ----------
    state : Path
    keep_best : bool
        Whether the run takes its adapter from the best state so far at its end: that has to be whole too.
    needed : tuple of str
        Files that a state has.
    """
    fault = fault_of_folder(state, needed)
    best = read_json(state / STATE).get("best_model_checkpoint") if keep_best and fault is None else None
    if best is not None:
        beside = state.parent / Path(best).name
        fault = fault_of_folder(beside, needed)
        return None if fault is None else f"of {beside.name}, the best one, {fault}"
    return fault


def agreed_state(checkpoints: Path, processes: Processes, *, keep_best: bool, divided: bool) -> Path | None:
    """Return the newest whole state, the same in all processes of a training; see `latest_state`.

    Parameters
    ----------
    checkpoints : Path
    processes : Processes
        Each writes a file of its own into a state.
    keep_best : bool
        As in `fault_of_state`.
    divided : bool
        Whether weights and optimizer are divided among the processes (FSDP), in files of other names.
    """
    if processes.count == 1:
        return latest_state(checkpoints, keep_best)
    own = tuple(f"rng_state_{rank}.pth" for rank in range(processes.count))
    needed = (STATE, *own) if divided else (*NEEDED, *own)
    state = latest_state(checkpoints, keep_best, needed, remove=False)
    wait_for_all()  # before the first removes what another still looks at
    if processes.is_main:
        latest_state(checkpoints, keep_best, needed)
    wait_for_all()
    return state


def latest_state(
    checkpoints: Path, keep_best: bool, needed: tuple[str, ...] = NEEDED, *, remove: bool = True
) -> Path | None:
    """Return the newest whole state of an interrupted run, or None.

    Newer ones that are not whole are removed: the Trainer keeps the state with the highest step, and would remove its
    own next ones in their favour.

    Parameters
    ----------
    checkpoints : Path
        Folder of the states; need not exist.
    keep_best : bool
        As in `fault_of_state`.
    needed : tuple of str
        Files that a state has.
    remove : bool, default True
        Whether what is not whole is removed.
    """
    states = [path for path in checkpoints.glob("checkpoint-*") if path.is_dir()]
    for state in sorted(states, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        fault = fault_of_state(state, keep_best, needed)
        if fault is None:
            return state
        if remove:
            logger.warning("%s: cannot go on from it: %s", state, fault)
            shutil.rmtree(state)
    return None
