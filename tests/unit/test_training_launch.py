"""The command that starts the processes of a training, by its text; and how it ends."""

from __future__ import annotations

import os
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

from vlmtsc.errors import InputError
from vlmtsc.schema import load_yaml
from vlmtsc.training.launch import (
    LaunchSettings,
    check_launch,
    first_host,
    job_resources,
    launch_command,
    launch_of,
    port_of_job,
    run_processes,
)

ROOT = Path(__file__).parents[2]
WORKER = ["train_adapter.py", "--name", "it's a $(run)"]
#: What a task of a SLURM job on two nodes sees.
JOB = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "gpu[08-09]"}


def row(gpu: int, launch: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give a row of the table of models."""
    resources = {"threads": 16, "mem_mb": 64000, "runtime": 60, "gpu": gpu}
    return {"resources": resources} | ({} if launch is None else {"launch": launch})


def command(gpu: int, launch: dict[str, Any], environment: dict[str, str] | None = None) -> list[str]:
    settings = launch_of(row(gpu, launch))
    assert settings is not None
    return launch_command(
        settings, WORKER, threads=16, environment=environment or {}, host="here", python="python"
    )


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "gpu08"}])
def test_one_gpu(environment: dict[str, str]) -> None:
    assert command(1, {"strategy": "ddp"}, environment) == [
        *("python", "-m", "accelerate.commands.launch"),
        *("--config_file", "config/accelerate/single_gpu.yaml"),
        *("--num_processes", "1", "--num_machines", "1", "--num_cpu_threads_per_process", "16"),
        *WORKER,
    ]


@pytest.mark.parametrize("environment", [{}, {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "gpu08"}])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_four_gpus_of_one_machine(strategy: str, environment: dict[str, str]) -> None:
    assert command(4, {"strategy": strategy}, environment) == [
        *("python", "-m", "accelerate.commands.launch"),
        *("--config_file", f"config/accelerate/{strategy}.yaml"),
        *("--num_processes", "4", "--num_machines", "1", "--num_cpu_threads_per_process", "4"),
        *("--main_process_port", "0"),
        *WORKER,
    ]


def test_eight_gpus_of_each_of_two_nodes() -> None:
    assert command(8, {"strategy": "fsdp", "nodes": 2}, JOB) == [
        *("srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=16", "--cpu-bind=none"),
        *("--gres=gpu:8", "--kill-on-bad-exit=1"),
        *("bash", "-c", 'exec "$0" "$1" "$2" --machine_rank "$SLURM_NODEID" "${@:3}"'),
        *("python", "-m", "accelerate.commands.launch"),
        *("--config_file", "config/accelerate/fsdp.yaml"),
        *("--num_processes", "16", "--num_machines", "2", "--num_cpu_threads_per_process", "2"),
        *("--main_process_ip", "gpu08", "--main_process_port", "14711"),
        *WORKER,
    ]


def test_what_a_node_runs(tmp_path: Path) -> None:
    """The part behind `srun`, with a stand-in for Python: each node puts in its number, and nothing is quoted away."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nfor argument in "$@"; do echo "$argument"; done\n')
    python.chmod(0o755)
    settings = LaunchSettings("ddp", nodes=2)
    whole = launch_command(settings, WORKER, threads=1, environment=JOB, host="here", python=str(python))
    on_node = whole[whole.index("bash") :]
    done = subprocess.run(
        on_node, env={**os.environ, "SLURM_NODEID": "1"}, capture_output=True, text=True, check=True
    )
    arguments = done.stdout.splitlines()
    assert arguments[:4] == ["-m", "accelerate.commands.launch", "--machine_rank", "1"]
    assert arguments[-3:] == WORKER


def test_a_job_that_does_not_know_its_nodes_meets_at_the_first() -> None:
    """Snakemake's job step drops what SLURM says, but for the job's number; it runs on the first node."""
    assert "--main_process_ip here" in " ".join(
        command(8, {"strategy": "ddp", "nodes": 2}, {"SLURM_JOB_ID": "1"})
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, r"launch\.nodes=2; allowed outside a SLURM job: 1"),
        ({**JOB, "SLURM_JOB_NUM_NODES": "3"}, r"launch\.nodes=2; SLURM job 4711 has 3"),
    ],
)
def test_several_nodes_need_a_job_with_as_many(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        command(8, {"strategy": "ddp", "nodes": 2}, environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu1,gpu2", "gpu1"),
        ("gpu[1-2]", "gpu1"),
        ("gpu[007,009-012]", "gpu007"),
        ("login,gpu[1-2]", "login"),
        ("rack[2-3]-gpu,x", "rack2-gpu"),
    ],
)
def test_the_first_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_ports_are_allowed_to_everyone() -> None:
    assert {port_of_job(str(job)) for job in range(0, 10**6, 997)} <= set(range(1024, 32768))


@pytest.mark.parametrize(
    ("gpu", "launch", "expected"),
    [
        (1, None, "--mem 64000 --ntasks-per-gpu=1 --cpus-per-task=16 --gpus=1"),
        (4, {"strategy": "ddp"}, "--mem 64000 --nodes=1 --cpus-per-task=16 --gpus=4"),
        (
            8,
            {"strategy": "fsdp", "nodes": 2},
            "--mem 64000 --nodes=2 --ntasks=2 --cpus-per-task=16 --gpus=16",
        ),
        (0, {"strategy": "ddp", "processes": 2}, "--mem 64000 --nodes=1 --ntasks=1 --cpus-per-task=16"),
    ],
)
def test_what_sbatch_is_asked_for(gpu: int, launch: dict[str, Any] | None, expected: str) -> None:
    """By the plugin, from the rule's resources; Snakemake leaves out those that are None."""
    needs = {name: value for name, value in job_resources(row(gpu, launch)).items() if value is not None}
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
        (4, {"strategy": "ddp", "nodes": 2}, (12, 1), "micro_batch_size=1 in 8 processes"),
    ],
)
def test_a_launch_that_does_not_fit(
    gpu: int, launch: dict[str, Any] | None, recipe: tuple[int, int], message: str
) -> None:
    batch, micro = recipe
    with pytest.raises(InputError, match=message):
        check_launch(row(gpu, launch), {"batch_size": batch, "micro_batch_size": micro})


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
