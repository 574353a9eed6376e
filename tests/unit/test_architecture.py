"""Structure of the code: formatting and types, layers of the library, thin scripts, complete rules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, packages_distributions, version
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

SCRIPTS = ROOT / "workflow_scripts"
LIBRARY = SCRIPTS / "vlmtsc"
#: Modules and packages of the library: each imports only from earlier layers, and within its package.
LAYERS = (
    {"__init__", "errors"},
    {"files", "paths", "code_digest", "environment", "script", "settings"},
    {"data"},
    {"representation"},
    {"describe"},
    {"configuration"},
    {"planning"},
    {"model"},
    {"examples"},
    {"scoring"},
    {"training"},
    {"evaluation"},
    {"classifier"},
    {"baselines"},
    {"reporting"},
    {"demo", "hub"},
    {"commands"},
)
#: By rule, the script of another rule that it runs.
SHARED_SCRIPTS = {
    "download_model_parts": "download_model",
    "request_descriptions": "describe_series",
    "collect_paper": "export_results",
    "write_baselines_table": "write_tables",
    "write_corrections_table": "write_tables",
    "write_paper_table": "write_tables",
}
RULES = {
    text.partition(":")[0]: text
    for path in sorted(ROOT.glob("rules/*.smk"))
    for text in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]
}
CODE = ("workflow_scripts", "tests", "benchmarks", "docs")


def imported_modules(path: Path) -> set[str]:
    """List the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", *CODE),
        ("ruff", "check", *CODE),
        ("snakefmt", "--check", "Snakefile", "rules"),
        ("mypy",),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_tool_finds_nothing(command: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_follow_the_layers() -> None:
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    wrong = []
    for path in LIBRARY.rglob("*.py"):
        own = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        for module in imported_modules(path):
            first, _, rest = module.partition(".")
            name = rest.partition(".")[0]
            if first == "snakemake" or (
                first == "vlmtsc" and name not in ("", own) and layer[name] >= layer[own]
            ):
                wrong.append(f"{path.relative_to(LIBRARY)}: {module}")
    assert wrong == []


def test_the_package_requires_what_the_library_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {canonicalize_name(each.name): each for each in map(Requirement, project["dependencies"])}
    imported = {name.partition(".")[0] for path in LIBRARY.rglob("*.py") for name in imported_modules(path)}
    of_module = packages_distributions()
    found = {canonicalize_name(of_module[name][0]) for name in imported if name in of_module}
    # Parts of transformers, pydantic, Jinja2 and openai; and trackers, which a configuration asks for.
    found -= {
        "huggingface-hub",
        "safetensors",
        "tokenizers",
        "packaging",
        "pydantic-core",
        "markupsafe",
        "httpx2",
    }
    assert found - {"vlmtsc", "tensorboard", "wandb", "gradio"} <= required.keys()
    assert [name for name, each in required.items() if not each.specifier.contains(version(name))] == []


def test_the_locked_environment_installs_on_every_python_3_11() -> None:
    """Debian 12 has 3.11.2."""
    lock = (ROOT / "envs/requirements.lock").read_text().splitlines()
    names = [line.partition("==")[0] for line in lock if not line.startswith("#")]
    needed = {name: metadata(name).get("Requires-Python") or "" for name in names}
    assert len(names) > 100
    assert {name: needs for name, needs in needed.items() if "3.11.0" not in SpecifierSet(needs)} == {}


def test_scripts_do_not_import_each_other() -> None:
    scripts = {path.stem: imported_modules(path) for path in SCRIPTS.glob("*.py")}
    assert [(name, other) for name in scripts for other in scripts[name] & scripts.keys()] == []


def test_rules_are_complete() -> None:
    for rule, text in RULES.items():
        script = SHARED_SCRIPTS.get(rule, rule)
        parts = ("log:", "benchmark:", "resources:", f'path_of("{script}")', f'code_of("{script}")')
        assert "\n    shell:" not in text or [part for part in parts if part not in text] == [], rule
