"""The examples of docs/api.md, run as they stand there against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.config import Settings
from registry_auditor.domain import ModelRef
from registry_auditor.store import Store
from tests.api.conftest import served
from tests.api.v1.planted import SITE, audited, direction, plant

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|json)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
SCRIPTS = [text for kind, text in BLOCKS if kind == "bash"]
MARK = "@@@"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> list[str]:
    """What each block of commands printed, all of them run one after the other in one shell."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(migrated, folder / "auditor.db")
    (folder / ".curlrc").write_text("fail-with-body\n")
    settings = Settings(db=f"sqlite:///{folder}/auditor.db", registries=["hf:org"])
    with Store.open(settings.db) as store:
        planted = plant(store)
        audited(store, ModelRef("hf", "org/stranger", "7e6f"), directions=(direction(SITE, 3),))
    given = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CURL_HOME": str(folder),
        "REGISTRY_AUDITOR_DB": settings.db,
        "NEXT_MONTH": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "MODEL": planted.model,
        "AUDIT": planted.after.id,
        "BEFORE": planted.before.id,
        "QUEUED": planted.queued.id,
        "FINDING": planted.finding,
        "SUPPRESSION": planted.suppression,
        "BANK": planted.bank,
        "TOKEN_ID": planted.token,
    }
    script = f"\necho '{MARK}'\n".join(SCRIPTS)
    with served(settings) as service:
        environment = given | {"AUDITOR": f"http://127.0.0.1:{service.port}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], env=environment, cwd=folder, capture_output=True, text=True
        )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr}"
    return done.stdout.split(MARK)


def test_every_example_works(outputs: list[str]) -> None:
    assert len(outputs) == len(SCRIPTS) > 10


def answers(printed: str) -> list[Any]:
    """The JSON values in what a block printed, one after the other."""
    found, decoder, rest = [], json.JSONDecoder(), printed.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


def missing(shown: Any, told: Any, path: str = "") -> list[str]:
    """What the page shows and the server does not tell: keys, and values of another type."""
    if isinstance(shown, dict) and isinstance(told, dict):
        return [
            fault
            for key, value in shown.items()
            for fault in ([f"{path}.{key}"] if key not in told else missing(value, told[key], f"{path}.{key}"))
        ]
    if isinstance(shown, list) and isinstance(told, list):
        return [fault for value in shown[:1] for fault in (missing(value, told[0], f"{path}[0]") if told else [path])]
    alike = type(shown) is type(told) or None in (shown, told) or {type(shown), type(told)} <= {int, float}
    return [] if alike else [f"{path}: {shown!r} is shown, {told!r} is told"]


EXAMPLES = [
    (number, json.loads(text))
    for number, (kind, text) in enumerate(BLOCKS)
    if kind == "json" and "about:blank" not in text
]


@pytest.mark.parametrize(("number", "shown"), EXAMPLES, ids=[str(number) for number, _ in EXAMPLES])
def test_what_is_shown_is_what_is_told(outputs: list[str], number: int, shown: Any) -> None:
    block = sum(kind == "bash" for kind, _ in BLOCKS[:number]) - 1
    assert not missing(shown, answers(outputs[block])[-1])


def test_every_route_and_status_is_on_the_page() -> None:
    from tests.api.v1.test_scopes import ROUTES

    variables = {"model_id": "$MODEL", "finding_id": "$FINDING", "suppression_id": "$SUPPRESSION", "sha256": "$BANK"}
    for method, path in ROUTES:
        if path.startswith("/api/") and path != "/api/v1/openapi.json":
            audit = "$QUEUED" if path.endswith(":cancel") else "$AUDIT"
            shown = path.format(**variables, audit_id=audit, name="svd-diff", token_id="$TOKEN_ID")
            assert re.search(re.escape(shown) + r'["?]', PAGE), (method, shown)
    for status in ("400", "401", "403", "404", "408", "409", "413", "421", "422", "429", "503"):
        assert status in PAGE
