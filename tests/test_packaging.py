"""The wheel and the editable install both give a working command, with the built-in analyzers and the migrations."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def _environment(home: Path) -> Path:
    """The Python of a fresh environment that sees the libraries of this one, so that nothing is downloaded."""
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    _run(python, "-m", "pip", "uninstall", "--yes", "setuptools", cwd=home)  # older Pythons bring one that is too old
    (site,) = (home / "lib").glob("python*/site-packages")
    libraries = [path for path in map(Path, sys.path) if path.name == "site-packages"]
    # Appended behind the environment's own packages; the .pth of an editable install is not followed from there.
    (site / "libraries.pth").write_text("\n".join(str(path) for path in libraries))
    return python


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("venv")
    python = _environment(home)
    _run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--force-reinstall", wheel, cwd=home)
    return python


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"registry_auditor", "auditor_svd_diff", "auditor_token_projection"}
    for wanted in (
        "registry_auditor/py.typed",
        "registry_auditor/migrations/env.py",
        "registry_auditor/worker/__init__.py",
        "registry_auditor/report/schema.json",
        "auditor_svd_diff/calibration.json",
        "auditor_token_projection/calibration.json",
    ):
        assert wanted in names
    assert any(name.startswith("registry_auditor/migrations/versions/0") for name in names)


@pytest.mark.slow
def test_the_installed_wheel_runs_from_anywhere(python: Path, tmp_path: Path) -> None:
    where = _run(python, "-c", "import registry_auditor; print(registry_auditor.__file__)", cwd=tmp_path)
    assert str(python.parents[1]) in where
    command = python.parent / "registry-auditor"
    assert "audit" in _run(command, "--help", cwd=tmp_path)
    listed = _run(command, "analyzers", "list", cwd=tmp_path)
    assert "svd-diff" in listed
    assert "token-projection" in listed
    assert "could not be loaded" not in listed.lower()
    assert "upgraded" in _run(command, "db", "upgrade", "--db", f"sqlite:///{tmp_path}/fresh.db", cwd=tmp_path)


@pytest.mark.slow
def test_an_editable_install_runs_from_anywhere(tmp_path: Path) -> None:
    python = _environment(tmp_path / "venv")
    install = ("-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall")
    _run(python, *install, "--editable", ROOT, cwd=tmp_path)
    command = python.parent / "registry-auditor"
    assert "svd-diff" in _run(command, "analyzers", "list", cwd=tmp_path)
    assert "upgraded" in _run(command, "db", "upgrade", "--db", f"sqlite:///{tmp_path}/fresh.db", cwd=tmp_path)
