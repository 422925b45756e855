from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from registry_auditor.domain import (
    Direction,
    Finding,
    Job,
    ModelRef,
    Run,
    RunStatus,
    Severity,
    Site,
    StepKey,
    SubjectKey,
    TokenReadout,
)
from registry_auditor.errors import NotFound, StoreError
from registry_auditor.store import Store
from registry_auditor.store.engine import connect, parse
from registry_auditor.store.rows import fingerprint
from registry_auditor.store.tables import FindingRow, RunRow

RunMaker = Callable[..., Run]
JobMaker = Callable[..., Job]
DirectionMaker = Callable[..., tuple[Direction, ...]]


def rows_of(url: str, statement: Any) -> list[Any]:
    engine = connect(parse(url))
    with engine.connect() as connection:
        found = list(connection.execute(statement))
    engine.dispose()
    return found


def test_a_run_comes_back_as_it_was_saved(
    store: Store, job: JobMaker, run: RunMaker, finding: Finding, directions: DirectionMaker
) -> None:
    audit = store.submit(job())
    saved = run(findings=(finding, replace(finding, site=None, score=None, taxonomies=())), directions=directions())
    store.save(audit.id, saved)
    (stored,) = store.runs(audit.id)
    assert stored.run == replace(saved, directions=())
    (bank,) = stored.banks
    assert (bank.analyzer, bank.directions, bank.dimension, bank.basis) == ("svd-diff", 3, 8, "base-digest")
    assert np.array_equal(store.banks.vectors(bank.sha256), np.stack([d.vector for d in saved.directions]))


def test_a_finished_step_is_known_by_every_part_of_its_key(
    store: Store, job: JobMaker, run: RunMaker, subject: SubjectKey, step: StepKey
) -> None:
    store.save(store.submit(job()).id, run())
    assert store.finished(subject, [step]) == {step}
    others = [
        (replace(subject, model="other"), step),
        (replace(subject, base="other"), step),
        (replace(subject, base=None), step),
        (subject, replace(step, analyzer="other")),
        (subject, replace(step, version=2)),
        (subject, replace(step, params="other")),
    ]
    assert not any(store.finished(other, [key]) for other, key in others)


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.TIMED_OUT])
def test_a_step_that_did_not_end_well_is_not_finished(
    store: Store, job: JobMaker, run: RunMaker, subject: SubjectKey, step: StepKey, status: RunStatus
) -> None:
    store.save(store.submit(job()).id, run(status=status, reason="the GPU caught fire"))
    assert not store.finished(subject, [step])


@pytest.mark.parametrize("base", ["base-digest", None])
def test_a_result_is_kept_once_with_or_without_a_base(
    store: Store, url: str, job: JobMaker, run: RunMaker, base: str | None
) -> None:
    first, second = store.submit(job()), store.submit(job("org/copy"))
    once = run(subject=SubjectKey("tuned-digest", base))
    store.save(first.id, once)
    store.save(second.id, replace(once, seconds=99.0))
    assert store.runs(first.id) == store.runs(second.id)
    assert store.runs(first.id)[0].run.seconds == 1.5
    assert len(rows_of(url, sa.select(RunRow.id))) == 1


def test_a_failed_run_stays_with_its_audit_when_another_succeeds(store: Store, job: JobMaker, run: RunMaker) -> None:
    first = store.submit(job())
    store.save(first.id, run(status=RunStatus.FAILED, reason="out of memory"))
    second = store.submit(job("org/copy"))
    store.save(second.id, run())
    assert [stored.run.status for stored in store.runs(first.id)] == [RunStatus.FAILED]
    assert [stored.run.status for stored in store.runs(second.id)] == [RunStatus.OK]


def test_an_audit_shows_the_latest_attempt_at_a_step_and_never_a_worse_one(
    store: Store, url: str, job: JobMaker, run: RunMaker, finding: Finding
) -> None:
    audit = store.submit(job())
    store.save(audit.id, run(status=RunStatus.TIMED_OUT, reason="10 minutes", findings=(finding,)))
    store.save(audit.id, run(findings=(finding,)))
    store.save(audit.id, run(status=RunStatus.FAILED, reason="too late"))
    assert [stored.run.status for stored in store.runs(audit.id)] == [RunStatus.OK]
    assert len(store.findings(audit_id=audit.id).items) == 1
    assert len(rows_of(url, sa.select(RunRow.id))) == 3
    assert len(rows_of(url, sa.select(FindingRow.id))) == 2


def test_runs_stand_in_the_order_of_the_plan(store: Store, job: JobMaker, run: RunMaker, step: StepKey) -> None:
    audit = store.submit(job())
    unplanned = replace(step, analyzer="zeta")
    for each in (unplanned, *reversed(audit.job.plan)):
        store.save(audit.id, run(step=each))
    assert [stored.run.step for stored in store.runs(audit.id)] == [*audit.job.plan, unplanned]


def test_a_second_audit_adopts_what_is_finished(
    store: Store, job: JobMaker, run: RunMaker, finding: Finding, subject: SubjectKey, step: StepKey
) -> None:
    first, second = store.submit(job()), store.submit(job("org/copy"))
    store.save(first.id, run(findings=(finding,)))
    for _ in range(2):
        store.adopt(second.id, subject, step)
    assert [(each.id, each.run) for each in store.runs(second.id)] == [(e.id, e.run) for e in store.runs(first.id)]
    (found,) = store.findings(audit_id=second.id).items
    assert (found.audit, found.model.name) == (second.id, "org/copy")


def test_what_is_not_finished_cannot_be_adopted(
    store: Store, job: JobMaker, subject: SubjectKey, step: StepKey
) -> None:
    with pytest.raises(StoreError, match="svd-diff has not been run on tuned-digest"):
        store.adopt(store.submit(job()).id, subject, step)


def test_a_run_of_an_unknown_audit_is_refused(store: Store, run: RunMaker) -> None:
    with pytest.raises(NotFound):
        store.save("nonsense", run())


SAVE = """
import numpy as np
from registry_auditor.domain import *
from registry_auditor.store import Store
url, banks, audit_id, worker = sys.argv[1:]
vectors = np.eye(300, dtype=np.float32)
site = Site("w", 0, "mlp.down", Side.WRITES)
run = Run(
    StepKey("svd-diff", 1, "p"), SubjectKey("tuned", None), {}, RunStatus.OK, None, 1.0, worker, None, Coverage(1),
    tuple(Finding(f"svd-diff/{n}", Severity.LOW, "") for n in range(50)),
    tuple(Direction(site, n, 300.0 - n, 0.0, vectors[n]) for n in range(300)),
)
with Store.open(url, banks=banks) as store:
    store.audits()
    pause()
    store.save(audit_id, run)
    print(store.runs(audit_id)[0].run.device)
"""


def test_processes_that_save_the_same_result_keep_one(
    store: Store, url: str, banks: str, job: JobMaker, at_once: Callable[..., list[str]]
) -> None:
    audit = store.submit(job())
    outputs = at_once(SAVE, url, banks, audit.id)
    assert len(set(outputs)) == 1
    (stored,) = store.runs(audit.id)
    assert len(stored.run.findings) == 50
    assert [bank.directions for bank in stored.banks] == [300]
    assert len(rows_of(url, sa.select(FindingRow.id))) == 50


def test_a_run_is_kept_whole_or_not_at_all(
    store: Store, url: str, job: JobMaker, run: RunMaker, finding: Finding, subject: SubjectKey, step: StepKey
) -> None:
    audit = store.submit(job())
    broken = replace(finding, evidence={"what": object()})
    with pytest.raises(TypeError, match="object cannot be kept"):
        store.save(audit.id, run(findings=(finding, broken)))
    assert not store.finished(subject, [step])
    assert store.runs(audit.id) == []
    assert rows_of(url, sa.select(FindingRow.id)) == []


def test_the_database_refuses_to_forget_a_run(
    store: Store, url: str, job: JobMaker, run: RunMaker, finding: Finding
) -> None:
    audit = store.submit(job())
    store.save(audit.id, run(findings=(finding,)))
    for table in ("audits", "runs", "models"):
        engine = connect(parse(url))
        with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM {table}"))
        engine.dispose()
    assert len(store.findings().items) == 1


def test_hostile_names_and_numbers_are_kept_readable(store: Store, job: JobMaker, run: RunMaker) -> None:
    audit = store.submit(job())
    hostile = Finding(
        code="svd-diff/x",
        severity=Severity.LOW,
        message="NUL \0, half a \ud83d, '; DROP TABLE runs; --",
        score=float("nan"),
        site=Site("w\0", 0),
        evidence={"a\0": [float("inf"), "\ud83d"], "numpy": np.float32(0.5), "array": np.arange(2)},
    )
    store.save(audit.id, run(findings=(hostile,)))
    (kept,) = store.runs(audit.id)[0].run.findings
    assert kept.message == "NUL ␀, half a �, '; DROP TABLE runs; --"
    assert kept.score is None
    assert kept.site == Site("w␀", 0)
    assert kept.evidence == {"a␀": ["inf", "�"], "numpy": 0.5, "array": [0, 1]}


def test_analyzers_with_the_same_directions_share_a_bank_and_fill_in_the_tokens(
    store: Store, job: JobMaker, run: RunMaker, step: StepKey, directions: DirectionMaker
) -> None:
    audit = store.submit(job())
    readout = TokenReadout(top=((" bomb", 9.5), ("\0", 8.0)), bottom=(("the", -3.0),), p_value=0.001)
    plain = directions()
    read = (replace(plain[0], tokens=readout), *plain[1:])
    store.save(audit.id, run(directions=plain))
    assert [d.tokens for d in store.directions.list().items] == [None] * 3
    store.save(audit.id, run(step=replace(step, analyzer="token-projection"), directions=read))
    first, second = store.runs(audit.id)
    assert first.banks[0].sha256 == second.banks[0].sha256
    assert [bank.analyzer for stored in (first, second) for bank in stored.banks] == ["svd-diff", "token-projection"]
    shown = store.directions.list().items
    assert len(shown) == 3
    assert shown[0].tokens == replace(readout, top=((" bomb", 9.5), ("␀", 8.0)))

    later = (replace(plain[0], tokens=replace(readout, p_value=1.0)), *plain[1:])
    store.save(audit.id, run(step=replace(step, analyzer="other"), directions=later))
    assert store.directions.list().items[0].tokens == shown[0].tokens


def test_directions_of_different_dimensions_go_to_different_banks(
    store: Store, job: JobMaker, run: RunMaker, directions: DirectionMaker
) -> None:
    audit = store.submit(job())
    store.save(audit.id, run(directions=(*directions(2, dimension=16), *directions(3), *directions(1, dimension=16))))
    (stored,) = store.runs(audit.id)
    assert [(bank.dimension, bank.directions) for bank in stored.banks] == [(16, 3), (8, 3)]
    assert [store.banks.vectors(bank.sha256).shape for bank in stored.banks] == [(3, 16), (3, 8)]


@pytest.mark.parametrize(
    ("base_ref", "base_digest", "basis"),
    [
        (ModelRef("hf", "org/base", "1b2c"), "digest", "digest"),
        (ModelRef("hf", "org/base", "1b2c"), None, "hf:org/base@1b2c"),
        (None, None, ""),
    ],
)
def test_a_bank_names_the_base_as_well_as_it_is_known(
    store: Store,
    job: JobMaker,
    run: RunMaker,
    directions: DirectionMaker,
    base_ref: ModelRef | None,
    base_digest: str | None,
    basis: str,
) -> None:
    audit = store.submit(job(base=base_ref))
    store.save(audit.id, run(subject=SubjectKey("tuned-digest", base_digest), directions=directions()))
    assert store.runs(audit.id)[0].banks[0].basis == basis


def test_a_fingerprint_outlives_words_numbers_and_revisions(finding: Finding) -> None:
    model = ModelRef("hf", "org/tuned", "1")
    reworded = replace(finding, message="", score=0.1, severity=Severity.INFO, evidence={"key": "rank-one"})
    assert fingerprint(finding, model) == fingerprint(reworded, replace(model, revision="2"))
    others = [
        (replace(finding, code="svd-diff/other"), model),
        (replace(finding, site=None), model),
        (replace(finding, evidence={"key": "other"}), model),
        (finding, replace(model, name="org/other")),
    ]
    assert fingerprint(finding, model) not in {fingerprint(*other) for other in others}
