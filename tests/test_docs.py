"""Documentation cannot rot: generated pages are fresh, what a user meets is on a page, links lead somewhere."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from registry_auditor import errors, plugin
from registry_auditor.analysis.discover import discover
from registry_auditor.cli.app import app
from registry_auditor.config import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HEADINGS = (
    "What it reports",
    "Why it matters",
    "How it works",
    "What it cannot see",
    "Calibration",
    "Source",
)


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for name, command in group.commands.items():
        inner = _commands(command, (*path, name)) if hasattr(command, "commands") else [((*path, name), command)]
        found.extend(inner)
    return found


COMMANDS = _commands(typer.main.get_command(app))


@pytest.mark.parametrize("name", ["analyzers.md", "cli.md"])
def test_generated_pages_are_fresh(name: str) -> None:
    fresh = _generator().pages()[name]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == fresh, "run: make docs"


@pytest.mark.parametrize("name", [n for n, a in discover().items() if a.examine.__module__.startswith("auditor_")])
def test_every_manual_page_has_every_heading(name: str) -> None:
    manual = discover()[name].manual
    positions = [manual.find(f"{heading}:") for heading in HEADINGS]
    assert -1 not in positions, f"missing: {[h for h, p in zip(HEADINGS, positions, strict=True) if p < 0]}"
    assert positions == sorted(positions)


@pytest.mark.parametrize("folder", sorted((ROOT / "plugins").glob("auditor_*")), ids=lambda folder: folder.name)
def test_every_finding_code_is_on_its_manual_page(folder: Path) -> None:
    name = folder.name.removeprefix("auditor_").replace("_", "-")
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for code in re.findall(rf'code=f?"({name}/[^"]+)"', source):
        pattern = re.sub(r"\\{.*?\\}", ".+", re.escape(code))
        assert re.search(f"`{pattern}`", discover()[name].manual), f"{code} is not documented"


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_explains_itself_with_an_example_of_itself(path: tuple[str, ...], command: Any) -> None:
    help_text = command.help or ""
    example = re.search(r"Example: (registry-auditor .*)", help_text)
    assert example, f"{' '.join(path)} has no example"
    assert shlex.split(example.group(1))[1 : 1 + len(path)] == list(path)
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name} has no help"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_every_error_is_in_the_drawn_tree() -> None:
    drawn = errors.__doc__ or ""
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, errors.AuditorError):
            assert name in drawn, f"{name} is not drawn in the docstring of errors.py"
            assert error.__doc__


def test_the_plugin_author_page_names_the_whole_public_interface() -> None:
    page = (ROOT / "docs" / "writing-an-analyzer.md").read_text(encoding="utf-8")
    missing = [name for name in plugin.__all__ if name not in page]
    assert not missing, f"docs/writing-an-analyzer.md does not mention {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_pages_exist(page: Path) -> None:
    known = {path for path, _ in COMMANDS} | {path[:1] for path, _ in COMMANDS}
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"^ {4}(?:.*&& )?registry-auditor (.+)$", text, flags=re.MULTILINE):
        words = tuple(re.findall(r"^[a-z]+(?: [a-z]+)?", line)[0].split()) if re.match(r"[a-z]", line) else ()
        assert not words or words in known or words[:1] in known, f"{page.name}: registry-auditor {line}"


def test_the_readme_shows_its_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt -e '.[dev]' && registry-auditor demo" in readme
    assert "    make check\n" in readme
