"""Suppressions: rules that take findings out of verdicts, with a reason and an end."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from registry_auditor.api.pages.visit import PLAIN, Fields, Here, Text, Visit, to
from registry_auditor.domain import Scope
from registry_auditor.errors import UsageError
from registry_auditor.store.people.suppressions import Rule

pages = APIRouter(include_in_schema=False)
LONGEST = 1000


@pages.get("/suppressions")
def suppressions(visit: Here, after: Text = None, ended: bool = False) -> HTMLResponse:
    """Those that hold, or those that do no more."""
    return _page(visit, after=after, ended=ended)


@pages.post("/suppressions")
def add(
    visit: Here,
    until: Annotated[date, Form()],
    reason: Annotated[str, Form(max_length=LONGEST, pattern=PLAIN)],
    code: Annotated[Text, Form()] = None,
    model: Annotated[Text, Form()] = None,
    fingerprint: Annotated[Text, Form()] = None,
) -> Response:
    """Afterwards the rule holds; whoever gave too little is asked again."""
    author = visit.must(Scope.TRIAGE).author()
    rule = Rule(
        code=code, model=model, fingerprint=fingerprint, reason=reason, owner=None,
        expires_at=datetime.combine(until, time(), UTC),
    )  # fmt: skip
    try:
        visit.store.suppressions.add(by=author, **rule)
    except UsageError as error:
        return _page(visit, rule=rule, problem=str(error))
    return to("/suppressions")


@pages.post("/suppressions/{suppression}/end")
def end(visit: Here, suppression: str) -> Response:
    """Afterwards it holds no more."""
    visit.store.suppressions.end(suppression, by=visit.must(Scope.TRIAGE).author())
    return to("/suppressions")


def _page(
    visit: Visit, *, after: str | None = None, ended: bool = False, rule: Rule | None = None, problem: str | None = None
) -> HTMLResponse:
    today = datetime.now(UTC).date()
    return visit.page(
        "suppressions.html",
        "Suppressions",
        status=HTTPStatus.OK if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        found=visit.store.suppressions.list(after=after, active=not ended),
        ended=ended,
        rule=Fields(rule or {}),
        problem=problem,
        earliest=today + timedelta(days=1),
        latest=today + timedelta(days=180),
    )
