"""Shared by all rules: the checked configuration, wildcards, and the parameters that decide on reruns."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from vlmtsc.code_digest import code_digest
from vlmtsc.configuration import load_configuration
from vlmtsc.errors import InputError
from vlmtsc.files import hold_folder, release_folder
from vlmtsc.paths import BASELINE, PROBE, RUN, Paths, Run

# Rules call `python`: that of the environment that runs Snakemake, whether or not it is activated. Set here and
# not in the rules, so that no command contains a path that a move of the project would change.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


def configured(function, *arguments):
    """Call a function of the library; a fault ends the run with one line instead of a traceback."""
    try:
        return function(*arguments)
    except InputError as error:
        raise WorkflowError(str(error)) from None


CONFIGURATION = configured(
    load_configuration, config, ROOT, ", ".join(map(os.path.relpath, workflow.configfiles))
)
RESULTS = CONFIGURATION.results
PATHS = Paths(RESULTS)
RUNS = CONFIGURATION.runs()
# Relative to the working directory: a move of the project changes no command.
SCRIPTS = Path(os.path.relpath(ROOT / "workflow_scripts")).as_posix()

# Priority of cheap jobs before training, so that the ledger is finished before the first long job starts.
BEFORE_TRAINING = 10


def one_of(*names):
    """A wildcard's pattern that matches exactly these names; nothing, if there are none."""
    return "|".join(map(re.escape, sorted({*names}, key=lambda name: (-len(name), name)))) or "(?!)"


wildcard_constraints:
    # Any name; `own_files` refuses an unknown one. Snakemake parses the constraints for each file of each job, and the
    # names of all datasets would be most of the text.
    dataset="[^/]+",
    protocol="official|pooled",
    plot=one_of(*CONFIGURATION.plot_table),
    model=one_of(*CONFIGURATION.model_table),
    scenario=one_of(*CONFIGURATION.scenario_table),
    seed=r"\d+",


def as_argument(settings):
    """Settings as one command-line argument: equal settings give equal text."""
    return json.dumps(
        settings,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        default=lambda model: model.model_dump(mode="json"),
    )


def option(name, value):
    """A command-line option, quoted; nothing if there is no value."""
    return f"--{name} {shlex.quote(str(value))}" if value else ""


def growing(mem_mb):
    """Memory of a CPU job in MB: as much again at each new attempt (option --retries)."""
    return lambda wildcards, attempt: mem_mb * attempt


def file_of(script):
    """Path of a script, relative to the working directory."""
    return f"{SCRIPTS}/{script}.py"


def path_of(script):
    """The same for a shell command."""
    return shlex.quote(file_of(script))


def code_of(script):
    """Digest of a script and the project modules it imports; a parameter, so that a change reruns the rule."""
    return configured(code_digest, ROOT / "workflow_scripts" / f"{script}.py", ROOT / "workflow_scripts")
