"""Asking for an audit, and taking one back."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from registry_auditor.api.admission import admitted
from registry_auditor.api.pages.visit import PLAIN, Blank, Here, Text, Visit, to
from registry_auditor.api.standing import without_secrets
from registry_auditor.domain import BaseSource, Job, ModelRef, Scope, Severity
from registry_auditor.errors import UsageError

pages = APIRouter(include_in_schema=False)


class Wish(BaseModel):
    """What the form holds, sent or filled in by the page that leads to it."""

    model: Text = None
    base: Text = None
    fail_on: Annotated[Severity | None, Blank] = None
    analyzers: Annotated[list[Annotated[str, Field(max_length=200, pattern=PLAIN)]], Field(max_length=100)] = []


@pages.get("/audits/new")
def form(visit: Here, wish: Annotated[Wish, Query()]) -> HTMLResponse:
    """The form."""
    visit.must(Scope.SUBMIT)
    return _form(visit, wish, {})


@pages.post("/audits")
def ask(visit: Here, wish: Annotated[Wish, Form()]) -> Response:
    """Afterwards the audit waits for a worker; whoever asked for what cannot be is asked again."""
    author = visit.must(Scope.SUBMIT).author()
    job, problems = _job(visit, wish)
    if problems:
        return _form(visit, wish, problems)
    return to(f"/audits/{visit.store.requests.submit(job, by=author).id}")


@pages.post("/audits/{audit}/cancel")
def cancel(visit: Here, audit: str) -> Response:
    """Afterwards it is done, and says who cancelled it; what its runs have found stays."""
    author = visit.must(Scope.SUBMIT).author()
    return to(f"/audits/{visit.store.requests.cancel(audit, by=author).id}")


def _job(visit: Visit, wish: Wish) -> tuple[Job, dict[str, str]]:
    """What is asked for; it stands only if there is no problem with any field."""
    problems: dict[str, str] = {}

    def named(field: str, given: str) -> ModelRef:
        try:
            return admitted(visit.store, visit.settings, given)
        except UsageError as error:
            problems[field] = str(error)
            return ModelRef("", given)

    if wish.model is None:
        problems["model"] = "name one, such as hf:org/name; an empty base is fine, an empty model is not"
    model = named("model", wish.model or "") if wish.model else ModelRef("", "")
    base = named("base", wish.base) if wish.base else None
    if base == model and not problems:
        problems["base"] = "this is the model itself; name what it was made from, or leave it empty"
    if unknown := set(wish.analyzers) - {each.name for each in visit.store.analyzers.list() if each.version}:
        names = ", ".join(sorted(unknown))
        problems["analyzers"] = f"no installation that audits has {names}; take them off, or install them there"
    source = None if base is None else BaseSource.OPERATOR
    chosen: dict[str, dict[str, object]] = {name: {} for name in wish.analyzers}
    return Job(model, base, source, wish.fail_on or visit.settings.fail_on, wish=chosen or None), problems


def _form(visit: Visit, wish: Wish, problems: dict[str, str]) -> HTMLResponse:
    return visit.page(
        "ask.html",
        "Ask for an audit",
        crumbs=(("/audits", "Audits"),),
        status=HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK,
        wish=wish,
        problems=problems,
        severities=list(Severity),
        fail_on=wish.fail_on or visit.settings.fail_on,
        installed=[each for each in visit.store.analyzers.list() if each.version],
        watched=[without_secrets(spec) for spec in visit.settings.registries],
    )
