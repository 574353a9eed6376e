"""What the code may not do, wherever it stands: run text as a command or as code, load what may hold code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from vlmtsc.configuration import load_configuration_files
from vlmtsc.errors import InputError

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "workflow_scripts").rglob("*.py"))
RULES = sorted([ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")])
#: Modules that unpickle, and functions that run text.
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "pd.read_pickle", "pd.to_pickle"}
#: What a shell command may hold without `:q`: integers, and text that is quoted where it is made.
UNQUOTED = {
    "threads",
    "params.script",  # path_of
    # option
    "params.options",
    "params.matrix",
    "params.drawn_as",
    "params.chat",
    "params.features",
    "params.plots",
    "params.series",
    "params.split",
    "params.controls",
    "params.descriptions",
    "params.rationales",
    "params.validation",
    "params.launch",  # launch_option
    # of closed lists
    "params.explanations",
    "params.generate",
    "params.precision",
}


def calls(source: str) -> list[tuple[str, ast.Call]]:
    """List the calls of a module with the dotted name of what is called."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found.append((ast.unparse(node.func), node))
    return found


def keyword(call: ast.Call, name: str) -> str | None:
    """Return the source of a keyword argument."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def faults(source: str) -> list[str]:
    """List what a module does that it may not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"imports {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
    for name, call in calls(source):
        if name in FORBIDDEN_CALLS or name.endswith((".read_pickle", ".to_pickle")):
            found.append(f"calls {name}")
        if keyword(call, "shell") not in (None, "False"):
            found.append(f"{name} with a shell")
        if name == "torch.load" and keyword(call, "weights_only") != "True":
            found.append("torch.load without weights_only")
        if name == "np.load" and keyword(call, "allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if name.endswith("from_pretrained") and keyword(call, "trust_remote_code") not in (None, "False"):
            found.append(f"{name} with remote code")
        if name == "yaml.load":
            found.append("yaml.load")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_runs_text_or_unpickles(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "pd.read_pickle(path)",
        "yaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_the_audit_sees(source: str) -> None:
    assert faults(source)


def placeholders(text: str) -> set[str]:
    """List the placeholders of all shell commands of a rule file, as they are written."""
    found: set[str] = set()
    for command in re.findall(r"^    shell:\n((?:        .*\n)+)", text, re.MULTILINE):
        found |= set(re.findall(r"(?<!\{)\{([^{}]+)\}", command))
    return found


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_every_placeholder_of_a_shell_command_is_quoted(path: Path) -> None:
    bare = {name for name in placeholders(path.read_text()) if not name.endswith(":q")}
    # Resources without `:q` are integers: Snakemake's own, and those that the schema of the configuration types.
    assert {name for name in bare if not name.startswith("resources.")} <= UNQUOTED
    assert "resources.cache" not in bare


@pytest.mark.parametrize(
    "name", ["../up", "a b", "$(id)", "a;b", "a'b", "-rf", ".hidden", "a/b", "{x}", "a\tb", ""]
)
@pytest.mark.parametrize("table", ["datasets", "scenarios", "plots", "models"])
def test_a_name_that_could_be_more_than_a_name_is_refused(table: str, name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {}
    if table == "models":
        path = tmp_path / "models.yaml"
        text = (ROOT / "config/models.yaml").read_text()
        quoted = name.replace("'", "''").replace("\t", " ")
        path.write_text(text.replace("\nembedded:", f"\n'{quoted}':", 1))
    else:
        path = tmp_path / f"{table}.tsv"
        header, first, *_ = (ROOT / f"config/{table}.tsv").read_text().splitlines()
        path.write_text(f"{header}\n{name}\t{first.split(chr(9), 1)[1]}\n")
    changes["tables"] = {table: str(path)}
    with pytest.raises(InputError, match=re.escape(path.name)):
        load_configuration_files([], ROOT, changes)


@pytest.mark.parametrize("name", ["../up", "a b", "$(id)", "-rf"])
def test_an_own_dataset_needs_a_plain_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "own" / name
    folder.mkdir(parents=True)
    for part in ("TRAIN", "TEST"):
        (folder / f"{Path(name).name}_{part}.tsv").write_text("1\t1\t2\n2\t2\t3\n")
    with pytest.raises(InputError, match="datasets"):
        load_configuration_files([], ROOT, {"datasets": [name], "folder": str(tmp_path / "own")})


def test_a_folder_of_results_holds_no_wildcard() -> None:
    with pytest.raises(InputError, match="results: found"):
        load_configuration_files([], ROOT, {"results": "results/{dataset}"})
