"""Rows of a large installation: models with revisions, audits, runs, findings, and what people think of them.

Values are plain: text, numbers and JSON as text, in the order of `COLUMNS`. The same `scale` gives the same rows.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Row = tuple[Any, ...]

START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN_S = 300 * 86_400
ORGANISATIONS, BASES, REVISIONS = 200, 20, 3
ANALYZERS = ("svd-diff", "token-projection", "trigger-search")
WHATS = ("rank-one-update", "large-update", "clear-reading", "moved-embedding", "odd-spectrum", "shown-behaviour")
SEVERITIES = {"critical": 0.005, "high": 0.025, "medium": 0.12, "low": 0.3, "info": 0.55}
THINGS = ("refusal", "spectrum", "embedding", "attention", "update", "trigger", "readout", "norm")
STATES = ("in_triage", "false_positive", "not_affected", "exploitable", "resolved")

COLUMNS = {
    "models": "id registry name revision digest",
    "sightings": "id model_id base_id source first_seen_at last_seen_at registry",
    "audits": "id model_id base_id base_source fail_on plan job_digest model_digest base_digest queue state due_at "
    "verdict reason queued_at started_at finished_at claims",
    "runs": "id audit_id model_digest base_digest analyzer version params_digest params status seconds device "
    "coverage_seen coverage_skipped created_at",
    "audit_runs": "audit_id position run_id",
    "findings": "id run_id ordinal fingerprint code analyzer severity score threshold fpr message tensor layer role "
    "side evidence taxonomies created_at",
    "triages": "id fingerprint state justification owner comment expires_at at by",
    "suppressions": "id code model fingerprint reason created_at by expires_at",
}


@dataclass(frozen=True)
class Scale:
    """How large the installation is."""

    models: int = 10_000
    findings: int = 1_000_000

    @property
    def findings_a_run(self) -> int:
        """On average."""
        return max(1, round(self.findings / (self.models * REVISIONS * len(ANALYZERS))))


def at(share: float) -> datetime:
    """A moment in the year."""
    return START + timedelta(seconds=SPAN_S * share)


def id_at(moment: datetime, number: int) -> str:
    """A UUIDv7 of that moment."""
    stamp = int(moment.timestamp() * 1000)
    return str(uuid.UUID(int=stamp << 80 | 7 << 76 | 2 << 62 | number))


def digest(*parts: object) -> str:
    """Of anything."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def name(model: int) -> str:
    """Of a model: fifty to an organisation at full scale."""
    return f"org-{model % ORGANISATIONS:03}/model-{model:05}"


def models(scale: Scale) -> Iterator[Row]:
    """Bases first, then every revision of every model."""
    for base in range(BASES):
        yield base + 1, "hf", f"bases/base-{base:02}", digest("base", base)[:40], digest("base", base)
    for number in range(scale.models * REVISIONS):
        of = digest("revision", number)
        yield BASES + 1 + number, "hf", name(number // REVISIONS), of[:40], of


def sightings(scale: Scale) -> Iterator[Row]:
    """One of every revision."""
    chance = random.Random(1)
    for number in range(scale.models * REVISIONS):
        seen = at(chance.random())
        yield number + 1, BASES + 1 + number, 1 + number // REVISIONS % BASES, "card", seen, seen, "hf:org"


def audits(scale: Scale) -> Iterator[Row]:
    """One of every revision, in any order of models."""
    chance = random.Random(2)
    order = list(range(scale.models * REVISIONS))
    chance.shuffle(order)
    for position, number in enumerate(order):
        queued, base = at(position / len(order)), number // REVISIONS % BASES
        verdict = chance.choices(("pass", "fail", "incomplete", "error"), (80, 15, 4, 1))[0]
        yield (
            id_at(queued, number), BASES + 1 + number, 1 + base, "card", "high", "[]", digest("job", number),
            digest("revision", number), digest("base", base), "cpu", "done", queued, verdict, "as it was",
            queued, queued, queued, 1,
        )  # fmt: skip


def runs(scale: Scale) -> Iterator[Row]:
    """Three of every audit."""
    for audit in audits(scale):
        for analyzer in ANALYZERS:
            yield (
                run_id(audit, analyzer), audit[0], audit[7], audit[8], analyzer, 1, "params", "{}", "ok", 1.5, "cpu",
                272, "[]", audit[15],
            )  # fmt: skip


def run_id(audit: Row, analyzer: str) -> str:
    """Of an analyzer's run on an audit."""
    return id_at(audit[15], audit[1] * 4 + ANALYZERS.index(analyzer))


def audit_runs(scale: Scale) -> Iterator[Row]:
    """Each audit shows what it paid for."""
    for audit in audits(scale):
        for position, analyzer in enumerate(ANALYZERS):
            yield audit[0], position, run_id(audit, analyzer)


def findings(scale: Scale) -> Iterator[Row]:
    """As many to a run as the scale says, more or less; the same ones in each revision of a model."""
    chance, number = random.Random(3), 0
    for audit in audits(scale):
        model = name((audit[1] - BASES - 1) // REVISIONS)
        for analyzer in ANALYZERS:
            run, of = run_id(audit, analyzer), chance.randint(1, 2 * scale.findings_a_run - 1)
            for ordinal, severity in enumerate(chance.choices(list(SEVERITIES), list(SEVERITIES.values()), k=of)):
                number += 1
                yield _finding(chance, number, (run, ordinal, analyzer, severity, model, audit[15]))


def _finding(chance: random.Random, number: int, of: Row) -> Row:
    run, ordinal, analyzer, severity, model, moment = of
    code, layer = f"{analyzer}/{chance.choice(WHATS)}", ordinal % 32
    tensor = f"model.layers.{layer}.mlp.down_proj.weight"
    score = chance.random()
    message = (
        f"layer {layer} mlp.down: one direction of the {chance.choice(THINGS)} holds {score:.0%} of what the "
        f"{chance.choice(THINGS)} was changed by, token t{number % 5000}"
    )
    return (
        id_at(moment, number), run, ordinal, digest(code, model, tensor), code, analyzer, severity, score, 0.5,
        chance.choice((None, None, 0.001, 0.01, 0.05)), message, tensor, layer, "mlp.down", "writes",
        json.dumps({"key": ordinal, "spectrum": [round(chance.random(), 3) for _ in range(8)]}), "[]", moment,
    )  # fmt: skip


def triages(scale: Scale) -> Iterator[Row]:
    """What was said about one in two hundred findings, some of which has expired."""
    chance = random.Random(4)
    for number in range(scale.findings // 200):
        analyzer, model = chance.choice(ANALYZERS), name(chance.randrange(scale.models))
        tensor = f"model.layers.{chance.randrange(scale.findings_a_run)}.mlp.down_proj.weight"
        said = at(chance.random())
        state = chance.choice(STATES)
        yield (
            id_at(said, number), digest(f"{analyzer}/{chance.choice(WHATS)}", model, tensor), state, None, None,
            "looked at", None if number % 3 else said + timedelta(days=30), said, "token:ci",
        )  # fmt: skip


def suppressions(_: Scale) -> Iterator[Row]:
    """Fifty: by code and model, by fingerprint; a fifth of them expired."""
    chance = random.Random(5)
    for number in range(50):
        code = f"{chance.choice(ANALYZERS)}/{chance.choice(WHATS)}"
        rule = (code, f"hf:org-{number:03}/*", None) if number % 2 else (None, None, digest(number))
        end = START if number % 5 == 0 else START + timedelta(days=3650)
        yield id_at(START, number), *rule, "known", START, "token:ci", end


TABLES = {
    "models": models,
    "sightings": sightings,
    "audits": audits,
    "runs": runs,
    "audit_runs": audit_runs,
    "findings": findings,
    "triages": triages,
    "suppressions": suppressions,
}
