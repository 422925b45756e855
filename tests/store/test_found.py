"""Findings are asked for by everything that describes them, in every order; both ways to answer give the same."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from registry_auditor.domain import (
    Author,
    Finding,
    FindingOrder,
    Job,
    Justification,
    ModelRef,
    Run,
    RunStatus,
    Severity,
    StepKey,
    SubjectKey,
    Triage,
    TriageState,
)
from registry_auditor.errors import UsageError
from registry_auditor.store import Page, Store, StoredFinding
from registry_auditor.store.findings import listing, wording
from registry_auditor.store.tables import FindingRow

ME = Author("cli:me")
CODES = ("svd-diff/rank-one-update", "svd-diff/large_update", "token-projection/clear")
WORDS = (
    "one direction holds 99% of the update",
    "Layer model.layers.3 moved",
    "Ein Äpfel-Modell; it's «ä»",
    "'\"*() OR",
)
FPRS = (None, 0.0, 0.001, 0.5)
SCORES = (0.25, None, -1.0, 7.5, 7.5)
Query = dict[str, Any]


@pytest.fixture
def filled(
    store: Store, job: Callable[..., Job], run: Callable[..., Run], finding: Finding
) -> tuple[Store, list[StoredFinding]]:
    """Four audited models with thirty findings each, some of which people have an opinion on; and all of them."""
    bases = {"org/a": "org/base", "org/b": "org/other", "alien/c": "org/base", "alien/d": None}
    for name, base in bases.items():
        parent = base and ModelRef("hf", base, "1b2c")
        audit = store.submit(job(name, base=parent, base_source=None))
        store.set_subject(audit.id, SubjectKey(name, base))
        for code in CODES:
            made = tuple(
                replace(
                    finding,
                    code=code,
                    severity=list(Severity)[(number + len(code)) % 5],
                    message=WORDS[number % 4],
                    fpr=FPRS[number % 4],
                    score=SCORES[number % 5],
                    evidence={"key": number},
                )
                for number in range(10)
            )
            step = StepKey(code.partition("/")[0], 1, code)
            store.save(audit.id, run(step=step, subject=SubjectKey(name, base), findings=made))
    everything = list(store.findings(limit=1000).items)
    assert len(everything) == 120
    states = [
        Triage(TriageState.IN_TRIAGE),
        Triage(TriageState.FALSE_POSITIVE, comment="benign"),
        Triage(TriageState.NOT_AFFECTED, Justification.CODE_NOT_PRESENT),
        Triage(TriageState.EXPLOITABLE),
    ]
    for triage, one in zip(itertools.cycle(states), everything[::7], strict=False):
        store.triage.set(one.id, triage, by=ME)
    expires = datetime.now(UTC) + timedelta(days=1)
    store.suppressions.add(code="svd-diff/l*", model="hf:alien/*", reason="known", expires_at=expires, by=ME)
    store.suppressions.add(fingerprint=everything[1].fingerprint, reason="known", expires_at=expires, by=ME)
    return store, list(store.findings(limit=1000).items)


def walked(ask: Callable[..., Page[StoredFinding]], limit: int, **query: Any) -> list[StoredFinding]:
    """Everything that `ask` gives, page by page."""
    items: list[StoredFinding] = []
    after = None
    while True:
        page = ask(limit=limit, after=after, **query)
        items += page.items
        if page.next is None:
            return items
        assert len(page.items) == limit
        after = page.next


KEYS: dict[FindingOrder, Callable[[StoredFinding], Any]] = {
    FindingOrder.NEWEST: lambda f: (),
    FindingOrder.SEVERITY: lambda f: -f.finding.severity.weight,
    FindingOrder.SCORE: lambda f: (f.finding.score is None, -(f.finding.score or 0)),
    FindingOrder.FPR: lambda f: (f.finding.fpr is None, f.finding.fpr),
}

QUESTIONS: dict[str, tuple[Query, Callable[[StoredFinding], bool]]] = {
    "all": ({}, lambda f: True),
    "severity": ({"severity": Severity.MEDIUM}, lambda f: f.finding.severity.at_least(Severity.MEDIUM)),
    "one code": ({"code": CODES[0]}, lambda f: f.finding.code == CODES[0]),
    "codes": ({"code": "svd-*_update"}, lambda f: f.finding.code == CODES[1]),
    "codes of a severity": (
        {"code": "svd-diff/*", "severity": Severity.HIGH},
        lambda f: f.finding.code.startswith("svd-diff/") and f.finding.severity.at_least(Severity.HIGH),
    ),
    "no such code": ({"code": "SVD-diff/*"}, lambda f: False),
    "analyzer": ({"analyzer": "token-projection"}, lambda f: f.analyzer == "token-projection"),
    "model": ({"model_glob": "hf:org/?"}, lambda f: f.model.name in ("org/a", "org/b")),
    "no such model": ({"model_glob": "hf:ORG/*"}, lambda f: False),
    "base": ({"base_glob": "hf:org/base"}, lambda f: f.model.name in ("org/a", "alien/c")),
    "base and severity of a model": (
        {"base_glob": "*@1b2c", "model_glob": "*alien*", "severity": Severity.LOW},
        lambda f: f.model.name == "alien/c" and f.finding.severity is not Severity.INFO,
    ),
    "fpr": ({"max_fpr": 0.001}, lambda f: f.finding.fpr is not None and f.finding.fpr <= 0.001),
    "uncalibrated": ({"calibrated": False}, lambda f: f.finding.fpr is None),
    "calibrated": (
        {"calibrated": True, "code": "*clear"}, lambda f: f.finding.fpr is not None and "clear" in f.finding.code
    ),
    "words": ({"text": "UPDATE holds"}, lambda f: "update" in f.finding.message),
    "a place": ({"text": "model.layers.3"}, lambda f: "layers" in f.finding.message),
    "no such words": ({"text": "äpfels modell"}, lambda f: False),
    "other letters": (
        {"text": "ÄPFEL «ä»", "code": CODES[2]}, lambda f: "Äpfel" in f.finding.message and f.finding.code == CODES[2]
    ),
    "operators": ({"text": '"or" - (*'}, lambda f: "OR" in f.finding.message),
    "no word": ({"text": '" *'}, lambda f: False),
    "untouched": ({"state": TriageState.NOT_SET}, lambda f: f.standing.opinion is None),
    "in triage": ({"state": TriageState.IN_TRIAGE}, lambda f: f.standing.state is TriageState.IN_TRIAGE),
    "counts": ({"counts": True}, lambda f: f.standing.counts),
    "set aside": ({"counts": False}, lambda f: not f.standing.counts),
    "open and severe": (
        {"counts": True, "severity": Severity.HIGH, "model_glob": "hf:alien/*"},
        lambda f: f.standing.counts and f.finding.severity.at_least(Severity.HIGH) and "alien" in f.model.name,
    ),
    "everything at once": (
        {"counts": True, "severity": Severity.LOW, "model_glob": "hf:*", "base_glob": "hf:*", "code": "*/*",
         "calibrated": True, "text": "Moved", "max_fpr": 1.0, "analyzer": "svd-diff", "state": TriageState.NOT_SET},
        lambda f: f.standing.counts and f.standing.opinion is None and f.finding.severity is not Severity.INFO
        and f.model.name != "alien/d" and f.finding.fpr is not None and "moved" in f.finding.message
        and f.analyzer == "svd-diff",
    ),
}  # fmt: skip


@pytest.mark.parametrize("order", FindingOrder)
@pytest.mark.parametrize("few", [0, listing.FEW])
def test_every_question_gives_what_fits_in_its_order_page_by_page(
    filled: tuple[Store, list[StoredFinding]], few: int, order: FindingOrder
) -> None:
    store, everything = filled
    by_age = everything if order is not FindingOrder.FPR else everything[::-1]
    ask = partial(store._read, listing.findings, few=few, sort=order)
    for name, (query, fits) in QUESTIONS.items():
        expected = [one.id for one in sorted(by_age, key=KEYS[order]) if fits(one)]
        assert expected or name.startswith("no "), name
        assert [one.id for one in ask(limit=1000, after=None, **query).items] == expected, name
        if name in ("all", "counts", "words", "codes of a severity", "model"):
            assert [one.id for one in walked(ask, 7, **query)] == expected, name


def test_the_words_of_findings_far_back_in_a_list_are_found_too(
    store: Store, job: Callable[..., Job], run: Callable[..., Run], finding: Finding
) -> None:
    if store._engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps the words with the finding")
    audit = store.submit(job())
    store.save(
        audit.id, run(findings=tuple(replace(finding, message=WORDS[n % 2], evidence={"key": n}) for n in range(40)))
    )
    everything = store.findings(limit=100).items
    for start, near in itertools.product((None, everything[10].id, "no such finding"), (0, 5, 100)):
        said = select(FindingRow.id).where(wording.says("layer", start, near=near)).order_by(FindingRow.id.desc())
        spoken = store._read(lambda session, asked=said: list(session.scalars(asked)))
        assert spoken == [one.id for one in everything if "Layer" in one.finding.message]


def test_findings_are_asked_for_by_when_they_were_found(filled: tuple[Store, list[StoredFinding]]) -> None:
    store, everything = filled
    middle = everything[60].created_at
    later = [one.id for one in everything if one.created_at >= middle]
    earlier = [one.id for one in everything if one.created_at < middle]
    assert later
    assert earlier
    assert [one.id for one in store.findings(since=middle, limit=1000).items] == later
    assert [one.id for one in store.findings(until=middle, limit=1000).items] == earlier
    assert store.findings(since=datetime.max.replace(tzinfo=UTC) - timedelta(days=2)).items == ()
    assert store.findings(until=datetime.min.replace(tzinfo=UTC) + timedelta(days=2)).items == ()
    # In UTC these lie in years that have no number.
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    last = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    assert len(store.findings(since=first, until=last, limit=1000).items) == len(everything)
    assert store.findings(until=first).items == store.findings(since=last).items == ()


def test_a_fingerprint_finds_the_same_in_every_revision(filled: tuple[Store, list[StoredFinding]]) -> None:
    store, everything = filled
    assert [one.id for one in store.findings(fingerprint=everything[3].fingerprint).items] == [everything[3].id]
    assert store.findings(fingerprint="none").items == ()


def test_a_cursor_of_another_order_or_list_is_refused(filled: tuple[Store, list[StoredFinding]]) -> None:
    store, _ = filled
    cursors = {order: store.findings(limit=1, sort=order).next for order in FindingOrder}
    for order, other in itertools.permutations(FindingOrder, 2):
        with pytest.raises(UsageError, match="same order"):
            store.findings(sort=order, after=cursors[other])
    for nonsense in ("", " ", "nonsense", store.audits(limit=1).next, cursors[FindingOrder.NEWEST][:-2]):  # type: ignore[index]
        with pytest.raises(UsageError, match=r"pass (the `next` of a page of the same list|what stood in `next`)"):
            store.findings(after=nonsense)


def test_what_a_failed_attempt_found_is_not_listed(
    store: Store, job: Callable[..., Job], run: Callable[..., Run], finding: Finding
) -> None:
    audit = store.submit(job())
    store.save(audit.id, run(status=RunStatus.TIMED_OUT, reason="slow", findings=(finding,)))
    assert len(store.findings().items) == 1
    store.save(audit.id, run(findings=(finding, finding)))
    for order in FindingOrder:
        assert len(store.findings(sort=order).items) == 2


def test_no_question_needs_more_statements_than_another(
    filled: tuple[Store, list[StoredFinding]], counted: Callable[..., list[str]]
) -> None:
    store, _ = filled

    def asked(**query: Any) -> int:
        return len(counted(store, lambda: store.findings(**query)))

    assert asked() == 3  # the page, and two for how its findings stand
    assert asked(severity=Severity.MEDIUM) == 3
    assert asked(code="svd-diff/*") == 4  # which kinds there are
    assert asked(model_glob="hf:*", text="moved", max_fpr=1.0) == 4  # how much fits each
    assert asked(code="*", model_glob="hf:*", sort=FindingOrder.SCORE, counts=True) == 5
