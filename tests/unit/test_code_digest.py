"""The digest follows what code does, through all that it imports, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmtsc import code_digest as module
from vlmtsc.code_digest import code_digest, import_closure
from vlmtsc.errors import InputError

FILES = {
    "run_it.py": '"""Script."""\nimport numpy\nfrom package import part\n\ndef run():\n    return part.work()\n',
    "package/__init__.py": '"""Package."""\n',
    "package/part.py": "from package.deep.below import VALUE\n\ndef work():\n    return VALUE\n",
    "package/deep/__init__.py": "",
    "package/deep/below.py": "VALUE = 1\n",
    "package/lazy.py": "SLOW = 1\n",
    "package/unrelated.py": "OTHER = 1\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def digest(tree: Path) -> str:
    """Digest as a new process does, which has parsed nothing."""
    for function in vars(module).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    return code_digest(tree / "run_it.py", tree)


def test_closure_holds_packages_and_modules_on_the_way(tree: Path) -> None:
    names = [path.relative_to(tree).as_posix() for path in import_closure(tree / "run_it.py", tree)]
    assert names == [
        "package/__init__.py",
        "package/deep/__init__.py",
        "package/deep/below.py",
        "package/part.py",
        "run_it.py",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\nfrom package.deep.below import VALUE\n\ndef work():\n    return VALUE\n",
        '"""Doc."""\nfrom package.deep.below import VALUE\n\ndef work():\n    """Do it."""\n    return VALUE\n',
        "from package.deep.below import (\n    VALUE,\n)\n\n\n\ndef work():\n    return (VALUE)\n",
    ],
    ids=["comment", "docstrings", "formatting"],
)
def test_words_and_formatting_do_not_count(tree: Path, text: str) -> None:
    before = digest(tree)
    (tree / "package/part.py").write_text(text)
    assert digest(tree) == before


@pytest.mark.parametrize(
    "name", ["run_it.py", "package/part.py", "package/deep/below.py", "package/__init__.py"]
)
def test_code_anywhere_in_the_closure_counts(tree: Path, name: str) -> None:
    before = digest(tree)
    with (tree / name).open("a") as file:
        file.write("\nNEW = 2\n")
    assert digest(tree) != before


def test_an_unrelated_module_does_not_count(tree: Path) -> None:
    before = digest(tree)
    (tree / "package/unrelated.py").write_text("OTHER = 2\n")
    assert digest(tree) == before


@pytest.mark.parametrize(
    "statement",
    [
        "from package.lazy import SLOW",
        "import package.lazy",
        "from package import lazy",
        "from .lazy import SLOW",
    ],
)
def test_an_import_inside_a_function_counts(tree: Path, statement: str) -> None:
    (tree / "package/part.py").write_text(f"def work():\n    {statement}\n    return 1\n")
    before = digest(tree)
    (tree / "package/lazy.py").write_text("SLOW = 2\n")
    assert digest(tree) != before


def test_imports_may_go_round_in_a_circle(tree: Path) -> None:
    (tree / "package/deep/below.py").write_text("import package.part\nVALUE = 1\n")
    assert len(digest(tree)) == 16


def test_a_moved_tree_has_the_same_digest(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = digest(tree)
    moved = tmp_path_factory.mktemp("elsewhere") / "tree"
    tree.rename(moved)
    assert digest(moved) == before


SETTINGS_MODULE = """\
LIMIT = 3
class Base: pass
class Download(Base):
    size: int = LIMIT
    "Its size."
class Training(Base):
    rate: float = 0.1
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [("0.1", "0.2", False), ("LIMIT = 3", "LIMIT = 4", True), ("Its", "The", False), ("pass", "x = 1", True)],
)
def test_only_settings_that_are_used_count(tree: Path, old: str, new: str, counts: bool) -> None:
    settings = tree / "vlmtsc/settings.py"
    settings.parent.mkdir()
    settings.write_text(SETTINGS_MODULE)
    (tree / "package/part.py").write_text(
        "from vlmtsc.settings import Download\n\ndef work():\n    return Download()\n"
    )
    before = digest(tree)
    settings.write_text(SETTINGS_MODULE.replace(old, new))
    assert (digest(tree) != before) == counts


def test_broken_code_is_named(tree: Path) -> None:
    (tree / "package/part.py").write_text("def work(:\n")
    with pytest.raises(InputError, match=r"part\.py, line 1: not valid Python"):
        digest(tree)
