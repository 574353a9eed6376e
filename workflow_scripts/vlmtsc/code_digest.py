"""Digest of a script's code and of every module of the project that it imports.

Snakemake ignores imported modules, and reruns a script's rule whenever its file is newer. This digest, a parameter of
each rule, changes with the code alone: not with a checkout, a comment, a docstring or the formatting.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from vlmtsc.errors import InputError

#: The module of all settings: of it, only the definitions that are used count, so that an option of one step reruns no
#: other step.
SETTINGS = "vlmtsc/settings.py"


def code_digest(script: Path, root: Path) -> str:
    """Digest the import closure of `script` inside the folder `root`, the first entry of ``sys.path`` when it runs.

    Imports count wherever they stand, inside functions too. Modules outside `root` do not count: their versions are
    pinned by the environment's lock. A module named only by a string (``importlib.import_module``) is not seen.
    Returns 16 hexadecimal digits. InputError if a file is missing or is not valid Python.
    """
    digest, modules = hashlib.sha256(), import_closure(script, root)
    for module in modules:
        name = module.relative_to(root).as_posix()
        text = _parsed(module, root)[0]
        if name == SETTINGS:
            text = _used_settings(
                module, frozenset().union(*(_names_of_settings(other) for other in modules))
            )
        digest.update(f"{name}\n{text}\n".encode())
    return digest.hexdigest()[:16]


def import_closure(script: Path, root: Path) -> list[Path]:
    """List `script` and the files under `root` that it imports, directly or not, in sorted order."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(_parsed(module, root)[1])
    return sorted(found)


@cache
def _tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: not valid Python ({error.msg})") from error


@cache
def _parsed(path: Path, root: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the canonical text of a module and the project files that it imports."""
    return _canonical(_tree(path)), tuple(sorted(set(_imported_files(path, root))))


@cache
def _imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """Return the import statements of a module."""
    statements = ast.stmt | ast.ExceptHandler | ast.match_case  # expressions contain none
    found, waiting = [], list[ast.AST](_tree(path).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif isinstance(node, statements):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def _canonical(node: object) -> str:
    """Write a syntax tree without positions, docstrings and empty fields.

    Not `ast.dump`, whose text differs between Python versions in the fields it adds and leaves out.
    """
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                value = [item for item in value if not _is_docstring(item)]
            if value is not None and value != [] and name not in ("kind", "type_comment"):
                parts.append(f"{name}={_canonical(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    return repr(node)


@cache
def _names_of_settings(path: Path) -> frozenset[str]:
    """Return the names that a module imports from that of all settings."""
    module = SETTINGS.removesuffix(".py").replace("/", ".")
    imports = (node for node in _imports(path) if isinstance(node, ast.ImportFrom) and node.module == module)
    return frozenset(alias.name for node in imports for alias in node.names)


@cache
def _used_settings(path: Path, names: frozenset[str]) -> str:
    """Return the canonical text of the definitions of these names, and of those that they refer to."""
    defined: dict[str, list[ast.stmt]] = {}
    for statement in _tree(path).body:
        for name in _defined_names(statement):
            defined.setdefault(name, []).append(statement)
    waiting, used = [*names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in defined and name not in used:
            used.add(name)
            waiting += [n.id for node in defined[name] for n in ast.walk(node) if isinstance(n, ast.Name)]
    return "\n".join(_canonical_statement(statement) for name in sorted(used) for statement in defined[name])


@cache
def _canonical_statement(statement: ast.stmt) -> str:
    return _canonical(statement)


def _defined_names(statement: ast.stmt) -> list[str]:
    """Return the names that a statement of a module defines; of nested statements, those of ``if``."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.If):
        return [name for inner in statement.body + statement.orelse for name in _defined_names(inner)]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_docstring(node: object) -> bool:
    """Whether a statement is a text alone, which has no effect."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imported_files(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files under `root` that the import statements of one module execute."""
    for node in _imports(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(alias.name, root)
        else:
            base = node.module or ""
            if node.level:
                package = path.relative_to(root).parts[: -node.level]
                base = ".".join((*package, *filter(None, [base])))
            yield from _files_of(base, root)
            for alias in node.names:  # an imported name may be a module of its own
                yield from _files_of(f"{base}.{alias.name}", root)


@cache
def _files_of(module: str, root: Path) -> tuple[Path, ...]:
    """Return the files that importing ``a.b.c`` executes: the packages on the way and the module."""
    folder, found = root, []
    for part in module.split("."):
        found += [folder / f"{part}.py", folder / part / "__init__.py"]
        folder = folder / part
    return tuple(file for file in found if file.is_file())
