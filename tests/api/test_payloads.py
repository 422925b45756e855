"""Whatever stands in a body, a target that comes out of it is one."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry_auditor.api.payloads import READERS, Hint, Malformed, read
from registry_auditor.domain import ModelRef
from tests.api.senders import SHA, about, push, registered

SHAPE = re.compile(r"hf:[\w.-]+/[\w.-]+(@[\w./-]+)?|mlflow:[^/:]+|dir:/.*", re.ASCII)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
NAMES = st.text(max_size=30) | st.from_regex(r"[\w.-]{1,8}/[\w.-]{1,8}\n?", fullmatch=True)
REVISIONS = st.sampled_from([SHA, SHA[:39], SHA.upper(), f"{SHA}\n", ""]) | st.text(max_size=41)


def hints(source: str, body: Any) -> list[Hint]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
    try:
        return read(source, raw, "delivery")
    except Malformed:
        return []


def holds(found: list[Hint]) -> None:
    for hint in found:
        assert hint.key
        assert hint.key.isprintable()
        assert hint.target is None or (hint.target.isprintable() and SHAPE.fullmatch(hint.target))


@given(source=st.sampled_from(sorted(READERS)), body=st.binary() | VALUES)
@settings(max_examples=200)
def test_any_body_is_understood_or_malformed(source: str, body: Any) -> None:
    holds(hints(source, body))


@given(name=NAMES, sha=REVISIONS, identity=VALUES)
def test_a_push_leads_to_a_commit_of_that_repository_or_nowhere(name: str, sha: str, identity: Any) -> None:
    body = push(name, sha)
    body["repo"]["id"] = identity
    found = hints("hf", body)
    holds(found)
    assert all(hint.target == f"hf:{name}@{sha}" and re.fullmatch("[0-9a-f]{40}", sha) for hint in found)


@given(name=NAMES, version=st.text(max_size=5) | st.integers(0, 10**6).map(str))
def test_a_version_of_mlflow_can_be_told_from_its_name(name: str, version: str) -> None:
    found = hints("mlflow", registered(name, version))
    holds(found)
    for hint in found:
        assert hint.target is not None
        assert ModelRef.parse(hint.target) == ModelRef("mlflow", name, version)


@given(model=NAMES.flatmap(lambda name: st.sampled_from([name, f"hf:{name}", f"mlflow:{name}", f"dir:/{name}"])))
def test_a_named_model_is_taken_as_it_is_or_not_at_all(model: str) -> None:
    found = hints("standard", about(model))
    holds(found)
    assert all(hint.target in (model, None) for hint in found)
