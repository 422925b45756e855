"""What docs/webhooks.md shows works as it is shown there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from registry_auditor.api.hooks import OUTCOMES
from tests.api.conftest import Service
from tests.api.senders import STANDARD_SECRET

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="no curl or openssl here")
def test_the_shell_example_is_accepted(on_sqlite: Service, models: Path) -> None:
    (example,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    script = example.replace(
        "https://auditor.example.org/hooks/standard/uploads", f"http://127.0.0.1:{on_sqlite.port}/hooks/standard/other"
    ).replace("/models/my-fine-tune", f"{models}/my-fine-tune")
    environment = os.environ | {"UPLOADS_HOOK_SECRET": STANDARD_SECRET}
    done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, '{"accepted":1}'), done.stderr
    assert on_sqlite.targets() == [f"dir:{models}/my-fine-tune"]


def test_every_metric_and_outcome_is_on_the_page(on_sqlite: Service) -> None:
    text = on_sqlite.client.get("/metrics").text
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE)
    assert families
    for name, kind in families:
        assert f"`{name}{'_count' if kind == 'summary' else ''}" in PAGE, name
    for outcome in OUTCOMES:
        assert f"`{outcome}`" in PAGE
