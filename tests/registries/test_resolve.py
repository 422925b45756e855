"""From what a person types or a card claims to one revision, over every registry that is known or watched."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable, UsageError
from registry_auditor.registries import (
    Cache,
    Claim,
    FolderRegistry,
    claim_of,
    home,
    open_model,
    resolve,
    resolve_claim,
    verify,
    watched,
)
from registry_auditor.registries.claims import claimed_base
from tests.registries.folders import model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty cache."""
    return Cache(tmp_path / "cache")


def card(claimed: str) -> Claim:
    return Claim(claimed, BaseSource.CARD)


@pytest.mark.parametrize(
    ("spec", "known_as"),
    [("hf:my-org", "hf:my-org"), ("hf:base_model:org/name", "hf:base_model:org/name"),
     ("mlflow:http://127.0.0.1:5000", "mlflow:http://127.0.0.1:5000")],
)  # fmt: skip
def test_a_spec_becomes_a_registry_without_asking_anybody(spec: str, known_as: str, cache: Cache) -> None:
    assert watched(spec, cache=cache).spec == known_as


def test_a_watched_folder_need_not_be_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    registry = watched("dir:models/", settle_s=0)
    assert registry.spec == f"dir:{tmp_path}/models"
    with pytest.raises(RegistryUnavailable):
        list(registry.changes())


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [("./models", r"write dir:\./models"), ("models", "write dir:models"), ("dri:models", "did you mean dir:"),
     ("HF:org", "did you mean hf:"), ("mlfow:", "did you mean mlflow:"), ("s3://bucket", "unknown registry 's3'")],
)  # fmt: skip
def test_a_spec_that_names_no_registry_says_what_to_write(spec: str, remedy: str, cache: Cache) -> None:
    with pytest.raises(UsageError, match=remedy):
        watched(spec, cache=cache)


def test_without_the_mlflow_client_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"pip install 'registry-auditor\[mlflow\]'"):
        resolve("mlflow:name@7", cache=cache)


def test_a_reference_resolves_to_itself_as_long_as_it_holds(tmp_path: Path) -> None:
    ref = resolve(str(model(tmp_path / "one")))
    assert resolve(str(ref)) == ref
    home(ref).verify(ref)
    model(tmp_path / "one", value=2.0)
    for again in (lambda: resolve(str(ref)), lambda: verify(ref)):
        with pytest.raises(RegistryError, match="is no longer sha256"):
            again()
    with pytest.raises(RegistryError, match="is no longer sha256"), open_model(ref):
        pass


def test_a_folder_with_a_name_like_a_reference_is_a_folder(tmp_path: Path) -> None:
    odd = model(tmp_path / "x@sha256:abc")
    assert resolve(f"dir:{odd}").name == str(odd)


@pytest.mark.parametrize(
    "target", ["", "/no/such/folder", "x" * 5000, "a\0b", "~nobody-of-that-name/x", "dir:", "dir:a\0b"]
)
def test_no_name_of_a_folder_is_more_than_an_error(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    try:
        assert resolve(target).name == str(tmp_path / "empty")  # the folder one is in
    except RegistryError as error:
        assert "no such folder" in str(error)  # noqa: PT017


def test_a_reference_of_an_unknown_registry_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown registry"):
        claim_of(ModelRef("nexus", "org/x", "1"))


def test_a_claim_is_looked_for_in_the_watched_folder_around_the_model_first(tmp_path: Path) -> None:
    for name in ("one/base", "two/base", "two/team/tuned"):
        model(tmp_path / name)
    tuned = resolve(str(tmp_path / "two" / "team" / "tuned"))
    among = [FolderRegistry(tmp_path / "one"), FolderRegistry(tmp_path / "two")]
    assert resolve_claim(tuned, card("org/base"), among=among).name == str(tmp_path / "two" / "base")
    assert resolve_claim(tuned, card("org/base"), among=among[:1]).name == str(tmp_path / "one" / "base")


def test_the_other_watched_registries_are_asked_in_their_order(tmp_path: Path, cache: Cache) -> None:
    base = model(tmp_path / "models" / "base")
    tuned = resolve(str(model(tmp_path / "tuned")))
    among = [Empty("hf:org"), FolderRegistry(tmp_path / "models"), Empty("mlflow:", wait_s=1.0)]
    assert resolve_claim(tuned, card("org/base"), cache=cache, among=[*among]) == resolve(str(base))


def test_a_path_that_a_model_from_elsewhere_names_is_not_one_of_this_machine(tmp_path: Path, cache: Cache) -> None:
    base = model(tmp_path / "base")
    claim = Claim(str(base), BaseSource.ADAPTER)
    assert resolve_claim(resolve(str(model(tmp_path / "org" / "tuned"))), claim, cache=cache) == resolve(str(base))
    with pytest.raises(RegistryError):
        resolve_claim(ModelRef("hf", "org/tuned", COMMIT), claim, cache=cache)


def test_a_registry_that_cannot_be_reached_is_no_registry_without_the_base(tmp_path: Path, cache: Cache) -> None:
    tuned = resolve(str(model(tmp_path / "tuned")))
    with pytest.raises(RegistryUnavailable, match=r"the card names org/base as base: .*; or pass --base") as caught:
        resolve_claim(tuned, card("org/base"), cache=cache, among=[Empty("mlflow:", wait_s=7.0)])
    assert caught.value.retry_after_s == 7.0


def test_an_ambiguous_claim_says_who_made_it(tmp_path: Path) -> None:
    for name in ("a/base", "b/base", "tuned"):
        model(tmp_path / name)
    with pytest.raises(RegistryError, match=r"the card names org/base as base: .*a/base, b/base; choose with --base"):
        resolve_claim(resolve(str(tmp_path / "tuned")), card("org/base"), among=[FolderRegistry(tmp_path)])


def test_an_adapter_may_pin_the_revision_of_its_base(tmp_path: Path) -> None:
    for pinned, revision in (("v1.0", "v1.0"), (None, None), ("", None), (7, None)):
        config = {"base_model_name_or_path": "org/base", "revision": pinned}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        assert claimed_base(tmp_path) == Claim("org/base", BaseSource.ADAPTER, revision)


class Empty:
    """A registry with nothing in it, or one that asks to wait."""

    def __init__(self, spec: str, *, wait_s: float | None = None) -> None:
        self.spec = spec
        self.wait_s = wait_s

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        if self.wait_s is not None:
            raise RegistryUnavailable(f"{self.spec} asks to wait", retry_after_s=self.wait_s)
        return None
