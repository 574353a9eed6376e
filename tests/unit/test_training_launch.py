"""The command that starts the processes of a training, by its text; and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from vlmtsc.configuration import load_configuration_files, load_yaml
from vlmtsc.errors import InputError
from vlmtsc.settings import MemorySettings, ModelSettings
from vlmtsc.training.launch import launch_command, run_processes

ROOT = Path(__file__).parents[2]
WORKER = ["train_adapter.py", "--name", "it's a $(run)"]


MODEL = load_configuration_files([], ROOT).model_table["embedded"]


def row(gpu: int, launch: dict[str, Any] | None = None) -> ModelSettings:
    """Return a row of the table of models."""
    resources = {"threads": 16, "mem_mb": 64000, "runtime": 60, "gpu": gpu}
    return MODEL.changed(resources=resources, launch=launch)


@pytest.mark.parametrize(
    ("gpu", "strategy", "configuration", "processes"),
    [
        (1, "ddp", "single_gpu", ("1", "--num_machines", "1", "--num_cpu_threads_per_process", "16")),
        (4, "ddp", "ddp", ("4", "--num_machines", "1", "--num_cpu_threads_per_process", "4")),
        (4, "fsdp", "fsdp", ("4", "--num_machines", "1", "--num_cpu_threads_per_process", "4")),
    ],
)
def test_the_command_of_a_launch(
    gpu: int, strategy: str, configuration: str, processes: tuple[str, ...]
) -> None:
    settings = row(gpu, {"strategy": strategy}).launched()
    assert settings is not None
    assert launch_command(settings, WORKER, threads=16, python="python") == [
        *("python", "-m", "accelerate.commands.launch"),
        *("--config_file", f"config/accelerate/{configuration}.yaml", "--num_processes", *processes),
        *(("--main_process_port", "0") if gpu > 1 else ()),
        *WORKER,
    ]


@pytest.mark.parametrize(
    ("gpu", "launch", "expected"),
    [
        (1, None, "--mem 64000 --ntasks-per-gpu=1 --cpus-per-task=16 --gpus=1"),
        (4, {"strategy": "ddp"}, "--mem 64000 --nodes=1 --cpus-per-task=16 --gpus=4"),
        (0, {"strategy": "ddp", "processes": 2}, "--mem 64000 --nodes=1 --ntasks=1 --cpus-per-task=16"),
    ],
)
def test_what_sbatch_is_asked_for(gpu: int, launch: dict[str, Any] | None, expected: str) -> None:
    """By the plugin, from the rule's resources; Snakemake leaves out those that are None."""
    asked = row(gpu, launch).job_resources()
    needs = {k: v for k, v in asked.items() if v is not None and k not in MemorySettings.model_fields}
    job = SimpleNamespace(threads=needs.pop("threads"), resources=Resources(needs))
    texts = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    call = get_submit_command(job, dict.fromkeys(texts, "")) + set_gres_string(job)
    assert " ".join(call.partition("-t 60 ")[2].split()) == expected


class Resources(dict[str, Any]):
    """As the plugin reads them."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@pytest.mark.parametrize(
    ("gpu", "launch", "recipe", "message"),
    [
        (2, None, (8, 4), r"resources\.gpu=2 without launch; allowed: 1, or a launch"),
        (2, {"strategy": "ddp", "processes": 4}, (8, 1), r"launch\.processes=4 for 2 GPUs; allowed: up to 2"),
        (
            4,
            {"strategy": "ddp"},
            (8, 4),
            "micro_batch_size=4 in 4 processes; allowed: a divisor of batch_size=8",
        ),
    ],
)
def test_a_launch_that_does_not_fit(
    gpu: int, launch: dict[str, Any] | None, recipe: tuple[int, int], message: str
) -> None:
    batch, micro = recipe
    with pytest.raises(InputError, match=message):
        row(gpu, launch).check_launch(MODEL.recipe.changed(batch_size=batch, micro_batch_size=micro))


def test_shipped_configurations_leave_precision_to_the_recipe() -> None:
    found = {path.stem: load_yaml(path) for path in (ROOT / "config/accelerate").glob("*.yaml")}
    kinds = {name: content["distributed_type"] for name, content in found.items()}
    assert kinds == {"single_gpu": "NO", "ddp": "MULTI_GPU", "fsdp": "FSDP"}
    assert {content["mixed_precision"] for content in found.values()} == {"no"}
    # transformers knows the layer's class by this name.
    assert found["fsdp"]["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"] == "LlamaDecoderLayer"


def test_output_and_status_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    status = run_processes([sys.executable, "-c", "print('a line'); raise SystemExit(3)"])
    assert status == 3
    assert capfd.readouterr().err == "a line\n"


def test_processes_end_with_the_one_that_waits_for_them(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    child = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    text = f"""\
        import sys
        sys.path.insert(0, {str(ROOT / "workflow_scripts")!r})
        from vlmtsc.training.launch import run_processes
        run_processes([sys.executable, "-c", {child!r}])
    """
    waiting = subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)])
    while not (marker.exists() and marker.read_text()):
        time.sleep(0.05)
        assert waiting.poll() is None
    process = Path("/proc") / marker.read_text()
    waiting.send_signal(signal.SIGKILL)
    waiting.wait()
    for _ in range(600):
        if not process.exists() or " Z " in (process / "stat").read_text():
            return
        time.sleep(0.05)
    raise AssertionError("still running")
