"""What a gate accepts: a policy from a TOML file, and its judgement of a report."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from registry_auditor.domain import BaseSource, Severity
from registry_auditor.errors import UsageError
from registry_auditor.report.duration import duration

MAX_BYTES = 2**16
"""Of a policy file: what is longer is no policy."""


@dataclass(frozen=True)
class Required:
    """An analyzer that must have finished."""

    name: str
    version: int = 1
    """At least this one."""


def _required(given: Any) -> Any:
    """`svd-diff`, or with the lowest version that will do, `svd-diff>=2`."""
    if isinstance(given, Required):
        return given
    match = (
        re.fullmatch(r"([a-z0-9]+(?:-[a-z0-9]+)*)(?:\s*>=\s*([1-9]\d{0,8}))?", given)
        if isinstance(given, str)
        else None
    )
    if match is None:
        raise ValueError("write the name of an analyzer, or 'svd-diff>=2' for version 2 or later")
    return Required(match[1], int(match[2] or 1))


def _span(given: Any) -> Any:
    if not isinstance(given, str):
        raise ValueError("write a span of time, such as '30d'")
    try:
        return duration(given)
    except UsageError as error:
        raise ValueError(str(error)) from None


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CoveragePolicy(_Table):
    """How much may have stayed unseen; with one of these, gaps are no longer a matter of `accept_incomplete`."""

    max_gaps: int | None = Field(
        default=None, ge=0, description="At most so many tensors and files that nobody looked at."
    )
    min_seen_share: float | None = Field(
        default=None, ge=0, le=1, description="At least this share of the tensors seen, 0..1."
    )


class BasePolicy(_Table):
    """Against what the model must have been examined."""

    required: bool = Field(default=False, description="Whether an audit without a base is refused.")
    sources: tuple[BaseSource, ...] | None = Field(
        default=None,
        description="Whose word for the base is taken: card, adapter, config, operator, measured; all if absent.",
    )


class Policy(_Table):
    """What a gate accepts."""

    max_severity: Severity = Field(default=Severity.MEDIUM, description="The worst finding that is accepted.")
    required: tuple[Annotated[Required, BeforeValidator(_required)], ...] = Field(
        default=(),
        description="Analyzers that must have finished: `svd-diff`, or `svd-diff>=2` for that version or a later one.",
    )
    calibrated_only: bool = Field(
        default=False, description="Whether findings whose false-positive rate nobody has measured do not block."
    )
    max_age: Annotated[timedelta, BeforeValidator(_span)] | None = Field(
        default=None, description="How old the audit may be: `30d`, `12h`; any age if absent."
    )
    accept_incomplete: bool = Field(
        default=False,
        description="Whether analyzers that did not finish, and gaps, are accepted where nothing else is said.",
    )
    honour_triage: bool = Field(default=True, description="Whether findings that people have dismissed do not block.")
    honour_suppressions: bool = Field(
        default=True, description="Whether findings that a suppression covers do not block."
    )
    coverage: CoveragePolicy = Field(default_factory=CoveragePolicy)
    base: BasePolicy = Field(default_factory=BasePolicy)


@dataclass(frozen=True)
class PolicyFile:
    """A policy with the name and the digest of the file that it was read from."""

    policy: Policy
    name: str
    sha256: str


def parse(text: str, *, name: str = "policy") -> Policy:
    """The policy that a TOML text describes; an empty one is the default.

    Raises UsageError, with the nearest known key, for an unknown one, a value that does not fit, or no TOML.
    """
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: is no TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{name}: " + "; ".join(_problem(dict(each)) for each in error.errors())) from None


def load(path: Path) -> PolicyFile:
    """The policy in a file. Raises UsageError if it cannot be read; see `parse`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a policy file with --policy") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no text in UTF-8; name a policy file with --policy") from None
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path}: is larger than {MAX_BYTES} bytes, which no policy is")
    return PolicyFile(parse(text, name=str(path)), path.name, hashlib.sha256(content).hexdigest())


_TABLES: dict[str, type[_Table]] = {"coverage": CoveragePolicy, "base": BasePolicy}


def _problem(error: dict[str, Any]) -> str:
    place = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(place)}: {error['msg'].removeprefix('Value error, ')}"
    table = _TABLES.get(place[0], Policy) if len(place) > 1 else Policy
    known = list(table.model_fields)
    near = get_close_matches(place[-1], known, n=1)
    return f"unknown key {'.'.join(place)!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    )
