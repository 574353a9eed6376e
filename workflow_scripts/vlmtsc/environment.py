"""The jobs' environment variables: without those that would change results or break a job."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

#: Patterns of their names. What tells where files, packages, GPUs, proxies and secrets are is left alone.
REMOVED = (
    # Of launchers: one process would wait for others, or train with another precision or with a compiler.
    r"(ACCELERATE|FSDP|DEEPSPEED|MEGATRON_LM|PARALLELISM_CONFIG|TORCHELASTIC|OMPI|PMI|PMIX|MV2|XLA|TPU|PJRT)_.+",
    r"(LOCAL_|GROUP_|ROLE_|NODE_)?RANK|(LOCAL_|GROUP_|ROLE_)?WORLD_SIZE|MASTER_(ADDR|PORT)|FORK_LAUNCHED",
    # Kernels, precision, compilers, threads.
    r"(ATEN|BLIS|CUBLAS|CUDNN|DNNL|GOMP|GOTO|KMP|MKL|NPY|NUMEXPR|OMP|ONEDNN|OPENBLAS|VECLIB)_.+",
    r"(TORCHDYNAMO|TORCH_COMPILE|PYTORCH_TUNABLEOP|PYTORCH_JIT).*|(NUMBA|TORCHINDUCTOR)_(?!CACHE_DIR$).+",
    r"NVIDIA_TF32_OVERRIDE|TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    # Of libraries: how they behave, not where their files are.
    r"MATPLOTLIBRC|MPLBACKEND|(JSONARGPARSE|PYDANTIC|SCIPY|SKLEARN|PANDAS)_.+|USE_(TORCH|TF|JAX|FLAX|TORCH_XLA)",
    r"SOURCE_DATE_EPOCH|GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY)",
    # Of the interpreter: encodings, warnings, hashes, optimisation, path.
    r"PYTHON(?!PATH$|HOME$|USERBASE$|NOUSERSITE$|PYCACHEPREFIX$|DONTWRITEBYTECODE$|UNBUFFERED$).+",
)
_REMOVED = re.compile("|".join(REMOVED))


def clean(environment: MutableMapping[str, str]) -> None:
    """Remove such variables, have Python use UTF-8 whatever the locale, and glibc (from 2.35) huge pages of memory."""
    for name in filter(_REMOVED.fullmatch, [*environment]):
        del environment[name]
    environment["PYTHONUTF8"] = "1"
    # Each operation on activations allocates megabytes anew. In pages of 4 KiB, page faults are a tenth of the time of
    # a training step on a CPU, and a quarter of the vision tower's.
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")


@contextmanager
def cleaned_environment() -> Iterator[None]:
    """Clean this process's environment, which its child processes inherit, within the block."""
    kept = dict(os.environ)
    clean(os.environ)
    try:
        yield
    finally:
        os.environ.update(kept)
