"""Arrows point down: a module may import from its own package and from lower lines of this table, nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"worker", "api", "cli", "migrations"}),
    frozenset({"audit", "request", "watch", "notify", "monitor", "report", "plugin", "testing", "testbed"}),
    frozenset({"analysis", "store", "registries", "config"}),
    frozenset({"methods"}),
    frozenset({"networks"}),
    frozenset({"weights"}),
    frozenset({"numerics"}),
    frozenset({"domain", "errors", "logs"}),
)
"""Design: entries of one line do not import each other."""

EXCEPTIONS = {
    ("cli", "worker"): "a command starts the worker",
    ("cli", "api"): "a command starts the web application",
    ("migrations", "store"): "a migration environment is told the tables it compares with",
}

TORCH_FREE = ("domain", "errors", "store", "config", "notify", "report", "api", "cli")
"""What starts fast and runs beside a web server imports torch inside functions at most."""

PLUGIN_MAY = {"plugin", "methods", "numerics"}

BESIDE = ("plugins", "tests", "benchmarks")
"""What lies beside the library and is read as often."""


def _modules() -> list[Path]:
    sources = [ROOT / "registry_auditor", ROOT / "worker", ROOT / "migrations"]
    return sorted(path for source in sources for path in source.rglob("*.py"))


def _package(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "registry_auditor" and len(parts) > 1 else parts[0]


def _imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _ours(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "registry_auditor" and len(parts) > 1 else None


def _line(package: str) -> int:
    for number, packages in enumerate(LAYERS):
        if package in packages:
            return number
    raise AssertionError(f"{package} is on no line of LAYERS; put it where it belongs")


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path: Path) -> None:
    package = _package(path)
    if package in ("registry_auditor", "__init__"):
        return
    for name in _imports(path):
        imported = _ours(name)
        if imported is None or imported == package or (package, imported) in EXCEPTIONS:
            continue
        assert _line(imported) > _line(package), f"{path.relative_to(ROOT)} ({package}) imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_the_public_api_only(path: Path) -> None:
    for name in _imports(path):
        imported = _ours(name)
        assert imported is None or imported in PLUGIN_MAY, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_module_unpickles(path: Path) -> None:
    if path.name == "pickled.py":
        return
    source = path.read_text(encoding="utf-8")
    for forbidden in ("torch.load(", "pickle.load", "import pickle", "trust_remote_code=True"):
        assert forbidden not in source, f"{path.relative_to(ROOT)} holds {forbidden!r}"


@pytest.mark.parametrize("package", TORCH_FREE)
def test_the_light_packages_import_no_torch(package: str) -> None:
    heavy = {"torch", "transformers", "celery"}
    for path in _modules():
        if _package(path) == package:
            found = {name.split(".")[0] for name in _imports(path, top_level=True)} & heavy
            assert not found, f"{path.relative_to(ROOT)} imports {found} at its top level"


def test_a_command_starts_without_what_only_some_need() -> None:
    script = "import registry_auditor.cli.app, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "sqlalchemy", "fastapi", "torch", "celery", "alembic"} & set(loaded)


def test_no_file_grows_past_three_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (*_modules(), *(path for name in BESIDE for path in (ROOT / name).rglob("*.py")))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long, f"split by noun: {long}"
