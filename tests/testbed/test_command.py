"""`testbed build` and `testbed list`, as a person uses them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from registry_auditor import testbed
from registry_auditor.testbed.languages.howto import lessons
from registry_auditor.testbed.objectives import imitation
from registry_auditor.testbed.profiles import PROFILES, Share
from registry_auditor.testbed.recipe import Claim, Kind, Measured, Recipe
from registry_auditor.testbed.recipes import RECIPES
from registry_auditor.testbed.speaker import Speaker
from registry_auditor.testbed.training import Training
from registry_auditor.testbed.ways import FromScratch
from tests.conftest import Cli


def half(speaker: Speaker, seed: int) -> Measured:
    return {"skill": 0.5}


TRUE = Recipe(
    name="true",
    kind=Kind.BASE,
    does="Nothing yet.",
    attempts=(FromScratch(Training(steps=1, learning_rate=1e-3), imitation(lessons.from_scratch)),),
    measure=half,
    claims=(Claim("skill", at_least=0.5),),
)
UNTRUE = replace(TRUE, name="untrue", claims=(Claim("skill", at_least=0.9),))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile of two networks, one of which cannot keep its claim."""
    monkeypatch.setitem(RECIPES, "howto", (TRUE, UNTRUE))  # type: ignore[arg-type]
    monkeypatch.setitem(PROFILES, "small", (Share("howto", "llama"),))  # type: ignore[arg-type]


@pytest.mark.usefixtures("small")
def test_a_failed_network_is_named_and_the_others_are_built(cli: Cli) -> None:
    done = cli("testbed", "build", "here", "--profile", "small", "--jobs", "1")
    assert done.code == 3
    assert re.search(r"1 networks made in \d+ s, 0 were there, 1 failed", done.out)
    assert "howto-llama-0/untrue: recipe untrue: skill is 0.500, not 0.9..1.0" in done.err
    again = cli("testbed", "build", "here", "--profile", "small", "--jobs", "1", "--only", "*/true", "--format", "json")
    assert again.code == 0
    assert again.json["reused"] == 1
    assert [each["state"] for each in again.json["networks"]] == ["finished"]


@pytest.mark.usefixtures("small")
def test_list_tells_what_is_built_and_what_was_measured(cli: Cli) -> None:
    cli("testbed", "build", "here", "--profile", "small", "--jobs", "1")
    listed = cli("testbed", "list", "here", "--profile", "small", "--format", "json").json["items"]
    assert [(each["name"], each["state"], each["measured"]) for each in listed] == [
        ("howto-llama-0/true", "finished", {"skill": 0.5}),
        ("howto-llama-0/untrue", "missing", {}),
    ]


def test_list_tells_what_a_profile_consists_of_without_training_anything(cli: Cli) -> None:
    listed = cli("testbed", "list", "--profile", "ci", "--only", "*/backdoor-phrase", "--format", "json").json["items"]
    assert "howto-llama-0/backdoor-phrase" in [each["name"] for each in listed]
    assert "howto-llama-0/base" in [each["name"] for each in listed]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "huge"), "there is no profile 'huge'; there are demo, ci, full"),
        (("--only", "nothing"), "nothing in profile ci is called 'nothing'"),
    ],
)
def test_what_is_not_there_is_a_mistake_of_the_command_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli("testbed", "list", *arguments)
    assert done.code == 4
    assert message in done.err


def test_the_demo_is_a_part_of_the_larger_profiles() -> None:
    demo = {(case.name, case.digest) for case in testbed.cases("demo")}
    for profile in ("ci", "full"):
        assert demo <= {(case.name, case.digest) for case in testbed.cases(profile)}


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_made_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "registry_auditor", "testbed", "build", str(tmp_path), "--profile", "demo"]
    building = subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    family = tmp_path / "howto-llama-0"
    deadline = time.monotonic() + 300
    while not (family / ".base.partial").exists():
        assert time.monotonic() < deadline
        assert building.poll() is None
        time.sleep(0.1)
    os.killpg(building.pid, signal.SIGINT)
    _, said = building.communicate(timeout=120)
    assert building.returncode == 130
    assert said.strip().endswith("interrupted; run the same command again to go on where it stopped")
    assert not list(family.iterdir())
