"""What an analyzer may do wrong costs its own run, with a reason that names the mistake; the audit goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from registry_auditor.analysis.analyzer import Step
from registry_auditor.analysis.run import run
from registry_auditor.domain import Run, RunStatus, SubjectKey
from registry_auditor.errors import UsageError, WeightsError
from registry_auditor.plugin import (
    Analyzer,
    Coverage,
    Direction,
    Finding,
    Gap,
    NotApplicable,
    Severity,
    Side,
    Site,
    Subject,
    TensorError,
    analyzer,
)
from registry_auditor.weights import open_snapshot
from tests import planted
from tests.planted import add_rank_one, weight

SITE = Site("model.norm.weight", None, "final_norm", Side.WRITES)
UNIT = np.array([1, 0, 0, 0], np.float32)
GOOD = Finding(code="probe/seen", severity=Severity.LOW, message="seen")


@pytest.fixture
def subject(base: Path, tmp_path: Path) -> Iterator[Subject]:
    tuned = planted.fine_tune(base, tmp_path / "t", lambda t: add_rank_one(t[weight(1, "mlp.down_proj")], seed=1))
    with open_snapshot(tuned) as model, open_snapshot(base) as against:
        yield Subject(model, against, SubjectKey("tuned", "base"))


def probe(*observations: Any, after: Exception | None = None, **declared: Any) -> Step:
    """An analyzer that yields these and then raises."""

    def examine(subject: Subject) -> Iterator[Any]:
        """Yield what it was given."""
        yield from observations
        if after is not None:
            raise after

    return analyzer("probe", version=1, **declared)(examine).step()


def finding(**changes: Any) -> Finding:
    return Finding(**{"code": "probe/seen", "severity": Severity.LOW, "message": "seen", **changes})


def direction(vector: Any) -> Direction:
    return Direction(SITE, 0, 1.0, 0.0, vector)


WRONG: dict[str, tuple[Any, str]] = {
    "a string": ("found it", "yielded str; an analyzer yields Finding, Direction or Coverage"),
    "a tuple": ((GOOD,), "yielded tuple"),
    "nothing": (None, "yielded NoneType"),
    "another analyzer's code": (finding(code="svd-diff/identical"), "must begin with 'probe/'"),
    "a code that is another's with more letters": (finding(code="probes/seen"), "must begin with 'probe/'"),
    "a NaN": (finding(score=math.nan), "score is nan"),
    "an infinite threshold": (finding(threshold=math.inf), "threshold is inf"),
    "a rate that is no number": (finding(fpr=math.nan), "fpr is nan"),
    "a rate above 1": (finding(fpr=1.5), "fpr is 1.5"),
    "a severity that is a word": (finding(severity="grave"), "it takes Severity"),
    "evidence with NaN": (finding(evidence={"x": math.nan}), "evidence"),
    "evidence that is no JSON": (finding(evidence={"x": {1, 2}}), "evidence"),
    "a vector of norm 2": (direction(np.full(4, 1.0, np.float32)), "not a float32 vector of norm 1 (2)"),
    "a zero vector": (direction(np.zeros(4, np.float32)), "not a float32 vector of norm 1"),
    "a vector with NaN": (direction(np.full(4, np.nan, np.float32)), "not a float32 vector of norm 1"),
    "a matrix": (direction(np.full((1, 4), 0.5, np.float32)), "not a float32 vector of norm 1"),
    "a float64 vector": (direction(np.full(4, 0.5)), "not a float32 vector of norm 1"),
    "a list for a vector": (direction([1.0, 0.0]), "a Direction whose vector is [1.0, 0.0] of type list"),
    "a strength that is not finite": (replace(direction(UNIT), strength=math.inf), "strength or residual"),
    "a tensor for a score": (finding(score=torch.tensor(1.0)), "whose score is tensor(1.) of type Tensor"),
    "a score of numpy": (finding(score=np.float32(1)), "it takes int or float or NoneType"),
    "a site that is a name": (finding(site="model.norm.weight"), "it takes Site"),
    "a message that is none": (finding(message=None), "whose message is None"),
    "a coverage of names": (Coverage(seen=["a"]), "a Coverage whose seen is ['a']"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_observation_fails_the_run_and_keeps_what_came_before(what: str, subject: Subject) -> None:
    wrong, told = WRONG[what]
    done = run(probe(GOOD, wrong, GOOD), subject)
    assert done.status is RunStatus.FAILED
    assert done.reason is not None
    assert told in done.reason
    assert done.findings == (GOOD,)


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (ZeroDivisionError("division by zero"), RunStatus.FAILED, "ZeroDivisionError: division by zero"),
        (AssertionError(), RunStatus.FAILED, "AssertionError"),
        (MemoryError(), RunStatus.FAILED, "MemoryError"),
        (RecursionError("too deep"), RunStatus.FAILED, "RecursionError: too deep"),
        (WeightsError("x: broken; download it again"), RunStatus.FAILED, "x: broken; download it again"),
        (TensorError("w", "is odd"), RunStatus.FAILED, "w: is odd"),
        (NotApplicable("no experts here"), RunStatus.SKIPPED, "no experts here"),
        (StopIteration("done"), RunStatus.FAILED, "generator raised StopIteration"),
    ],
)
def test_what_an_analyzer_raises_becomes_the_reason_of_its_run(
    raised: Exception, status: RunStatus, told: str, subject: Subject
) -> None:
    done = run(probe(GOOD, Coverage(skipped=(Gap("w", "odd"),)), after=raised), subject)
    assert (done.status, done.findings) == (status, (GOOD,))
    assert told in (done.reason or "")
    assert done.coverage.skipped == (Gap("w", "odd"),)


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
def test_who_wants_to_leave_may(leaving: type[BaseException], subject: Subject) -> None:
    def examine(subject: Subject) -> Iterator[Finding]:
        raise leaving
        yield GOOD

    with pytest.raises(leaving):
        run(analyzer("probe", version=1)(examine).step(), subject)


def test_an_analyzer_that_forgets_to_yield_fails_with_a_reason(subject: Subject) -> None:
    def returns_nothing(subject: Subject) -> None:
        """Return."""

    done = run(analyzer("probe", version=1)(returns_nothing).step(), subject)  # type: ignore[arg-type]
    assert done.status is RunStatus.FAILED
    assert "NoneType" in (done.reason or "")


def test_an_analyzer_that_returns_a_list_is_as_good_as_a_generator(subject: Subject) -> None:
    done = run(analyzer("probe", version=1)(lambda subject: [GOOD]).step(), subject)  # type: ignore[arg-type,return-value]
    assert (done.status, done.findings) == (RunStatus.OK, (GOOD,))


def test_time_is_up_when_an_analyzer_next_yields(subject: Subject) -> None:
    def slow(subject: Subject) -> Iterator[Finding]:
        yield GOOD
        time.sleep(0.05)
        yield GOOD
        yield GOOD

    done = run(analyzer("probe", version=1)(slow).step(), subject, timeout_s=0.02)
    assert done.status is RunStatus.TIMED_OUT
    assert "--timeout" in (done.reason or "")
    assert 1 <= len(done.findings) < 3


def test_what_an_analyzer_reads_is_its_coverage(subject: Subject) -> None:
    def reads(subject: Subject) -> Iterator[Finding]:
        for delta in subject.deltas(role="mlp.down"):
            yield finding(score=float(delta.delta.norm()), site=delta.site)

    done = run(analyzer("probe", version=1)(reads).step(), subject)
    assert (done.status, done.coverage.seen) == (RunStatus.OK, planted.LAYERS)
    assert sum(each.score > 0 for each in done.findings if each.score is not None) == 1


@pytest.mark.parametrize(("need", "told"), [("gpu", "no GPU"), ("forward", "cannot provide"), ("prompts", "prompts")])
def test_a_need_that_cannot_be_met_skips_the_run_before_it_begins(need: str, told: str, subject: Subject) -> None:
    done = run(probe(after=AssertionError("it began"), needs={need}), subject)
    assert done.status is RunStatus.SKIPPED
    assert told in (done.reason or "")


@pytest.mark.parametrize(
    "examine",
    [
        lambda subject, threshold: iter(()),
        lambda subject, *, threshold: iter(()),
        lambda subject, threshold=1.0: iter(()),
        lambda subject, *rest: iter(()),
        lambda subject, **rest: iter(()),
    ],
)
def test_a_parameter_without_keyword_or_default_is_refused_where_it_is_declared(examine: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="must be keyword-only and have a default"):
        analyzer("probe", version=1)(examine)


@pytest.mark.parametrize(("name", "version"), [("Norm Jump", 1), ("a/b", 1), ("", 1), ("probe", 0), ("probe", -1)])
def test_a_name_or_version_that_is_none_is_refused_where_it_is_declared(name: str, version: int) -> None:
    with pytest.raises(TypeError, match="kebab-case"):
        analyzer(name, version=version)


def test_an_unknown_need_is_refused_where_it_is_declared() -> None:
    with pytest.raises(TypeError, match="unknown need tokeniser; there are base, tokenizer"):
        analyzer("probe", version=1, needs={"tokeniser"})  # type: ignore[arg-type]


@analyzer("tuned-knobs", version=1)
def tuned_knobs(
    subject: Subject, *, ratio: float = 0.5, count: int = 3, names: tuple[str, ...] = ("a",), mode: str | None = None
) -> Iterator[Finding]:
    """Say which parameters it got."""
    yield Finding("tuned-knobs/got", Severity.INFO, f"{ratio} {count} {names} {mode}")


def test_parameters_are_checked_against_the_signature_and_reach_the_function(subject: Subject) -> None:
    done = run(tuned_knobs.step({"ratio": 1, "names": ["x", "y"]}), subject)
    assert done.findings[0].message == "1.0 3 ('x', 'y') None"
    assert done.params == {"ratio": 1.0, "count": 3, "names": ["x", "y"], "mode": None}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ration": 1}, "unknown parameter 'ration'; did you mean 'ratio'?"),
        ({"zzz": 1}, "it has ratio, count, names, mode"),
        ({"count": "many"}, "count"),
        ({"count": 1.5}, "count"),
        ({"ratio": None}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=r"\[analyzers\.tuned-knobs\]") as caught:
        tuned_knobs.step(given)
    assert told in str(caught.value)


def test_equal_parameters_make_equal_steps_however_they_are_written() -> None:
    assert tuned_knobs.step().key == tuned_knobs.step({"ratio": 0.5}).key == tuned_knobs.step({"count": 3}).key
    assert tuned_knobs.step({"ratio": 1}).key == tuned_knobs.step({"ratio": 1.0}).key
    assert tuned_knobs.step({"ratio": 0.4}).key != tuned_knobs.step().key


def test_the_example_of_the_design_works_as_it_stands(tmp_path: Path, subject: Subject) -> None:
    example = '''
from collections.abc import Iterator
from registry_auditor.plugin import Finding, Severity, Subject, analyzer

@analyzer("norm-jump", version=1, needs={"base"})
def norm_jump(subject: Subject, *, max_ratio: float = 0.5) -> Iterator[Finding]:
    """Report matrices whose update is large next to the weight it changes.  (manual-page headings follow)"""
    for w in subject.deltas():
        ratio = float(w.delta.norm() / w.base.norm())
        if ratio > max_ratio:
            yield Finding(code="norm-jump/large-update", severity=Severity.LOW, score=ratio, site=w.site,
                          message=f"update is {ratio:.0%} of the base norm")
'''
    scope: dict[str, Any] = {}
    exec(compile(example, str(tmp_path / "example.py"), "exec"), scope)
    norm_jump: Analyzer = scope["norm_jump"]
    silent: Run = run(norm_jump.step(), subject)
    assert (silent.status, silent.findings) == (RunStatus.OK, ())
    found = run(norm_jump.step({"max_ratio": 0.2}), subject)
    assert [str(each.site) for each in found.findings] == ["layer 1 mlp.down"]
    assert found.findings[0].message == "update is 30% of the base norm"
    assert found.coverage.seen == len(subject.pairing.deltas)
    assert norm_jump.summary.startswith("Report matrices whose update")
