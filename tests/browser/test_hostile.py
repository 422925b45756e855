"""Text from strangers does nothing, shows what it is made of, and breaks no layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from registry_auditor.domain import (
    Author,
    BaseSource,
    Coverage,
    Direction,
    Finding,
    Gap,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Severity,
    Side,
    Site,
    StepKey,
    SubjectKey,
    Taxonomy,
    TokenReadout,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.report import ReportFormat, gather, render
from registry_auditor.store import Store
from registry_auditor.store.catalogue import AnalyzerInfo
from tests.browser.conftest import Open
from tests.browser.served import serving

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>"
NASTY = f"{SCRIPT}{{{{7*7}}}}{{% raise %}}\u202egnp.exe\u2066\u200f\u200b\x00\x1b[31m"
ENDLESS = "W" * 2**20
TOKENS = (NASTY, ENDLESS, "\u202e", "\n\t", "", " ", "Z" + "\u0301" * 5000, "\U000e0041", "</code></td></table>")
MODEL = ModelRef("dir", f"/m/{NASTY}/{'very-long-name' * 30}", "sha256:" + "a" * 64)
PLACES = ("/", "/models", "/lineage", "/audits", "/findings", "/triage", "/suppressions", "/compare", "/registries")


def planted(store: Store) -> dict[str, str]:
    """One audit in which everything that a stranger can name is hostile; the addresses of its pages."""
    base = ModelRef("dir", f"/b/{NASTY}", "sha256:" + "b" * 64)
    step = StepKey("svd-diff", 1, "params")
    job = Job(MODEL, base, BaseSource.CARD, plan=(step,))
    audit = store.submit(job)
    subject = SubjectKey("sha256:" + "a" * 64, "sha256:" + "b" * 64)
    site = Site(NASTY + ENDLESS, 3, NASTY, Side.WRITES)
    evidence = {
        NASTY: {NASTY: [NASTY, ENDLESS, {"deep": {"deeper": {"deepest": {"bottom": NASTY}}}}]},
        "cells": [
            {"layer": layer, "role": NASTY, "relative_norm": 0.1 * layer, "strength": 2.0} for layer in range(40)
        ],
        "prompts": [{"tokens": [*TOKENS, "fires"], "firing": 0, "score": 7.1, "label": NASTY}],
    }
    found = Finding("svd-diff/summary", Severity.CRITICAL, NASTY + ENDLESS, 0.9, 0.5, 0.01, site, evidence,
                    (Taxonomy(NASTY, "1", NASTY),))  # fmt: skip
    readout = TokenReadout(tuple((text, 3.0) for text in TOKENS), tuple((text, -3.0) for text in TOKENS), 1e-9)
    vectors = np.eye(3, 16, dtype=np.float32)
    learnt = tuple(Direction(site, rank, 3.0 - rank, 1e-6, vectors[rank], readout) for rank in range(3))
    coverage = Coverage(1, (Gap(NASTY, NASTY), Gap(ENDLESS, ENDLESS)))
    store.claim(audit.id, "worker", lease_s=60)
    store.set_subject(audit.id, subject)
    store.save(audit.id, Run(step, subject, {}, RunStatus.OK, NASTY, 1.0, "cpu", 1, coverage, (found,), learnt))
    store.finish(audit.id, Verdict.FAIL, NASTY)
    store.sightings.record(ModelRef("hf", NASTY, "c" * 40), skipped=NASTY, registry="hf:" + NASTY)
    store.sightings.record(MODEL, base=base, source=BaseSource.CARD)
    store.analyzers.save([AnalyzerInfo("svd-diff", 1, ("base",), NASTY, f"What it reports:\n    {NASTY}", {})])
    finding, direction = store.findings().items[0], store.directions.list().items[0]
    said = Triage(TriageState.IN_TRIAGE, None, NASTY.replace("\x00", ""), NASTY.replace("\x00", ""))
    store.triage.set(finding.id, said, by=Author(NASTY))
    model = next(each for each in store.models.list().items if each.ref.name.startswith("/m/"))
    return {
        "audit": f"/audits/{audit.id}",
        "finding": f"/findings/{finding.id}",
        "direction": f"/directions/{direction.bank}/{direction.ordinal}",
        "model": f"/models/{model.id}",
        "analyzer": "/analyzers/svd-diff",
        "comparison": f"/compare?before={audit.id}&after={audit.id}",
    }


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str], Store]]:
    db = f"sqlite:///{tmp_path_factory.mktemp('hostile')}/auditor.db"
    with Store.open(db, create=True) as store:
        places = planted(store) | {path: path for path in PLACES}
        with serving(db, "--no-auth") as address:
            yield address, places, store


@pytest.mark.parametrize("width", [375, 1280])
def test_every_page_shows_it_and_does_nothing(
    hostile: tuple[str, dict[str, str], Store], tab: Open, width: int
) -> None:
    address, places, _ = hostile
    opened = tab(viewport={"width": width, "height": 800})
    for name, path in places.items():
        answer = opened.page.goto(address + path)
        assert answer is not None
        assert answer.status == 200, name
        text = opened.page.locator("body").inner_text()
        assert "49gnp" not in text, name
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\U000e0041]", opened.page.content()), name
        assert opened.width() <= width, name
        assert len(answer.body()) < 2**20, name
    assert opened.complaints == []
    assert opened.accessible() == []


def test_reports_show_it_and_do_nothing(hostile: tuple[str, dict[str, str], Store], tab: Open, tmp_path: Path) -> None:
    _, places, store = hostile
    document = gather(store, places["audit"].removeprefix("/audits/"))
    page = render(document, ReportFormat.HTML, ())
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    opened = tab(viewport={"width": 375, "height": 800})
    opened.page.goto((tmp_path / "report.html").as_uri())
    assert "‹U+202E›" in opened.page.locator("body").inner_text()
    assert opened.width() <= 375
    assert opened.complaints == []
    assert opened.accessible() == []
    for text in (page, render(document, ReportFormat.MARKDOWN, ())):
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f]", text)
        assert "<script>alert" not in text
