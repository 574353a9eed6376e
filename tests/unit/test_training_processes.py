"""A training in two processes is the same as in one; and how its processes start and end."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from test_model_adapter import PROJECTOR
from tiny_families import write_family
from tiny_llava import TinyTask, make_task
from torch.utils.data import SequentialSampler
from two_processes import Training, run_together

from vlmtsc.configuration import load_configuration_files, load_yaml
from vlmtsc.errors import InputError
from vlmtsc.examples import PADDING
from vlmtsc.files import read_json
from vlmtsc.settings import LaunchSettings, MemorySettings, ModelSettings
from vlmtsc.training.processes import PaddedSampler, divide_work, launch_command, run_command
from vlmtsc.training.sharing import train_or_reuse

ROOT = Path(__file__).parents[2]
#: 13 cases in batches of 4, as 2 x 2 x 1: the last batch of an epoch has one case, and one process has none of it.
CASES = 13
RECIPE = {"batch_size": 4, "micro_batch_size": 1, "keep": "best"}
#: Both stages, without chance: two processes draw other image tokens.
STAGES = {**RECIPE, "align_steps": 60, "soft_answers": True, "projector_learning_rate": 0.0}
#: What a run costs, and how many processes share it.
OWN = {
    "alignment",  # has its seconds
    "activation_checkpointing",  # switched on with sharded weights
    "wall_seconds",
    "tokens_per_second",
    "samples_per_second",
    "peak_memory_mb",
    "processes",
    "used",
    "validation_loss",
}

Tasks = dict[str, TinyTask]


@pytest.fixture(scope="module")
def tasks(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """Give a task with images and one without, in which the projector has no gradient."""
    return {
        modality: make_task(
            tiny_checkpoint, tmp_path_factory.mktemp("plots"), modality=modality, n_train=CASES
        )
        for modality in ("both", "numbers")
    }


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Give a training of another family than LLaVA's, whose class says that it takes no number of items."""
    checkpoint = write_family("qwen2_5_vl", tmp_path_factory.mktemp("qwen") / "checkpoint")
    plots = tmp_path_factory.mktemp("plots")
    task = make_task(checkpoint, plots, n_train=CASES, context_length=2048, template="model")
    return Training(checkpoint, task, RECIPE, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def alone(
    tiny_checkpoint: Path, tasks: Tasks, qwen: Training, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """Give what one process finds."""
    found = {
        name: Training(tiny_checkpoint, task, RECIPE, tmp_path_factory.mktemp("run")).run()
        for name, task in tasks.items()
    }
    folder = tmp_path_factory.mktemp("run")
    found["qwen"] = qwen.run()
    found["stages"] = Training(tiny_checkpoint, tasks["both"], STAGES, folder).run()
    return lambda name: found[name]


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def together(
    tiny_checkpoint: Path,
    tasks: Tasks,
    qwen: Training,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> dict[str, Any]:
    """Give what two processes find; also of an interrupted training that goes on, and of one in bfloat16."""
    folder = tmp_path_factory.mktemp(request.param)
    trainings = {
        name: Training(tiny_checkpoint, task, RECIPE, folder / name, checkpointed=request.param == "fsdp")
        for name, task in tasks.items()
    }
    trainings["qwen"] = replace(qwen, folder=folder / "qwen", checkpointed=request.param == "fsdp")
    trainings["stages"] = replace(trainings["both"], changes=STAGES, folder=folder / "stages")
    dropped = replace(
        trainings["numbers"], changes={**RECIPE, "lora_dropout": 0.1}, folder=folder / "dropped"
    )
    trainings["dropped"] = dropped
    trainings["interrupted"] = replace(dropped, folder=folder / "interrupted", interrupted_at=6)
    trainings["resumed"] = replace(trainings["interrupted"], interrupted_at=None)
    trainings["bf16"] = replace(
        trainings["both"], changes={**RECIPE, "precision": "bf16"}, folder=folder / "bf16"
    )
    return dict(zip(trainings, run_together(request.param, list(trainings.values()), folder), strict=True))


def assert_same(found: Any, expected: Any) -> None:
    """Compare trained tensors, log and record."""
    tensors, rows, record = found
    assert tensors.keys() == expected[0].keys()
    for name, tensor in expected[0].items():
        torch.testing.assert_close(tensors[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
    assert_same_logs(pd.DataFrame(rows), pd.DataFrame(expected[1]))
    assert {key for key in expected[2] if record[key] != expected[2][key]} <= OWN
    changed = {key for key in record["used"] if record["used"][key] != expected[2]["used"][key]}
    assert changed <= {"processes", "distributed"}
    assert record["used"]["processes"] == record["processes"]


def assert_same_logs(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare logs, but for two columns.

    Within an epoch the Trainer counts passes, of which two processes make half as many. The rate is the optimizer's
    first group's: the projector's, which two processes leave out where it has no gradient.
    """
    others = [name for name in expected if name not in ("epoch", "learning_rate")]
    pd.testing.assert_frame_equal(found[others], expected[others], rtol=1e-5)
    whole = expected["validation_loss"].notna()
    assert found.loc[whole, "epoch"].tolist() == expected.loc[whole, "epoch"].tolist()


@pytest.mark.parametrize("modality", ["both", "numbers"])
def test_two_processes_train_like_one(
    together: dict[str, Any], alone: Callable[[str], Any], modality: str
) -> None:
    assert_same(together[modality], alone(modality))
    assert together[modality][2]["processes"] == 2
    moved = {
        name
        for name, tensor in together[modality][0].items()
        if not torch.equal(tensor, together["numbers"][0][name])
    }
    assert bool(moved & PROJECTOR) == (modality == "both")


def test_two_processes_train_another_family_like_one(
    together: dict[str, Any], alone: Callable[[str], Any]
) -> None:
    assert_same(together["qwen"], alone("qwen"))


def test_two_processes_align_and_tune_like_one(together: dict[str, Any], alone: Callable[[str], Any]) -> None:
    assert_same(together["stages"], alone("stages"))
    aligned, expected = (found[2]["alignment"] for found in (together["stages"], alone("stages")))
    assert {**aligned, "seconds": 0} == {**expected, "seconds": 0}


def test_two_processes_go_on_after_an_interruption(together: dict[str, Any]) -> None:
    assert together["interrupted"] is None
    expected, found = together["dropped"], together["resumed"]
    assert {name for name in expected[0] if not torch.equal(expected[0][name], found[0][name])} == set()
    assert found[1] == expected[1]


def test_two_processes_compute_in_bfloat16(together: dict[str, Any], alone: Callable[[str], Any]) -> None:
    """Of the weights of a layer, those that are frozen are stored in bfloat16, the trained ones are not.

    On a processor without instructions for bfloat16 all are float32.
    """
    losses = [row["loss"] for row in together["bf16"][1] if row["loss"] is not None]
    expected = [row["loss"] for row in alone("both")[1] if row["loss"] is not None]
    assert losses == pytest.approx(expected, rel=0.05)
    assert {tensor.dtype for tensor in together["bf16"][0].values()} == {torch.float32}


def run(
    folder: Path, checkpoint: Path, task: TinyTask, launch: LaunchSettings | None, **changes: Any
) -> dict[str, Any]:
    """Run the workflow's step in a folder, and return the record."""
    memory = MemorySettings(evaluation_batch_size=2)
    return train_or_reuse(
        task.job(checkpoint, folder, memory=memory, **RECIPE | changes),
        folder / "parameters.json",
        folder / "run_record.json",
        code="0",
        worker=ROOT / "workflow_scripts/train_adapter.py",
        launch=launch,
    )


def test_the_step_launches_processes(
    tiny_checkpoint: Path, tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    launch = LaunchSettings(strategy="ddp", processes=2, configurations=str(ROOT / "config/accelerate"))
    records = [run(tmp_path / "two", tiny_checkpoint, tasks["both"], launch)]
    records += [run(tmp_path / "one", tiny_checkpoint, tasks["both"], None)]
    two, one = (load_file(tmp_path / name / "adapter/adapter_model.safetensors") for name in ("two", "one"))
    torch.testing.assert_close(two, one, atol=1e-5, rtol=1e-4)
    files = [{path.name for path in (tmp_path / name / "adapter").iterdir()} for name in ("two", "one")]
    assert files[0] == files[1]
    logs = [pd.read_csv(tmp_path / name / "training_log.csv") for name in ("two", "one")]
    assert_same_logs(*logs)
    assert records[0] == read_json(tmp_path / "two/run_record.json")
    assert {key for key in records[1] if records[0][key] != records[1][key]} <= {*OWN, "training_digest"}
    assert records[0]["training_digest"] != records[1]["training_digest"]
    assert [record["processes"] for record in records] == [2, 1]
    assert not (tmp_path / "two/checkpoints").exists()


def test_what_a_process_finds_wrong_is_the_step_s_message(
    tiny_checkpoint: Path, tasks: Tasks, tmp_path: Path
) -> None:
    launch = LaunchSettings(strategy="ddp", processes=2, configurations=str(ROOT / "config/accelerate"))
    with pytest.raises(
        InputError, match=r"^micro_batch_size=4 in 2 processes; allowed: a divisor of batch_size=4 "
    ):
        run(tmp_path / "run", tiny_checkpoint, tasks["numbers"], launch, micro_batch_size=4)


@pytest.mark.parametrize(("cases", "filled"), [(8, 0), (7, 1), (5, 3), (1, 3)])
def test_an_epoch_is_filled_up(cases: int, filled: int) -> None:
    sampler = PaddedSampler(SequentialSampler(range(cases)), 4)
    assert list(sampler) == [*range(cases), *[PADDING] * filled]
    assert len(sampler) == cases + filled


@pytest.mark.parametrize("cases", [1, 2, 5, 6])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_work_is_divided_evenly(cases: int, count: int) -> None:
    sizes = [(case * 7) % 5 for case in range(cases)]
    shares = divide_work(sizes, count)
    assert len(shares) == count
    assert len({len(share) for share in shares}) == 1
    assert {case for share in shares for case in share} == set(range(cases))
    # The longest cases come first, so that processes wait little for each other.
    for turn in zip(*shares, strict=True):
        assert max(turn) < cases
    if count == 1:
        assert sorted(shares[0]) == list(range(cases))


WORKER = ["train_adapter.py", "--job", "it's a $(job)"]
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
    assert launch_command(settings, WORKER, threads=16) == [
        *(sys.executable, "-m", "accelerate.commands.launch"),
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
        (2, {"strategy": "ddp", "processes": 4}, (8, 2), r"launch\.processes=4 for 2 GPUs; allowed: up to 2"),
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
    # These are the model's: `name_sharded_layers`.
    assert not {"fsdp_transformer_layer_cls_to_wrap", "fsdp_ignored_modules"} & {
        *found["fsdp"]["fsdp_config"]
    }


def test_output_and_status_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    status = run_command([sys.executable, "-c", "print('a line'); raise SystemExit(3)"])
    assert status == 3
    assert capfd.readouterr().err == "a line\n"


def test_processes_end_with_the_one_that_waits_for_them(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    child = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    text = f"""\
        import sys
        sys.path.insert(0, {str(ROOT / "workflow_scripts")!r})
        from vlmtsc.training.processes import run_command
        run_command([sys.executable, "-c", {child!r}])
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
