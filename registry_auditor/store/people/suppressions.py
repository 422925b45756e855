"""Suppressions: rules that take findings out of verdicts and gates, with a reason and an end."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from sqlalchemy import Select, and_, func, not_, select
from sqlalchemy.orm import Session

from registry_auditor.domain import Author, Suppression
from registry_auditor.errors import UsageError
from registry_auditor.store import newest, read
from registry_auditor.store.cursors import cursor, place
from registry_auditor.store.engine import now
from registry_auditor.store.ids import span, uuid7
from registry_auditor.store.part import PAGE, Part
from registry_auditor.store.people.standing import active, suppression
from registry_auditor.store.people.tables import SuppressionRow
from registry_auditor.store.people.writes import repeated, require_ahead, written
from registry_auditor.store.records import Page
from registry_auditor.store.tables import FindingRow

LONGEST = timedelta(days=180)
"""For which a rule may hold: what is excused for longer is looked at again."""
FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Rule(TypedDict, total=False):
    """Which findings a suppression covers, and for how long."""

    code: str | None
    model: str | None
    fingerprint: str | None
    reason: str
    owner: str | None
    expires_at: datetime


class Suppressions(Part):
    """Rules that take findings out of verdicts and gates."""

    def add(self, *, by: Author, **rule: Unpack[Rule]) -> Suppression:
        """A new rule. Raises UsageError without pattern, reason or expiry, or with one past or over 180 days ahead."""
        return self._write(_add, rule, by=by)

    def list(self, *, limit: int = PAGE, after: str | None = None, active: bool | None = None) -> Page[Suppression]:
        """Suppressions, newest first; only those that hold now, or only the others."""
        return self._read(_suppressions, limit=limit, after=after, holding=active)

    def get(self, id_or_prefix: str) -> Suppression:
        """The suppression whose id begins so. Raises NotFound if there is none, or more than one."""
        return self._read(lambda session: suppression(_row(session, id_or_prefix)))

    def end(self, id_or_prefix: str, *, by: Author) -> Suppression:
        """Afterwards it holds no more; its row stays. Raises NotFound."""
        return self._write(_end, id_or_prefix, by=by)

    def matches(self, id_or_prefix: str) -> int:
        """How many findings it covers, of those that the newest audit of each model shows."""
        return self._read(_matches, id_or_prefix)

    def idle(self, *, added_before: datetime) -> tuple[Suppression, ...]:
        """Those that hold, are older than that, and cover nothing that the newest audit of any model shows."""
        return self._read(_idle, added_before)


def _add(session: Session, rule: Rule, *, by: Author) -> Suppression:
    if before := repeated(session, by, "suppressions.add"):
        return suppression(_row(session, before))
    time = now(session)
    said = _checked(rule, time)
    row = SuppressionRow(id=uuid7(), created_at=time, by=by.name, **said)
    session.add(row)
    written(session, by, "suppressions.add", target=row.id, detail={**said})
    return suppression(row)


def _checked(rule: Rule, time: datetime) -> Rule:
    """`rule` with every field, blank ones None. Raises UsageError."""
    code, model, fingerprint = rule.get("code") or None, rule.get("model") or None, rule.get("fingerprint") or None
    reason, expires_at = (rule.get("reason") or "").strip(), rule.get("expires_at")
    if not any((pattern or "").strip("*?") for pattern in (code, model, fingerprint)):
        raise UsageError("a suppression needs something that it covers: a code, a model or a fingerprint; '*' is all")
    if fingerprint is not None and not FINGERPRINT.fullmatch(fingerprint):
        raise UsageError(f"{fingerprint[:100]!r} is no fingerprint: copy its 64 digits from `findings show`")
    if not reason:
        raise UsageError("a suppression needs a reason: say why these findings should not count")
    if expires_at is None:
        raise UsageError(f"a suppression needs an expiry, at most {LONGEST.days} days ahead")
    require_ahead(expires_at, time)
    if expires_at > time + LONGEST:
        raise UsageError(f"a suppression holds for at most {LONGEST.days} days: name an earlier expiry, renew it then")
    owner = (rule.get("owner") or "").strip() or None
    return Rule(code=code, model=model, fingerprint=fingerprint, reason=reason, owner=owner, expires_at=expires_at)


def _suppressions(session: Session, *, limit: int, after: str | None, holding: bool | None) -> Page[Suppression]:
    statement = select(SuppressionRow).order_by(SuppressionRow.id.desc()).limit(limit + 1)
    if holding is not None:
        holds = and_(*active(session))
        statement = statement.where(holds if holding else not_(holds))
    if after is not None:
        statement = statement.where(SuppressionRow.id < place(after, "suppressions", str)[0])
    found = [suppression(row) for row in session.scalars(statement)]
    return read.page(found, limit, lambda item: cursor("suppressions", item.id))


def _row(session: Session, id_or_prefix: str) -> SuppressionRow:
    begins = SuppressionRow.id.between(*span(id_or_prefix))
    found = session.scalars(select(SuppressionRow).where(begins).limit(2)).all()
    return read.single(found, "suppression", id_or_prefix, command="suppress")


def _end(session: Session, id_or_prefix: str, *, by: Author) -> Suppression:
    if before := repeated(session, by, "suppressions.end"):
        return suppression(_row(session, before))
    row = _row(session, id_or_prefix)
    session.refresh(row, with_for_update=True)
    if suppression(row).is_active(now(session)):
        row.ended_at, row.ended_by = written(session, by, "suppressions.end", target=row.id), by.name
        session.flush()
    return suppression(row)


def _matches(session: Session, id_or_prefix: str) -> int:
    covered = _covered(session, suppression(_row(session, id_or_prefix)))
    return session.scalars(covered.with_only_columns(func.count())).one()


def _idle(session: Session, added_before: datetime) -> tuple[Suppression, ...]:
    old = select(SuppressionRow).where(*active(session), SuppressionRow.created_at < added_before)
    rules = [suppression(row) for row in session.scalars(old.order_by(SuppressionRow.id))]
    # One statement a rule: with all at once, PostgreSQL would compare every pattern with every finding.
    return tuple(rule for rule in rules if session.scalar(_covered(session, rule).limit(1)) is None)


def _covered(session: Session, rule: Suppression) -> Select[str]:
    """The findings that `rule` covers, of those that the newest finished audit of each model shows."""
    found: Select[str] = newest.findings(FindingRow.id).where(newest.covered(session, rule))
    return found
