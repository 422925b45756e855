"""Audits are asked for and taken back from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import Job, ModelRef
from registry_auditor.store import Store

Cli = Callable[..., Any]


def test_an_audit_is_asked_for_by_name_and_not_looked_up_yet(cli: Cli, db: str, tmp_path: Path) -> None:
    asked = cli(
        "audits", "submit", tmp_path, "--base", "hf:org/base", "--analyzer", "svd-diff", "--format", "json"
    ).json
    with Store.open(db) as store:
        job = store.audit(asked["id"]).job
        (written,) = store.writes.list().items
    assert (job.model, job.base) == (ModelRef("dir", str(tmp_path.resolve())), ModelRef("hf", "org/base"))
    assert (job.wish, job.plan) == ({"svd-diff": {}}, ())
    assert (written.action, written.target, written.by.partition(":")[0]) == ("audits.submit", asked["id"], "cli")
    again = cli("audits", "submit", f"dir:{tmp_path}", "--base", "hf:org/base", "--analyzer", "svd-diff")
    assert f"{asked['id']} is queued" in again.out


@pytest.mark.parametrize("model", ["nowhere/at/all", ":", "hf:"])
def test_what_names_no_model_exits_with_4(cli: Cli, model: str) -> None:
    outcome = cli("audits", "submit", model)
    assert (outcome.code, "no such folder" in outcome.err) == (4, True)


def test_an_audit_is_taken_back_once(cli: Cli, db: str) -> None:
    with Store.open(db) as store:
        audit = store.submit(Job(ModelRef("hf", "org/tuned", "3f2a")))
    outcome = cli("audits", "cancel", audit.id[:23])
    assert (outcome.code, "cancelled by cli:" in outcome.out) == (0, True)
    again = cli("audits", "cancel", audit.id)
    assert (again.code, "done already" in again.err) == (4, True)


def test_audits_are_listed_by_base_and_time(cli: Cli, db: str) -> None:
    with Store.open(db) as store:
        for name in ("base", "other"):
            store.submit(Job(ModelRef("hf", "org/tuned", "3f2a"), ModelRef("hf", f"org/{name}", "1b2c")))

    def bases(*arguments: str) -> list[str]:
        return [each["base"]["ref"] for each in cli("audits", "list", "--format", "json", *arguments).json["items"]]

    assert bases("--base", "hf:org/b*") == ["hf:org/base@1b2c"]
    assert len(bases("--since", "1h")) == 2
    assert bases("--since", "2999-01-01") == []
