"""How an analyzer is declared: one decorated generator function, whose keyword arguments are its configuration."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from registry_auditor.analysis.subject import Need, Subject
from registry_auditor.domain import Coverage, Direction, Finding, StepKey, digest_of
from registry_auditor.errors import UsageError

Observation = Finding | Direction | Coverage
Examine = Callable[..., Iterator[Observation]]
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Analyzer:
    """A pure function from weights to findings and directions, with the name and version that its runs carry."""

    name: str
    version: int
    needs: frozenset[Need]
    examine: Examine

    def __call__(self, subject: Subject, **params: Any) -> Iterator[Observation]:
        """Examine `subject`, as the plain function would."""
        return self.examine(subject, **params)

    @property
    def is_loaded(self) -> bool:
        """Whether its code could be loaded; if not, its runs fail with the reason."""
        return self.version > 0

    @property
    def manual(self) -> str:
        """The manual page: what it reports, why, how, what it cannot see, calibration and source."""
        return inspect.cleandoc(self.examine.__doc__ or inspect.getdoc(inspect.getmodule(self.examine)) or "")

    @property
    def summary(self) -> str:
        """The first sentence of the manual page."""
        return self.manual.partition("\n\n")[0].replace("\n", " ")

    @cached_property
    def parameters(self) -> type[BaseModel]:
        """The keyword arguments as a pydantic model, so that types, defaults and unknown keys are checked once."""
        hints = get_type_hints(self.examine, include_extras=True)
        fields: dict[str, Any] = {
            parameter.name: (hints[parameter.name], parameter.default)
            for parameter in inspect.signature(self.examine).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
        return create_model(self.name, __config__=config, **fields)

    @property
    def schema(self) -> dict[str, Any]:
        """The configuration as JSON Schema."""
        return self.parameters.model_json_schema()

    def step(self, given: Mapping[str, Any] | None = None) -> Step:
        """This analyzer with `given` parameters and the defaults of the others.

        Raises:
            UsageError: for an unknown parameter, or a value of the wrong type; it names the key and what fits.
        """
        try:
            params = self.parameters.model_validate(dict(given or {})).model_dump(mode="json")
        except ValidationError as error:
            problems = "; ".join(self._problem(each) for each in error.errors())
            raise UsageError(f"[analyzers.{self.name}] {problems}") from None
        return Step(self, params)

    def _problem(self, error: Mapping[str, Any]) -> str:
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] != "extra_forbidden":
            return f"{key}: {error['msg']}"
        known = list(self.parameters.model_fields)
        near = get_close_matches(key, known, n=1)
        return f"unknown parameter {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}")


@dataclass(frozen=True)
class Step:
    """An analyzer and its checked parameters: one entry of a plan."""

    analyzer: Analyzer
    params: Mapping[str, Any]
    """JSON values, defaults filled in."""

    @property
    def key(self) -> StepKey:
        """What makes two runs of this the same run."""
        return StepKey(self.analyzer.name, self.analyzer.version, digest_of(self.params))

    def examine(self, subject: Subject) -> Iterator[Observation]:
        """Run the analyzer on `subject`."""
        model = self.analyzer.parameters.model_validate(self.params)
        return self.analyzer(subject, **{name: getattr(model, name) for name in type(model).model_fields})


def analyzer(name: str, *, version: int, needs: Iterable[Need] = ()) -> Callable[[Examine], Analyzer]:
    """Declare the decorated generator function an analyzer.

    Its keyword-only arguments, each with a default, are the configuration; its docstring is the manual page.

    Args:
        name: kebab-case; finding codes begin with it.
        version: raise it whenever the output may change, and past models are examined again.
        needs: of {base, tokenizer, forward, prompts, gpu}; without them the run is skipped before any byte is read.

    Raises:
        TypeError: at import time, if an argument is not keyword-only with a type and a default, or the name, the
            version or a need is none.
    """
    if not NAME.fullmatch(name) or version < 1:
        raise TypeError(f"{name} version {version}: a name is in kebab-case, and versions count from 1")
    unknown = set(needs) - set(get_args(Need))
    if unknown:
        raise TypeError(f"{name}: unknown need {', '.join(sorted(unknown))}; there are {', '.join(get_args(Need))}")

    def declare(examine: Examine) -> Analyzer:
        _, *arguments = inspect.signature(examine).parameters.values()
        for argument in arguments:
            if argument.kind is not argument.KEYWORD_ONLY or argument.default is argument.empty:
                raise TypeError(f"{name}: {argument.name} must be keyword-only and have a default")
            if argument.annotation is argument.empty:
                raise TypeError(f"{name}: {argument.name} must have a type, so that settings can be checked")
        return Analyzer(name, version, frozenset(needs), examine)

    return declare
