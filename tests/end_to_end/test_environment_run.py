"""The tiny workflow in an environment that tries to change its results: they are those of a plain run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from workflow_runs import TARGETS, outcome, run

pytestmark = pytest.mark.end_to_end

#: Variables, and values that would make a difference.
ENVIRONMENT = {
    # Other processes, which never come; another precision; a compiler.
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "inductor",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3",
    **{"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29871", "OMPI_COMM_WORLD_SIZE": "2", "PMI_SIZE": "2"},
    # Other kernels, and with them other last digits.
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F",
    "NVIDIA_TF32_OVERRIDE": "1",
    "OMP_THREAD_LIMIT": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "NUMBA_DISABLE_JIT": "1",
    # The interpreter and the terminal.
    **{"LC_ALL": "C", "LANG": "tlh", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    **{"PYTHONIOENCODING": "ascii", "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"},
    **{"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "COLUMNS": "20", "TERM": "dumb"},
    # Places that cannot be written to.
    **{"HOME": "/dev/null/home", "XDG_CONFIG_HOME": "/dev/null/config", "MPLCONFIGDIR": "/dev/null/mpl"},
    # Libraries.
    **{"MPLBACKEND": "no_such_backend", "MATPLOTLIBRC": "/dev/null/matplotlibrc"},
    **{"USE_TORCH": "0", "SCIPY_ARRAY_API": "1", "JSONARGPARSE_DEFAULT_ENV": "true"},
    **{"GIT_DIR": "/dev/null", "SOURCE_DATE_EPOCH": "0", "TZ": "Pacific/Kiritimati"},
}


#: Each variable alone, which `make test-environment` tries.
SINGLES = [pytest.param([name], id=name, marks=pytest.mark.fault_grid(sample=0)) for name in ENVIRONMENT]


@pytest.mark.parametrize("names", [pytest.param([*ENVIRONMENT], id="all"), *SINGLES])
def test_the_environment_changes_no_result(
    names: list[str],
    configured: Path,
    undisturbed: Path,
    matplotlibrc: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = shutil.copytree(configured, tmp_path / "project")
    # matplotlib reads that of the working directory first.
    style = "".join(f"{name}: {value}\n" for name, value in matplotlibrc.items())
    (project / "matplotlibrc").write_text(style)
    # Snakemake's own cache, without which it does not start.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in names:
        monkeypatch.setenv(name, ENVIRONMENT[name])
    done = run(project, *TARGETS)
    assert done.returncode == 0, done.stdout + done.stderr
    different = outcome(project).items() ^ outcome(undisturbed).items()
    assert {name for name, _ in different} == set()
