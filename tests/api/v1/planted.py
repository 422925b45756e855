"""A store with one of everything, and people who may do one thing each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from registry_auditor.domain import (
    Audit,
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
    Scope,
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
from registry_auditor.store import Store, Watched
from registry_auditor.store.catalogue import AnalyzerInfo, model_id

STEP = StepKey("svd-diff", 1, "params-digest")
BASE = ModelRef("hf", "org/base", "1b2c")
TUNED = ModelRef("hf", "org/tuned", "3f2a")
LATER = ModelRef("hf", "org/tuned", "4a3b")
SITE = Site("model.layers.3.mlp.down_proj.weight", 3, "mlp.down", Side.WRITES)
OTHER_SITE = Site("model.layers.4.mlp.down_proj.weight", 4, "mlp.down", Side.WRITES)
DIMENSION = 16
OPERATOR = Author("cli:operator")
TOMORROW = datetime.now(UTC) + timedelta(days=1)
RANK_ONE = Finding(
    code="svd-diff/rank-one-update",
    severity=Severity.MEDIUM,
    message="one direction holds 99% of the update",
    score=0.99,
    threshold=0.9,
    fpr=0.001,
    site=SITE,
    evidence={"key": "rank-one", "spectrum": [3.0, 0.1]},
    taxonomies=(Taxonomy("mitre-atlas", "5.0", "AML.T0018"),),
)
LARGE = replace(RANK_ONE, code="svd-diff/large-update", severity=Severity.HIGH, message="the update is large", fpr=None)
GONE = replace(RANK_ONE, site=OTHER_SITE, severity=Severity.LOW)


@dataclass
class Planted:
    """What is in the store, by id."""

    before: Audit
    after: Audit
    queued: Audit
    finding: str
    suppression: str
    bank: str
    token: str
    secrets: Mapping[Scope, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return model_id(TUNED)


def vector(seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return made / np.linalg.norm(made)


def direction(site: Site, seed: int, *, strength: float = 3.0, rank: int = 0) -> Direction:
    tokens = TokenReadout((("▁bomb", 9.1),), (("▁tea", -7.0),), 1e-4)
    return Direction(site, rank, strength, 1e-6, vector(seed), tokens)


def audited(
    store: Store, model: ModelRef, *, findings: tuple[Finding, ...] = (), directions: tuple[Direction, ...] = ()
) -> Audit:
    """A finished audit of `model` against BASE that found this."""
    audit = store.submit(Job(model, BASE, BaseSource.CARD, plan=(STEP,)))
    assert store.claim(audit.id, "worker-1", lease_s=60)
    subject = SubjectKey(f"digest-of-{model}", "digest-of-base")
    store.set_subject(audit.id, subject)
    gap = Gap("model.layers.0.mlp.gate.weight", "4-bit GPTQ is not read")
    run = Run(
        step=STEP,
        subject=subject,
        params={"max_rank": 20},
        status=RunStatus.OK,
        reason=None,
        seconds=1.5,
        device="cpu",
        peak_memory_bytes=3 * 2**30,
        coverage=Coverage(12, (gap,)),
        findings=findings,
        directions=directions,
    )
    store.save(audit.id, run)
    fails = any(finding.severity.at_least(Severity.HIGH) for finding in findings)
    return store.finish(audit.id, Verdict.FAIL if fails else Verdict.PASS, "as planted")


def plant(store: Store) -> Planted:
    """Afterwards the store has two audits of one model, a queued one, and what people said about them."""
    for model in (BASE, TUNED, LATER):
        base = None if model is BASE else BASE
        store.sightings.record(model, base=base, source=base and BaseSource.CARD, registry="hf:org")
    store.sightings.record(ModelRef("hf", "org/gguf", "5c4d"), skipped="holds no weights", registry="hf:org")
    store.watched.save(Watched("hf:org", cursor="2026-01-01", polled_at=datetime.now(UTC)))
    turned = (direction(SITE, 1), direction(OTHER_SITE, 2, strength=2.0))
    before = audited(store, TUNED, findings=(RANK_ONE, GONE), directions=turned)
    after = audited(
        store,
        LATER,
        findings=(LARGE, RANK_ONE),
        directions=(direction(SITE, 3), direction(OTHER_SITE, 2, strength=2.5)),
    )
    queued = store.submit(Job(ModelRef("hf", "org/next", "6d5e"), BASE, BaseSource.CARD, plan=(STEP,)))
    schema = {"type": "object", "properties": {"max_rank": {"type": "integer", "default": 20}}}
    store.analyzers.save([AnalyzerInfo("svd-diff", 1, ("base",), "Finds rank-one updates.", "How it works.", schema)])
    finding = store.findings(audit_id=after.id, code=RANK_ONE.code).items[0].id
    store.triage.set(finding, Triage(TriageState.IN_TRIAGE, owner="alice"), by=OPERATOR)
    rule = store.suppressions.add(
        by=OPERATOR, code="svd-diff/large-*", model="hf:org/*", reason="known", expires_at=TOMORROW
    )
    made = {scope: store.tokens.create(scope, frozenset({scope}), expires_at=None, by=OPERATOR) for scope in Scope}
    return Planted(
        before=before,
        after=after,
        queued=queued,
        finding=finding,
        suppression=rule.id,
        bank=store.directions.list(audit_id=after.id).items[0].bank,
        token=made[Scope.READ][0].id,
        secrets={scope: secret for scope, (_, secret) in made.items()},
    )
