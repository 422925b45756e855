from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from registry_auditor.domain import (
    AuditState,
    Direction,
    Finding,
    Job,
    ModelRef,
    Run,
    Severity,
    Side,
    Site,
    StepKey,
    SubjectKey,
    Verdict,
)
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store import Page, Store
from registry_auditor.store.ids import span, uuid7

JobMaker = Callable[..., Job]
RunMaker = Callable[..., Run]
DirectionMaker = Callable[..., tuple[Direction, ...]]


def pages(ask: Callable[..., Page[Any]], **query: Any) -> list[Any]:
    """Everything that `ask` gives, page by page."""
    items, after = [], None
    while True:
        page = ask(limit=3, after=after, **query)
        items += page.items
        if page.next is None:
            return items
        assert len(page.items) == 3
        after = page.next


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that is sent meanwhile."""
    sent: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", record)


@pytest.fixture
def fill(
    store: Store, job: JobMaker, run: RunMaker, finding: Finding, directions: DirectionMaker
) -> Callable[[str], str]:
    """A function that audits a model of this name: two runs, five findings, three directions."""

    def audit(name: str) -> str:
        submitted = store.submit(job(name))
        subject = SubjectKey(f"digest of {name}", "base-digest")
        store.set_subject(submitted.id, subject)
        found = [replace(finding, severity=severity, code=f"svd-diff/{severity}") for severity in Severity]
        vectors = directions(seed=len(name))
        for step in submitted.job.plan:
            mine = found[:4] if step.analyzer == "svd-diff" else found[4:]
            store.save(submitted.id, run(step=step, subject=subject, findings=tuple(mine), directions=vectors))
        return submitted.id

    return audit


def test_ids_sort_by_age() -> None:
    ids = [uuid7() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {one[14] for one in ids} == {"7"}
    assert {one[19] for one in ids} <= set("89ab")


def test_a_prefix_spans_the_ids_that_begin_so() -> None:
    one = uuid7()
    for length in range(1, 37):
        low, high = span(one[:length])
        assert low <= one <= high
    assert span(one.upper()) == (one, one)
    for nonsense in ("", "xyz", one + "0", "%"):
        with pytest.raises(UsageError):
            span(nonsense)


def test_an_audit_is_found_by_the_beginning_of_its_id(store: Store, job: JobMaker) -> None:
    audits = [store.submit(job(f"org/{n}")) for n in range(3)]
    for audit in audits:
        assert store.audit(audit.id[:23]) == audit
    with pytest.raises(NotFound, match="more than one audit"):
        store.audit(audits[0].id[:4])
    with pytest.raises(NotFound, match="there is no audit ffff"):
        store.audit("ffff")


def test_a_finding_is_found_by_the_beginning_of_its_id(store: Store, fill: Callable[[str], str]) -> None:
    fill("org/a")
    for found in store.findings().items:
        assert store.finding(found.id) == found
    with pytest.raises(NotFound, match="more than one finding"):
        store.finding(found.id[:4])


def test_lists_are_newest_first_and_pages_neither_repeat_nor_miss(store: Store, fill: Callable[[str], str]) -> None:
    ids = [fill(f"org/{n}") for n in range(7)]
    assert [audit.id for audit in pages(store.audits)] == ids[::-1]
    findings = pages(store.findings)
    assert len(findings) == 35
    assert [found.id for found in findings] == sorted({found.id for found in findings}, reverse=True)
    found_at = [found.created_at for found in findings]
    assert found_at == sorted(found_at, reverse=True)


def test_a_page_that_is_just_full_is_the_last(store: Store, job: JobMaker) -> None:
    for n in range(3):
        store.submit(job(f"org/{n}"))
    assert store.audits(limit=3).next is None
    assert store.audits(limit=2).next is not None


def test_a_row_added_between_two_pages_moves_nothing(store: Store, job: JobMaker) -> None:
    ids = [store.submit(job(f"org/{n}")).id for n in range(4)]
    items, after = store.audits(limit=2)
    store.submit(job("org/late"))
    rest, end = store.audits(limit=2, after=after)
    assert [audit.id for audit in (*items, *rest)] == ids[::-1]
    assert end is None


def test_models_are_asked_for_by_glob(store: Store, job: JobMaker) -> None:
    everything = {"org/a", "org/A", "org/a_b", "org/axb", "org/[x]", "100%"}
    for name in everything:
        store.submit(job(name))
    expected = {
        "hf:org/a": {"org/a"},
        "hf:org/a@3f2a": {"org/a"},
        "hf:org/*": everything - {"100%"},
        "*@3f2a": everything,
        "*/a?b": {"org/a_b", "org/axb"},
        "*a_b": {"org/a_b"},
        "*[x]": {"org/[x]"},
        "*%": {"100%"},
        "mlflow:*": set(),
    }
    for glob, names in expected.items():
        assert {audit.job.model.name for audit in store.audits(model_glob=glob).items} == names


def test_audits_are_asked_for_by_state_and_verdict(store: Store, job: JobMaker) -> None:
    queued, running, passed, failed = (store.submit(job(f"org/{n}")).id for n in range(4))
    store.claim(running, "worker", lease_s=60)
    store.finish(passed, Verdict.PASS, "")
    store.finish(failed, Verdict.FAIL, "")

    def ids(**filters: Any) -> list[str]:
        return [audit.id for audit in store.audits(**filters).items]

    assert ids(state=AuditState.QUEUED) == [queued]
    assert ids(state=AuditState.RUNNING) == [running]
    assert ids(state=AuditState.DONE) == [failed, passed]
    assert ids(verdict=Verdict.FAIL) == [failed]
    assert ids(state=AuditState.QUEUED, verdict=Verdict.FAIL) == []
    assert ids(state=None, verdict=None, model_glob=None) == [failed, passed, running, queued]


def test_findings_are_asked_for_by_everything_that_describes_them(store: Store, fill: Callable[[str], str]) -> None:
    first, second = fill("org/a"), fill("org/b")

    def count(**filters: Any) -> int:
        return len(store.findings(**filters).items)

    assert count() == 10
    assert count(severity=Severity.HIGH) == 4
    assert count(severity=Severity.INFO) == 10
    assert count(audit_id=first) == 5
    assert count(audit_id=second[:23], severity=Severity.CRITICAL) == 1
    assert count(code="svd-diff/high") == 2
    assert count(code="svd-diff/*") == 10
    assert count(code="other/*") == 0
    assert count(analyzer="token-projection") == 2
    assert count(model_glob="hf:org/b", analyzer="svd-diff") == 4
    with pytest.raises(NotFound):
        count(audit_id="ffff")


def test_a_finding_is_listed_once_however_many_audits_show_it(
    store: Store, job: JobMaker, fill: Callable[[str], str], subject: SubjectKey
) -> None:
    first = fill("org/a")
    copy = store.submit(job("org/copy")).id
    for shown in store.runs(first):
        store.adopt(copy, shown.run.subject, shown.run.step)
    assert [(f.audit, f.model.name) for f in store.findings().items] == [(first, "org/a")] * 5
    assert [(f.audit, f.model.name) for f in store.findings(audit_id=copy).items] == [(copy, "org/copy")] * 5
    assert [f.model.name for f in store.findings(model_glob="*copy").items] == ["org/copy"] * 5


def test_directions_are_strongest_first_and_asked_for_by_place(
    store: Store, job: JobMaker, run: RunMaker, directions: DirectionMaker
) -> None:
    audit = store.submit(job())
    other = Site("model.layers.0.self_attn.o_proj.weight", 0, "attn.o", Side.WRITES)
    mixed = (*directions(5), *(replace(d, site=other) for d in directions(5, seed=1)))
    store.save(audit.id, run(directions=mixed))
    strongest = pages(store.directions.list)
    assert [d.strength for d in strongest] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert len({d.ordinal for d in strongest}) == 10
    assert len(store.directions.list(layer=0).items) == 5
    assert len(store.directions.list(role="attn.*").items) == 5
    assert len(store.directions.list(tensor="*down_proj*", audit_id=audit.id).items) == 5
    assert store.directions.list(role="attn.o", layer=3).items == ()
    vectors = store.banks.vectors(strongest[0].bank)
    for direction in strongest:
        assert direction.site == mixed[direction.ordinal].site
        assert (vectors[direction.ordinal] == mixed[direction.ordinal].vector).all()
    with pytest.raises(UsageError, match="next"):
        store.directions.list(after="nonsense")


def test_a_direction_names_the_models_that_have_it(store: Store, job: JobMaker, fill: Callable[[str], str]) -> None:
    first = fill("org/a")
    copy = store.submit(job("org/copy"))
    (run, _) = store.runs(first)
    store.adopt(copy.id, run.run.subject, run.run.step)
    both = (ModelRef("hf", "org/a", "3f2a"), ModelRef("hf", "org/copy", "3f2a"))
    assert {d.models for d in store.directions.list().items} == {both}
    assert {d.models for d in store.directions.list(model_glob="*copy").items} == {both[1:]}
    assert len(store.directions.list(audit_id=copy.id).items) == 3


def test_the_number_of_statements_does_not_grow_with_the_list(
    store: Store, fill: Callable[[str], str], step: StepKey
) -> None:
    asked: dict[str, Callable[[str], Any]] = {
        "audits": lambda _: store.audits(model_glob="hf:*"),
        "runs": store.runs,
        "findings": lambda _: store.findings(severity=Severity.LOW, model_glob="hf:*"),
        "findings of an audit": lambda audit_id: store.findings(audit_id=audit_id),
        "directions": lambda _: store.directions.list(role="mlp.*"),
    }

    def counts(audit_id: str) -> dict[str, int]:
        found = {}
        for name, ask in asked.items():
            with statements() as sent:
                ask(audit_id)
            found[name] = len(sent)
        return found

    few = counts(fill("org/first"))
    many = counts([fill(f"org/{n:0>{n + 1}}") for n in range(6)][-1])
    assert few == many == {"audits": 1, "runs": 6, "findings": 4, "findings of an audit": 4, "directions": 2}
