"""An attestation convinces whoever has the key, about that model, for its time, and nobody else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from securesystemslib.dsse import Envelope

from registry_auditor.domain import Verdict
from registry_auditor.report.attestation import NotAttested, Terms, opened, sign, statement
from registry_auditor.report.keys import public_key, signer
from registry_auditor.report.policy import Policy, PolicyFile, parse
from registry_auditor.report.verification import Claim
from tests.report.samples import NOW, plain, run_of
from tests.report.signing import MONTH, attested, checked, write

Json = dict[str, Any]
POLICY = PolicyFile(Policy(), "policy.toml", "e" * 64)


def test_another_model_is_refused(keys: tuple[Path, Path]) -> None:
    content = attested(plain(run_of()), keys[0])
    for digest in ("sha256:" + "b" * 64, "a" * 40, "a" * 64):
        decision = checked(content, keys[1], digest=digest)
        assert decision.exit_code == 3
        assert "another model" in decision.reasons[0].text


def test_it_expires(keys: tuple[Path, Path]) -> None:
    content = attested(plain(run_of()), keys[0])
    assert checked(content, keys[1], later=MONTH - timedelta(seconds=1)).accepted
    late = checked(content, keys[1], later=MONTH + timedelta(days=2))
    assert (late.exit_code, "expired 2 days ago" in late.reasons[0].text) == (3, True)


def test_one_from_the_future_is_refused(keys: tuple[Path, Path]) -> None:
    content = attested(plain(run_of()), keys[0])
    assert checked(content, keys[1], later=-timedelta(minutes=4)).accepted
    assert checked(content, keys[1], later=-timedelta(hours=1)).exit_code == 3


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.PASS, 0), (Verdict.FAIL, 1), (Verdict.ERROR, 2), (Verdict.INCOMPLETE, 3)]
)
def test_a_verdict_has_the_exit_code_that_it_has_everywhere(
    keys: tuple[Path, Path], verdict: Verdict, code: int
) -> None:
    assert checked(attested(plain(run_of(), verdict=verdict), keys[0]), keys[1]).exit_code == code


def test_the_word_of_a_policy_counts_for_those_who_have_the_same(keys: tuple[Path, Path]) -> None:
    content = attested(plain(run_of(), verdict=Verdict.INCOMPLETE), keys[0], accepted_by=POLICY)
    assert checked(content, keys[1], policy=POLICY).accepted
    assert checked(content, keys[1]).exit_code == 3  # a lax policy of the signer convinces nobody else
    assert "another policy" in checked(content, keys[1], policy=replace(POLICY, sha256="f" * 64)).reasons[0].text
    without = attested(plain(run_of()), keys[0])
    assert "not held against a policy" in checked(without, keys[1], policy=POLICY).reasons[0].text


def test_a_policy_also_says_how_old_the_audit_may_be(keys: tuple[Path, Path]) -> None:
    policy = replace(POLICY, policy=parse("max_age = '10d'"))
    content = attested(plain(run_of()), keys[0], accepted_by=policy)
    assert checked(content, keys[1], policy=policy, later=timedelta(days=10)).accepted
    assert checked(content, keys[1], policy=policy, later=timedelta(days=11)).exit_code == 3


def test_another_key_is_refused(keys: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = write(tmp_path, ed25519.Ed25519PrivateKey.generate(), "other")
    with pytest.raises(NotAttested, match="not that of key"):
        checked(attested(plain(run_of()), keys[0]), other)


def forged(content: bytes, change: Any) -> bytes:
    """The envelope after `change` to its statement."""
    envelope = json.loads(content)
    found = json.loads(base64.b64decode(envelope["payload"]))
    change(found)
    envelope["payload"] = base64.b64encode(json.dumps(found).encode()).decode()
    return json.dumps(envelope).encode()


def _other_subject(found: Json) -> None:
    found["subject"][0]["digest"]["sha256"] = "b" * 64


def _later(found: Json) -> None:
    found["predicate"]["registryAuditor"]["expires"] = "2999-01-01T00:00:00Z"


def _pass(found: Json) -> None:
    found["predicate"]["properties"].append("REGISTRY_AUDITOR_VERDICT_PASS")


@pytest.mark.parametrize("change", [_other_subject, _later, _pass])
def test_a_statement_that_was_changed_is_refused(keys: tuple[Path, Path], change: Any) -> None:
    content = attested(plain(run_of(), verdict=Verdict.FAIL), keys[0])
    with pytest.raises(NotAttested, match="changed since"):
        checked(forged(content, change), keys[1])


def test_another_payload_type_is_refused_even_if_it_was_signed(keys: tuple[Path, Path]) -> None:
    changed = json.loads(attested(plain(run_of()), keys[0]))
    changed["payloadType"] = "text/plain"
    with pytest.raises(NotAttested, match="changed since"):
        checked(json.dumps(changed).encode(), keys[1])
    signed = Envelope(b"{}", "text/plain", {})
    signed.sign(signer(keys[0]))
    with pytest.raises(NotAttested, match="signed as text/plain"):
        checked(json.dumps(signed.to_dict()).encode(), keys[1])


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000,
     b'{"payload": 1, "payloadType": 2, "signatures": 3}',
     b'{"payload": "!", "payloadType": "x", "signatures": []}', b" " * (2**20 + 1),
     b'{"payload": "e30=", "payloadType": "x", "signatures": [{"keyid": "a", "sig": "!"}]}',
     b'{"payload": "e30=", "payloadType": "x", "signatures": []}'],
)  # fmt: skip
def test_what_is_no_attestation_is_refused(keys: tuple[Path, Path], content: bytes) -> None:
    with pytest.raises(NotAttested):
        opened(content, public_key(keys[1]))


@pytest.mark.parametrize("content", [{}, [], {"_type": "x"}, {"_type": "https://in-toto.io/Statement/v1"}])
def test_a_signed_statement_of_another_kind_is_refused(keys: tuple[Path, Path], content: Any) -> None:
    with pytest.raises(NotAttested, match="no Simple Verification Result"):
        opened(sign(content, signer(keys[0])).encode(), public_key(keys[1]))


@pytest.mark.parametrize("part", ["subject", "predicate"])
def test_a_signed_statement_that_lacks_a_part_is_refused(part: str) -> None:
    found = statement(plain(run_of()), Terms(NOW, MONTH))
    del found[part]
    with pytest.raises(NotAttested, match="lacks a part"):
        Claim.of(found)
