"""Where findings stand among people: which triage holds, which suppression covers them, and whether they count.

The latest triage of a fingerprint holds until it expires; a triage before it never comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from sqlalchemy import ColumnElement, Select, String, and_, exists, func, literal_column, or_, select, tuple_
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import SQLCoreOperations

from registry_auditor.domain import Justification, Opinion, Standing, Suppression, Triage, TriageState
from registry_auditor.store.engine import clock
from registry_auditor.store.people.tables import SuppressionRow, TriageRow
from registry_auditor.store.records import StoredFinding
from registry_auditor.store.tables import FindingRow, ModelRow

Later = aliased(TriageRow, name="later")


def with_standings(
    session: Session, found: Sequence[StoredFinding], *, fingerprints: Select[str] | None = None
) -> list[StoredFinding]:
    """`found`, each with where it stands now: two statements, however many they are.

    With thousands of them, say by `fingerprints` where theirs can be read: a statement has so many parameters only.
    """
    if not found:
        return []
    theirs = {each.fingerprint for each in found} if fingerprints is None else fingerprints
    triages = session.scalars(select(TriageRow).where(TriageRow.fingerprint.in_(theirs), *_holding(session)))
    opinions = {row.fingerprint: opinion(row) for row in triages}
    either = or_(SuppressionRow.fingerprint.is_(None), SuppressionRow.fingerprint.in_(theirs))
    rules = session.scalars(select(SuppressionRow).where(*active(session), either).order_by(SuppressionRow.expires_at))
    longest_first = [suppression(row) for row in rules][::-1]
    return [
        replace(each, standing=Standing(opinions.get(each.fingerprint), _first(longest_first, each))) for each in found
    ]


def of_state(session: Session, state: TriageState) -> ColumnElement[bool]:
    """On `findings`: those whose triage state is this one now."""
    if state is TriageState.NOT_SET:
        return ~_said_of_it(session, TriageRow.state != state)
    return FindingRow.fingerprint.in_(select(TriageRow.fingerprint).where(TriageRow.state == state, *_holding(session)))


def counting(session: Session) -> ColumnElement[bool]:
    """On `findings` and `models`: those that count for verdicts and gates, as `Standing.counts` says."""
    dismissed = _said_of_it(session, TriageRow.state.in_([state for state in TriageState if state.dismisses]))
    suppressed = exists().where(*active(session), covering(session)).correlate(FindingRow, ModelRow)
    return and_(~dismissed, ~suppressed)


def dismissed(session: Session) -> Select[str]:
    """The fingerprints of what people have dismissed."""
    dismissing = TriageRow.state.in_([state for state in TriageState if state.dismisses])
    return select(TriageRow.fingerprint).where(dismissing, *_holding(session))


def active(session: Session) -> tuple[ColumnElement[bool], ...]:
    """On `suppressions`: those that hold now."""
    return SuppressionRow.ended_at.is_(None), SuppressionRow.expires_at > clock(session)


def covering(session: Session) -> ColumnElement[bool]:
    """On `suppressions`, `findings` and `models`: those that fit each other, as `covers` says."""
    rule, name = SuppressionRow, ModelRow.within + _constant(":") + ModelRow.name
    exactly = name + _constant("@") + ModelRow.revision
    model = or_(_fits(session, name, rule.model), _fits(session, exactly, rule.model))
    return and_(
        or_(rule.code.is_(None), _fits(session, FindingRow.code, rule.code)),
        or_(rule.model.is_(None), model),
        or_(rule.fingerprint.is_(None), rule.fingerprint == FindingRow.fingerprint),
    )


def covers(rule: Suppression, found: StoredFinding) -> bool:
    """Whether every pattern of `rule` fits; whether the rule holds now is another question."""
    model = f"{found.model.registry}:{found.model.name}"
    names = (model, f"{model}@{found.model.revision or ''}")
    return (
        (rule.code is None or _pattern(rule.code).fullmatch(found.finding.code) is not None)
        and (rule.model is None or any(_pattern(rule.model).fullmatch(name) for name in names))
        and rule.fingerprint in (None, found.fingerprint)
    )


def opinion(row: TriageRow) -> Opinion:
    """The opinion of a row."""
    said = Triage(
        state=TriageState(row.state),
        justification=None if row.justification is None else Justification(row.justification),
        owner=row.owner,
        comment=row.comment,
        expires_at=row.expires_at,
    )
    return Opinion(id=row.id, fingerprint=row.fingerprint, triage=said, at=row.at, by=row.by)


def suppression(row: SuppressionRow) -> Suppression:
    """The suppression of a row."""
    return Suppression(
        id=row.id,
        code=row.code,
        model=row.model,
        fingerprint=row.fingerprint,
        reason=row.reason,
        owner=row.owner,
        created_at=row.created_at,
        by=row.by,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
    )


def _said_of_it(session: Session, what: ColumnElement[bool]) -> ColumnElement[bool]:
    # Of most findings nobody has said anything, and a page looks at few: so they are asked for one by one.
    theirs = TriageRow.fingerprint == FindingRow.fingerprint
    return exists().where(theirs, what, *_holding(session)).correlate(FindingRow)


def _holding(session: Session) -> tuple[ColumnElement[bool], ...]:
    """On `triages`: the latest of each fingerprint, unless it has expired."""
    # By the server's clock, and only then by id: the clocks of those who make ids may differ.
    place, later = tuple_(TriageRow.at, TriageRow.id), tuple_(Later.at, Later.id)
    latest = ~exists().where(Later.fingerprint == TriageRow.fingerprint, later > place).correlate(TriageRow)
    return latest, _ahead(session, TriageRow.expires_at)


def _ahead(session: Session, expires_at: SQLCoreOperations[datetime | None]) -> ColumnElement[bool]:
    return or_(expires_at.is_(None), expires_at > clock(session))


def _first(rules: Iterable[Suppression], found: StoredFinding) -> Suppression | None:
    return next((rule for rule in rules if covers(rule, found)), None)


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    """`*` is any text, `?` any character, upper and lower case apart: as `filters` has it."""
    first, *others = ["".join("." if c == "?" else re.escape(c) for c in part) for part in glob.split("*")]
    if not others:
        return re.compile(first, re.DOTALL)
    # Atomic: the leftmost place for a part is as good as any, and a hostile pattern must not make us try them all.
    between = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return re.compile(f"{first}{between}.*{others[-1]}", re.DOTALL)


def _fits(session: Session, text: SQLCoreOperations[str], glob: SQLCoreOperations[str | None]) -> ColumnElement[bool]:
    """`_pattern` in SQL, for a glob that is in a column."""
    if session.get_bind().dialect.name == "sqlite":
        return text.bool_op("GLOB")(func.replace(glob, _constant("["), _constant("[[]")))
    for special in "\\%_":
        glob = func.replace(glob, _constant(special), _constant(f"\\{special}"))
    return text.like(func.translate(glob, _constant("*?"), _constant("%_")), escape="\\")


def _constant(text: str) -> ColumnElement[str]:
    # A list in five pieces would have a hundred parameters of these, each of which takes its time.
    return literal_column(f"'{text}'", String)
