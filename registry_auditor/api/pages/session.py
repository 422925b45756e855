"""Signing in with an API token, and out."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response

from registry_auditor.api.access import COOKIE, Access
from registry_auditor.api.origins import require_same_origin
from registry_auditor.api.pages.site import render
from registry_auditor.api.pages.visit import to

LONGEST_TOKEN = 200


def router(access: Access) -> APIRouter:
    """`/login` and `/logout`, open to everybody."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def form(request: Request, next: str = "/") -> Response:
        """The form; nobody needs it where everybody may come in."""
        return to(local(next)) if access.open_to_all else _form(request, next)

    @routes.post("/login")
    def sign_in(request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/") -> Response:
        """Afterwards the browser sends the token along, and no script can read it."""
        require_same_origin(request, certain=True)
        secret = token.strip()
        try:
            access.recognise(request, secret if len(secret) <= LONGEST_TOKEN else "")
        except HTTPException as error:
            if error.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            return _form(request, next, problem="This token is unknown, was revoked or has expired.")
        answer = to(local(next))
        answer.set_cookie(
            COOKIE, secret, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
        )
        return answer

    @routes.post("/logout")
    def sign_out(request: Request) -> Response:
        """Afterwards the browser has forgotten the token."""
        require_same_origin(request, certain=True)
        answer = to("/login")
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
        return answer

    return routes


def local(address: str) -> str:
    """`address` if it is a path of ours, else the overview: nobody is sent elsewhere from here.

    A second slash, a backslash or a control character could make a browser read another host into it.
    """
    return address if re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", address) else "/"


def _form(request: Request, next: str, problem: str | None = None) -> Response:
    status = HTTPStatus.OK if problem is None else HTTPStatus.UNAUTHORIZED
    return render(request, "login.html", status=status, title="Sign in", next=local(next), problem=problem)
