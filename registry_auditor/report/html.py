"""A report as one HTML file: styles and pictures in it, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from registry_auditor.report.document import Report
from registry_auditor.report.rendering import environment
from registry_auditor.report.view import view
from registry_auditor.store import StoredDirection
from registry_auditor.store.directions import Strength


def html(document: Report) -> str:
    """The report; text that comes from a model is escaped, and what is invisible in it is spelled out."""
    text = style()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    page = _environment().get_template("report.html")
    shown = view(document, map(_strength, document.considered))
    return page.render(view=shown, style=Markup(text), style_hash=Markup(digest), linked=False) + "\n"


def _strength(direction: StoredDirection) -> Strength:
    site = direction.site
    return Strength(site.tensor, site.layer, site.role, direction.rank, direction.strength)


@cache
def style() -> str:
    """The stylesheet that pages and reports share."""
    return (files("registry_auditor.report") / "templates" / "style.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return environment()
