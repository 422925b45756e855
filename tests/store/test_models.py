"""Models are listed with how they stand, their revisions, and who was made from whom."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry_auditor.domain import (
    Author,
    BaseSource,
    Finding,
    Job,
    ModelRef,
    Run,
    Severity,
    SubjectKey,
    Triage,
    TriageState,
    Verdict,
)
from registry_auditor.errors import NotFound, UsageError
from registry_auditor.store import Store
from registry_auditor.store.catalogue import entry_of, model_id

JobMaker = Callable[..., Job]
RunMaker = Callable[..., Run]
Audited = Callable[..., str]


def names(store: Store, **query: Any) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = store.models.list(limit=2, after=after, **query)
        found += [each.ref.name for each in page.items]
        if page.next is None:
            return found
        after = page.next


@pytest.fixture
def audited(store: Store, job: JobMaker, run: RunMaker, finding: Finding) -> Audited:
    """A function that audits a revision of a model: one finding of each of these severities, and this verdict."""

    def audit(name: str, *severities: Severity, revision: str = "3f2a", verdict: Verdict | None = Verdict.PASS) -> str:
        ref = ModelRef("hf", name, revision)
        store.sightings.record(ref, base=ModelRef("hf", "org/base", "1b2c"), source=BaseSource.CARD)
        submitted = store.submit(job(model=ref))
        subject = SubjectKey(f"digest of {ref}", "base-digest")
        store.set_subject(submitted.id, subject)
        found = tuple(replace(finding, severity=severity, evidence={"key": str(severity)}) for severity in severities)
        store.save(submitted.id, run(subject=subject, findings=found))
        if verdict is not None:
            store.finish(submitted.id, verdict, "")
        return submitted.id

    return audit


@pytest.mark.parametrize("name", ["org/tuned", "a@b:c", "模型/ß", "100%_?*", " "])
def test_the_id_of_a_model_fits_an_address_and_means_the_model(name: str) -> None:
    number = model_id(ModelRef("hf", name, "3f2a"))
    assert number.isascii()
    assert not set(number) & set("/+=?#%:")
    assert entry_of(number) == ModelRef("hf", name)


@pytest.mark.parametrize("nonsense", ["", "nonsense!", "aGY", "\ud800", "a" * 5000, model_id(ModelRef("hf", "none"))])
def test_what_is_no_model_is_not_found(store: Store, nonsense: str) -> None:
    for ask in (store.models.get, store.models.revisions, store.models.lineage):
        with pytest.raises(NotFound, match="models list"):
            ask(nonsense)


def test_models_are_listed_by_name_once_whatever_their_revisions(store: Store, audited: Audited) -> None:
    for name in ("org/b", "org/a", "other/a"):
        audited(name)
    audited("org/a", revision="9999")
    assert names(store) == ["org/a", "org/b", "org/base", "other/a"]
    assert names(store, model_glob="hf:org/?") == ["org/a", "org/b"]
    assert names(store, model_glob="*@9999") == ["org/a"]
    assert store.models.list(model_glob="*@9999").items[0].revisions == 2


def test_a_model_stands_as_its_newest_audit_does(store: Store, audited: Audited, job: JobMaker) -> None:
    audited("org/a", Severity.CRITICAL, verdict=Verdict.FAIL)
    latest = audited("org/a", Severity.LOW, Severity.HIGH, Severity.LOW, revision="9999", verdict=Verdict.INCOMPLETE)
    found = store.models.get(model_id(ModelRef("hf", "org/a")))
    assert found == store.models.list(model_glob="hf:org/a").items[0]
    assert found.audit == store.audit(latest)
    assert found.counts == {Severity.HIGH: 1, Severity.LOW: 2}
    assert found.worst is Severity.HIGH
    assert found.last_seen_at is not None
    assert names(store, verdict=Verdict.INCOMPLETE) == ["org/a"]
    assert names(store, verdict=Verdict.FAIL) == []
    audited("org/a", Severity.CRITICAL, revision="a new one", verdict=None)
    again = store.models.get(found.id)
    assert (again.audit, again.counts) == (found.audit, found.counts)  # until the new one is finished
    assert (names(store, verdict=Verdict.INCOMPLETE), again.revisions) == (["org/a"], 3)
    base = store.models.get(model_id(ModelRef("hf", "org/base")))
    assert (base.audit, base.counts, base.worst, base.last_seen_at) == (None, {}, None, None)


def test_revisions_are_those_last_seen_first_with_what_was_said(store: Store, audited: Audited) -> None:
    audits = [audited("org/a", Severity.LOW, revision=revision) for revision in ("1", "2", "3")]
    store.sightings.record(ModelRef("hf", "org/a", "4"), skipped="holds no weights", registry="hf:org")
    store.sightings.record(
        ModelRef("hf", "org/a", "1"), base=ModelRef("hf", "org/base", "1b2c"), source=BaseSource.CARD
    )
    page = store.models.revisions(model_id(ModelRef("hf", "org/a")), limit=2)
    rest = store.models.revisions(model_id(ModelRef("hf", "org/a")), after=page.next)
    found = [*page.items, *rest.items]
    assert [each.ref.revision for each in found] == ["1", "4", "3", "2"]
    assert rest.next is None
    first, skipped, *_ = found
    assert (first.audit, first.counts) == (store.audit(audits[0]), {Severity.LOW: 1})
    assert (first.base, first.base_source) == (ModelRef("hf", "org/base", "1b2c"), BaseSource.CARD)
    assert first.digest == "digest of hf:org/a@1"
    assert first.first_seen_at < first.last_seen_at  # type: ignore[operator]
    assert (skipped.audit, skipped.skipped, skipped.base) == (None, "holds no weights", None)
    with pytest.raises(UsageError, match="next"):
        store.models.revisions(model_id(ModelRef("hf", "org/a")), after=store.models.list(limit=1).next)


def test_lineage_tells_ancestors_and_descendants_and_no_siblings(store: Store) -> None:
    made = {"base": "root", "tuned": "base", "merged": "tuned", "sibling": "base", "stranger": "other"}
    for name, base in made.items():
        store.sightings.record(ModelRef("hf", name, "1"), base=ModelRef("hf", base, "1"), source=BaseSource.CARD)
        store.sightings.record(ModelRef("hf", name, "2"), base=ModelRef("hf", base, "1"), source=BaseSource.CARD)

    def edges(model: str | None) -> list[tuple[str, str]]:
        chosen = model and model_id(ModelRef("hf", model))
        return [(each.model.name, each.base.name) for each in store.models.lineage(chosen)]

    assert edges(None) == sorted(made.items())
    assert edges("tuned") == [("tuned", "base"), ("merged", "tuned"), ("base", "root")]
    assert edges("root")[:1] == [("base", "root")]
    assert set(edges("root")) == set(made.items()) - {("stranger", "other")}
    assert len(store.models.lineage(limit=2)) == 2
    assert len(store.models.lineage(model_id(ModelRef("hf", "root")), limit=2)) == 2


def test_lineage_of_models_that_claim_each_other_ends(store: Store) -> None:
    for name, base in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "a")):
        store.sightings.record(ModelRef("hf", name, "1"), base=ModelRef("hf", base, "1"), source=BaseSource.CARD)
    found = store.models.lineage(model_id(ModelRef("hf", "a")))
    assert {(each.model.name, each.base.name) for each in found} == {("a", "b"), ("b", "c"), ("c", "a")}


def test_lineage_shows_what_only_an_audit_knows_and_how_it_ended(store: Store, job: JobMaker) -> None:
    audit = store.submit(job("org/tuned", base_source=BaseSource.OPERATOR))
    (edge,) = store.models.lineage()
    assert (edge.model, edge.base) == (ModelRef("hf", "org/tuned"), ModelRef("hf", "org/base"))
    assert (edge.source, edge.verdict) == (BaseSource.OPERATOR, None)
    store.finish(audit.id, Verdict.FAIL, "")
    assert store.models.lineage()[0].verdict is Verdict.FAIL


def test_the_overview_counts_newest_finished_audits_and_findings_that_count(
    store: Store, audited: Audited, job: JobMaker
) -> None:
    audited("org/a", Severity.CRITICAL, verdict=Verdict.FAIL)
    newest = audited("org/a", Severity.HIGH, Severity.LOW, revision="9999")
    audited("org/b", Severity.HIGH, Severity.INFO, verdict=Verdict.FAIL)
    audited("org/b", Severity.CRITICAL, revision="9999", verdict=None)
    assert store.models.verdicts() == {
        Verdict.PASS: 1, Verdict.FAIL: 1, Verdict.INCOMPLETE: 0, Verdict.ERROR: 0
    }  # fmt: skip
    counted = dict.fromkeys(Severity, 0) | {Severity.HIGH: 2, Severity.LOW: 1, Severity.INFO: 1}
    assert store.models.severities() == counted
    high = next(f for f in store.findings(audit_id=newest).items if f.finding.severity is Severity.HIGH)
    me = Author("cli:me")
    store.triage.set(high.id, Triage(TriageState.FALSE_POSITIVE, comment="benign"), by=me)
    expires = datetime.now(UTC) + timedelta(days=1)
    store.suppressions.add(model="hf:org/b", code="svd-diff/*", reason="known", expires_at=expires, by=me)
    assert store.models.severities() == dict.fromkeys(Severity, 0) | {Severity.LOW: 1}


def test_the_number_of_statements_does_not_grow_with_the_models(
    store: Store, audited: Audited, counted: Callable[..., list[str]]
) -> None:
    def asked() -> dict[str, int]:
        model = model_id(ModelRef("hf", "org/a"))
        asks: dict[str, Callable[[], object]] = {
            "list": lambda: store.models.list(model_glob="hf:*", verdict=Verdict.PASS),
            "get": lambda: store.models.get(model),
            "revisions": lambda: store.models.revisions(model),
            "all lineage": store.models.lineage,
            "lineage of one": lambda: store.models.lineage(model),
            "verdicts": store.models.verdicts,
            "severities": store.models.severities,
        }
        return {name: len(counted(store, ask)) for name, ask in asks.items()}

    expected = {
        "list": 4, "get": 4, "revisions": 5, "all lineage": 3, "lineage of one": 5, "verdicts": 1, "severities": 3
    }  # fmt: skip
    audited("org/a", Severity.LOW)
    assert asked() == expected
    for number in range(6):
        audited(f"org/{number}", *Severity)
        audited("org/a", *Severity, revision=str(number))
    assert asked() == expected
