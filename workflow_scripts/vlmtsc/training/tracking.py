"""Following a run while it trains: TensorBoard, and Weights & Biases, beside the run's own CSV."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback, WandbCallback

from vlmtsc.errors import InputError
from vlmtsc.settings import TrackingSettings

logger = logging.getLogger(__name__)

#: Project of Weights & Biases where the environment names none.
PROJECT = "vlm-tsc"


class RunTensorBoard(TensorBoardCallback):
    """Writes event files into a folder of the run.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.logging_dir = str(folder)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hide what an earlier attempt has written of the steps that come now."""
        if state.is_world_process_zero:
            self.tb_writer = self._SummaryWriter(self.logging_dir, purge_step=state.global_step + 1)
        super().on_train_begin(args, state, control, **kwargs)

    def close(self, failed: bool) -> None:
        """Close the file."""
        if self.tb_writer is not None:
            self.tb_writer.close()


class RunWandb(WandbCallback):
    """Sends a run to Weights & Biases, or keeps it in a folder for ``wandb sync``.

    Online with a key in ``WANDB_API_KEY``, unless ``WANDB_MODE`` says otherwise.

    Parameters
    ----------
    folder : Path
        Folder in which the folder ``wandb/`` is made.
    name : str
        Name of the run.
    identity : str
        Id of the run: an interrupted training that goes on is one run.
    settings : mapping
        What the run is described by, beside what transformers says of model and Trainer.
    """

    def __init__(self, folder: Path, name: str, identity: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._folder = folder
        self._name = name
        self._identity = identity
        self._settings = dict(settings)

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        """Begin the run; a server that cannot be reached is no reason not to train."""
        if state.is_world_process_zero and self._wandb.run is None:
            online = "WANDB_API_KEY" in os.environ
            mode = os.environ.get("WANDB_MODE", "online" if online else "offline")
            try:
                self._begin(mode)
            except self._wandb.errors.Error as error:
                logger.warning("Weights & Biases: %s; the run is kept in %s/wandb", error, self._folder)
                self._begin("offline")
        super().setup(args, state, model, **kwargs)

    def _begin(self, mode: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self._name,
            id=self._identity,
            resume="allow" if mode == "online" else None,
            dir=str(self._folder),
            mode=mode,
            config=self._settings,
            settings=self._wandb.Settings(console="off", silent=True, save_code=False),
        )

    def close(self, failed: bool) -> None:
        """End the run."""
        if self._wandb.run is not None:
            self._wandb.finish(exit_code=int(failed))


def check_trackers(trackers: Sequence[str]) -> None:
    """Check that the packages of the chosen trackers are installed.

    Raises
    ------
    InputError
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"tracking: {name} is not installed: pip install {name}; or tracking=[]")


@contextmanager
def followed(
    tracking: TrackingSettings, recipe: Mapping[str, Any]
) -> Iterator[list[RunTensorBoard | RunWandb]]:
    """Give the Trainer's callbacks that a run is followed by, and close them when it ends.

    Parameters
    ----------
    tracking : TrackingSettings
    recipe : mapping
        What the run is described by.
    """
    folder = Path(tracking.folder)
    callbacks: list[RunTensorBoard | RunWandb] = []
    if "tensorboard" in tracking.trackers:
        callbacks.append(RunTensorBoard(folder / "tensorboard" / tracking.name))
    if "wandb" in tracking.trackers:
        callbacks.append(RunWandb(folder, tracking.name, tracking.identity, recipe))
    failed = True
    try:
        yield callbacks
        failed = False
    finally:
        for callback in callbacks:
            callback.close(failed)
