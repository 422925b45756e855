"""Two audits compared: what was planted between them is told, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry_auditor.domain import Audit, Direction, Finding, Job, ModelRef, Severity
from registry_auditor.errors import NotFound, StoreError
from registry_auditor.report.compare import TURNED, Comparison, compare, pick
from registry_auditor.store import Store
from registry_auditor.store.catalogue import model_id
from tests.api.v1.planted import GONE, LARGE, LATER, OTHER_SITE, RANK_ONE, SITE, TUNED, audited, direction, vector


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db) as opened:
        yield opened


Found = tuple[Finding, ...]
Directions = tuple[Direction, ...]


def compared(
    store: Store, *, before: tuple[Found, Directions] = ((), ()), after: tuple[Found, Directions] = ((), ())
) -> Comparison:
    """Two audits of two revisions that found this, compared."""
    pairs = ((TUNED, before), (LATER, after))
    one, other = (audited(store, model, findings=found[0], directions=found[1]) for model, found in pairs)
    return compare(store, one.id, other.id)


def codes(found: tuple[Any, ...]) -> list[tuple[str, str]]:
    return [(each.finding.code, str(each.finding.site)) for each in found]


def test_findings_come_go_and_stay(store: Store) -> None:
    seen = compared(store, before=((RANK_ONE, GONE), ()), after=((LARGE, RANK_ONE), ()))
    assert codes(seen.new) == [(LARGE.code, str(SITE))]
    assert codes(seen.gone) == [(GONE.code, str(OTHER_SITE))]
    assert codes(seen.unchanged) == [(RANK_ONE.code, str(SITE))]


def test_what_is_unchanged_is_told_as_the_later_audit_has_it(store: Store) -> None:
    graver = replace(RANK_ONE, severity=Severity.HIGH, score=0.999, message="in other words")
    (same,) = compared(store, before=((RANK_ONE,), ()), after=((graver,), ())).unchanged
    assert (same.finding.severity, same.finding.message) == (Severity.HIGH, "in other words")


def test_the_gravest_come_first(store: Store) -> None:
    new = compared(store, after=((GONE, RANK_ONE, LARGE), ())).new
    assert [each.finding.severity for each in new] == [Severity.HIGH, Severity.MEDIUM, Severity.LOW]


def between(cosine: float) -> Direction:
    """A direction of SITE with that cosine to `direction(SITE, 1)`."""
    one, other = vector(1), vector(2)
    other = other - (other @ one) * one
    mixed = cosine * one + (1 - cosine**2) ** 0.5 * other / (other @ other) ** 0.5
    return replace(direction(SITE, 1), vector=mixed.astype("f4"))


@pytest.mark.parametrize("cosine", [0.0, 0.5, -0.5, 0.89])
def test_a_direction_that_turned_is_told_with_its_cosine(store: Store, cosine: float) -> None:
    (turn,) = compared(store, before=((), (direction(SITE, 1),)), after=((), (between(cosine),))).turned
    assert turn.cosine == pytest.approx(abs(cosine), abs=1e-5)
    assert turn.before.site == turn.after.site == SITE


@pytest.mark.parametrize("cosine", [1.0, -1.0, 0.91, -0.95])
def test_one_that_stayed_or_only_changed_its_sign_is_not(store: Store, cosine: float) -> None:
    assert abs(cosine) > TURNED
    assert not compared(store, before=((), (direction(SITE, 1),)), after=((), (between(cosine),))).turned


def test_only_the_strongest_of_a_matrix_counts(store: Store) -> None:
    before = (direction(SITE, 1), direction(SITE, 5, rank=1, strength=1.0))
    after = (direction(SITE, 1, strength=4.0), direction(SITE, 6, rank=1, strength=1.0))
    assert not compared(store, before=((), before), after=((), after)).turned


def test_a_matrix_that_only_one_audit_saw_did_not_turn(store: Store) -> None:
    found = compared(store, before=((), (direction(SITE, 1),)), after=((), (direction(OTHER_SITE, 2),)))
    assert not found.turned


def test_an_audit_compared_with_itself_is_the_same(store: Store) -> None:
    one = audited(store, TUNED, findings=(RANK_ONE,), directions=(direction(SITE, 1),))
    found = compare(store, one.id, one.id)
    assert (found.new, found.gone, found.turned, codes(found.unchanged)) == ((), (), (), [(RANK_ONE.code, str(SITE))])


def test_a_bank_that_is_lost_is_said(store: Store, tmp_path: Path) -> None:
    made = [audited(store, model, directions=(direction(SITE, n),)) for n, model in enumerate((TUNED, LATER))]
    for file in (tmp_path / "banks").rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(StoreError, match="missing"):
        compare(store, made[0].id, made[1].id)


@pytest.fixture
def three(store: Store) -> list[Audit]:
    """Audits of three revisions, the last of them not done."""
    done = [audited(store, model) for model in (TUNED, LATER)]
    return [*done, store.submit(Job(ModelRef("hf", "org/tuned", "5b4c")))]


def test_by_default_the_two_newest_revisions_that_are_done_are_picked(store: Store, three: list[Audit]) -> None:
    model = model_id(TUNED)
    assert pick(store, model, None, None) == (three[0].id, three[1].id)
    assert pick(store, model, None, "3f2a") == (three[1].id, three[0].id)
    assert pick(store, model, "4a", three[0].id[:13]) == (three[1].id, three[0].id)


def test_what_is_not_of_the_model_is_not_picked(store: Store, three: list[Audit]) -> None:
    other = audited(store, ModelRef("hf", "org/other", "1a1a"))
    for model, named in (
        (TUNED, other.id),
        (TUNED, "9999"),
        (other.job.model, None),
        (ModelRef("hf", "no/such"), None),
    ):
        with pytest.raises(NotFound):
            pick(store, model_id(model), named, None)


def test_the_command_tells_it(store: Store, cli: Callable[..., Any]) -> None:
    one = audited(store, TUNED, findings=(RANK_ONE, GONE), directions=(direction(SITE, 1),))
    other = audited(store, LATER, findings=(LARGE, RANK_ONE), directions=(direction(SITE, 3),))
    done = cli("audits", "diff", one.id, other.id)
    assert done.code == 0, done.err
    for told in ("New: 1", "Gone: 1", "Unchanged: 1", "Turned: 1", LARGE.message, "hf:org/tuned@4a3b"):
        assert told in done.out
    shown = cli("audits", "diff", one.id, other.id, "--format", "json").json
    assert [found["code"] for found in shown["new"]] == [LARGE.code]
    assert json.dumps(shown["turned"][0]["site"]["layer"]) == "3"
    same = cli("audits", "diff", one.id, one.id)
    assert "New: none." in same.out
    assert "No direction turned." in same.out
    assert cli("audits", "diff", one.id, "ffff").code == 4
