"""An attestation proves what was audited, to whoever has the key, about that model, for its time, and nothing else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from securesystemslib.dsse import Envelope

from registry_auditor.domain import (
    AuditState,
    Coverage,
    Gap,
    ModelRef,
    RunStatus,
    Severity,
    SubjectKey,
    TriageState,
    Verdict,
)
from registry_auditor.errors import UsageError
from registry_auditor.report import Report
from registry_auditor.report.attestation import NotAttested, Terms, opened, sign, statement
from registry_auditor.report.gate import Decision
from registry_auditor.report.keys import KEY, PASSPHRASE, public_key, signer
from registry_auditor.report.policy import Policy, PolicyFile, parse
from registry_auditor.report.verification import Claim, verify
from tests.report.samples import NOW, audit_of, finding, plain, run_of, said, stored, suppressed

Json = dict[str, Any]
MONTH = timedelta(days=30)
DIGEST = "sha256:" + "a" * 64
POLICY = PolicyFile(Policy(), "policy.toml", "e" * 64)
SECRET = b"a passphrase"


def write(folder: Path, key: Any, name: str = "audit", passphrase: bytes | None = None) -> tuple[Path, Path]:
    """The files of a private key and of its public one."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path, ed25519.Ed25519PrivateKey.generate())


def attested(document: Report, private: Path, **terms: Any) -> bytes:
    return sign(statement(document, Terms(NOW, MONTH, **terms)), signer(private)).encode()


def checked(content: bytes, public: Path, *, later: timedelta = timedelta(), **against: Any) -> Decision:
    return verify(Claim.of(opened(content, public_key(public))), now=NOW + later, **against)


def predicate(document: Report, **terms: Any) -> Json:
    return dict(statement(document, Terms(NOW, MONTH, **terms))["predicate"])


KINDS = [
    ed25519.Ed25519PrivateKey.generate(),
    *(ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)),
]


@pytest.mark.parametrize("key", KINDS, ids=["ed25519", "p256", "p384", "p521"])
def test_what_was_signed_with_a_key_is_verified_with_its_public_one(key: Any, tmp_path: Path) -> None:
    private, public = write(tmp_path, key)
    decision = checked(attested(plain(run_of()), private), public, digest=DIGEST)
    assert decision.accepted, decision.reasons


def test_the_statement_is_a_simple_verification_result_about_the_digest(keys: tuple[Path, Path]) -> None:
    found = opened(attested(plain(run_of()), keys[0]), public_key(keys[1]))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://in-toto.io/attestation/svr/v0.1"
    assert found["subject"] == [{"name": f"hf:org/tuned@{'a' * 40}", "digest": {"sha256": "a" * 64}}]
    told = found["predicate"]
    assert told["timeCreated"] == "2026-01-02T03:04:00Z"
    assert told["verifier"]["id"].startswith("pkg:pypi/registry-auditor@")
    result = told["registryAuditor"]
    assert result["expires"] == "2026-02-01T03:04:00Z"
    assert result["analyzers"] == [{"name": "norm-jump", "version": 3, "params": "digest", "status": "ok"}]


@pytest.mark.parametrize(
    ("digest", "expected"),
    [(DIGEST, {"sha256": "a" * 64}), ("c" * 40, {"gitCommit": "c" * 40}), ("7.abc", {"registryRevision": "7.abc"})],
)
def test_every_kind_of_revision_is_a_digest(digest: str, expected: Json) -> None:
    document = plain(run_of(), subject=SubjectKey(digest, None))
    assert statement(document, Terms(NOW, MONTH))["subject"][0]["digest"] == expected


def properties(document: Report) -> set[str]:
    return {each.removeprefix("REGISTRY_AUDITOR_") for each in predicate(document)["properties"]}


def test_only_what_was_verified_is_listed() -> None:
    worst = {f"NO_FINDING_AT_OR_ABOVE_{each.upper()}" for each in Severity}
    assert properties(plain(run_of())) == {"AUDITED", "VERDICT_PASS", "COMPLETE", *worst}
    medium = stored(finding(severity=Severity.MEDIUM))
    assert properties(plain(run_of(medium))) == {
        "AUDITED", "VERDICT_PASS", "COMPLETE", "NO_FINDING_AT_OR_ABOVE_HIGH", "NO_FINDING_AT_OR_ABOVE_CRITICAL"
    }  # fmt: skip
    assert properties(plain(run_of(stored(finding())), verdict=Verdict.FAIL)) == {
        "AUDITED", "COMPLETE", "NO_FINDING_AT_OR_ABOVE_CRITICAL"
    }  # fmt: skip
    gap = run_of(coverage=Coverage(1, (Gap("a", "odd"),)))
    assert properties(plain(gap, verdict=Verdict.INCOMPLETE)) == {"AUDITED"}
    failed = run_of(status=RunStatus.FAILED, reason="why")
    assert properties(plain(failed, verdict=Verdict.INCOMPLETE)) == {"AUDITED"}
    assert properties(plain(verdict=Verdict.ERROR)) == set()


def test_findings_that_people_have_set_aside_are_counted_apart() -> None:
    aside = (stored(finding(), 1, suppressed()), stored(finding(), 2, said(TriageState.RESOLVED)))
    result = predicate(plain(run_of(*aside)))["registryAuditor"]
    assert (result["setAside"], result["findings"]["high"], result["verdict"]) == (2, 0, "pass")


def test_a_verdict_that_rested_on_a_suppression_which_ran_out_is_not_attested_as_pass() -> None:
    document = plain(run_of(stored(finding())), verdict=Verdict.PASS)
    assert "VERDICT_PASS" not in properties(document)
    assert predicate(document)["registryAuditor"]["verdict"] == "fail"


@pytest.mark.parametrize("state", [AuditState.QUEUED, AuditState.RUNNING])
def test_an_audit_that_is_not_done_is_not_attested(state: AuditState) -> None:
    with pytest.raises(UsageError, match="only what is done can be attested"):
        statement(plain(state=state, verdict=None, finished_at=None), Terms(NOW, MONTH))


def test_a_model_that_was_never_read_is_not_attested() -> None:
    job = replace(audit_of().job, model=ModelRef("hf", "org/tuned"))
    with pytest.raises(UsageError, match="never read its model"):
        statement(plain(job=job, subject=None, verdict=Verdict.ERROR), Terms(NOW, MONTH))


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


def test_a_key_with_a_passphrase_takes_it_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = write(tmp_path, ed25519.Ed25519PrivateKey.generate(), passphrase=SECRET)
    with pytest.raises(UsageError, match=f"is encrypted: put its passphrase in {PASSPHRASE}"):
        signer(private)
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(UsageError, match=f"{PASSPHRASE} is not its passphrase") as error:
        signer(private)
    assert "wrong" not in str(error.value)
    monkeypatch.setenv(PASSPHRASE, SECRET.decode())
    assert checked(attested(plain(run_of()), private), public).accepted


def test_a_passphrase_for_a_key_that_has_none_is_a_mistake(
    keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE, "unneeded")
    with pytest.raises(UsageError, match=f"has no passphrase: unset {PASSPHRASE}"):
        signer(keys[0])


def test_a_key_may_be_in_the_environment(keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no key: name its file with --key"):
        signer(None)
    monkeypatch.setenv(KEY, keys[0].read_text())
    assert signer(None).public_key.keyid == public_key(keys[1]).keyid
    monkeypatch.setenv(KEY, "/some/file")
    with pytest.raises(UsageError, match=f"{KEY} holds no private key in PEM") as error:
        signer(None)
    assert "/some/file" not in str(error.value)


def test_a_key_that_cannot_be_read_or_is_of_another_kind_says_how_to_make_one(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = write(tmp_path, rsa.generate_private_key(65537, 2048), "rsa")
    odd, odd_public = write(tmp_path, ec.generate_private_key(ec.SECP256K1()), "odd")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00" * 70_000)
    for path, told in (
        (tmp_path / "none", "cannot be read"), (tmp_path, "cannot be read"), (keys[1], "no private key"),
        (private, "another kind"), (odd, "cannot be used"), (garbage, "too large"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            signer(path)
    for path, told in (
        (tmp_path / "none", "cannot be read"), (keys[0], "no public key"), (public, "another kind"),
        (odd_public, "cannot be used"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            public_key(path)
