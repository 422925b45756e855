"""Pages without a browser: a store of each kind, and clients before a server that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from registry_auditor.api.app import create_app
from registry_auditor.config import Settings
from registry_auditor.domain import (
    Author,
    BaseSource,
    Coverage,
    Direction,
    Finding,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Scope,
    Severity,
    Side,
    Site,
    StepKey,
    SubjectKey,
    Verdict,
)
from registry_auditor.store import Store
from registry_auditor.store.catalogue import AnalyzerInfo

BROWSER = {"accept": "text/html,*/*", "sec-fetch-site": "same-origin"}
BASE = ModelRef("hf", "org/base", "b" * 40)


def audit_of(
    store: Store, name: str, findings: int = 3, *, revision: str = "c" * 40, evidence: Mapping[str, Any] | None = None
) -> str:
    """The id of a finished audit with so many findings, and two directions."""
    step = StepKey("svd-diff", 1, "params")
    audit = store.submit(Job(ModelRef("hf", name, revision), BASE, BaseSource.CARD, plan=(step,)))
    site = Site("model.layers.3.mlp.down_proj.weight", 3, "mlp.down", Side.WRITES)
    found = tuple(
        Finding("svd-diff/x", Severity.MEDIUM, f"seen {each}", site=site, evidence={"key": each, **(evidence or {})})
        for each in range(findings)
    )
    vectors = np.random.default_rng(0).standard_normal((2, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    learnt = tuple(Direction(site, rank, 2.0 - rank, 1e-6, vector) for rank, vector in enumerate(vectors))
    subject = SubjectKey(f"sha256:{name}@{revision}", "sha256:base")
    store.claim(audit.id, "worker", lease_s=60)
    store.set_subject(audit.id, subject)
    store.save(audit.id, Run(step, subject, {}, RunStatus.OK, None, 1.0, "cpu", None, Coverage(3), found, learnt))
    store.finish(audit.id, Verdict.PASS, "complete")
    return audit.id


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.open(url, banks=str(tmp_path / "banks")) as opened:
        opened.analyzers.save([AnalyzerInfo("svd-diff", 1, ("base",), "what changed", "What it reports:\n    x", {})])
        yield opened


Client = Callable[..., TestClient]


@pytest.fixture
def client(store: Store, url: str) -> Client:
    """A function that makes a browser without script, before a server that wants tokens unless told."""

    def make(*, open_to_all: bool = False, registries: tuple[str, ...] = ("hf:org",), **options: Any) -> TestClient:
        app = create_app(Settings(db=url, registries=[*registries]), store, open_to_all=open_to_all)
        return TestClient(app, base_url="http://127.0.0.1", headers=BROWSER, **options)

    return make


def signed_in(client: TestClient, store: Store, *scopes: Scope) -> TestClient:
    """`client` after it has signed in with a token of these scopes."""
    _, secret = store.tokens.create("ann", frozenset(scopes), expires_at=None, by=Author("test"))
    answer = client.post("/login", data={"token": secret, "next": "/findings"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/findings")
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    return client
