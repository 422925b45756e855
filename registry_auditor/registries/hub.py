"""Models of the Hugging Face Hub, or of an endpoint that speaks its language (`HF_ENDPOINT`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim, claimed_base
from registry_auditor.registries.hub_client import TIMEOUT_S, Absent, Unreachable, asking, listed, reference
from registry_auditor.registries.hub_files import (
    CLAIMING,
    DESCRIBING,
    client_snapshot,
    described,
    listing_of,
    weights_of,
)
from registry_auditor.registries.registry import Change
from registry_auditor.weights import Snapshot, open_snapshot
from registry_auditor.weights.files import Remote, read_as_weights, why_unread

SLACK = timedelta(minutes=5)
"""What changed so long before the cursor is shown again: several changes bear one second, and the list lags behind."""
PAGE = 100
_EXPANDED = ("sha", "siblings", "lastModified", "gated", "disabled")
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class HubRegistry:
    """The models of an author (`ORG`), one model (`ORG/NAME`), or those that name a base.

    `base_model:ORG/NAME` is all of these, merges and quantised copies too; `base_model:finetune:ORG/NAME` and
    `base_model:adapter:ORG/NAME` are one kind. With an empty selector every model is opened, and none is listed.

    A model that was renamed is known by the name it has now, whichever it is asked for by.
    """

    selector: str = ""
    cache: Cache = field(kw_only=True)

    @property
    def spec(self) -> str:
        """`hf:` and the selector."""
        return f"hf:{self.selector}"

    def changes(self, since: str | None = None) -> Iterator[Change]:
        """As the protocol says; cursors are times. A gated model has a problem unless HF_TOKEN opens it."""
        horizon = _horizon(since)
        found: list[ModelInfo] = []
        with asking(self.spec):
            for info in self._newest_first():
                if (info.last_modified or horizon) < horizon:
                    break
                found.append(info)
        for info in sorted(found, key=lambda info: info.last_modified or _FIRST):
            cursor = info.last_modified.isoformat() if info.last_modified else since
            yield self._change(info, cursor)

    def resolve(self, name: str, revision: str | None = None) -> ModelRef:
        """As the protocol says. Without a network, the commit that the cache of the client knows."""
        what = f"hf:{name}" + (f"@{revision}" if revision else "")
        try:
            info = _info(name, revision, what)
        except Unreachable as error:
            local = client_snapshot(name, revision)
            if local is None:
                raise Unreachable(f"{error}; nor is it in the local cache: download it, or pass a folder") from error
            return ModelRef("hf", name, local.name)
        if why := _no_weights(info):
            raise RegistryError(f"{what}: {why}")
        with asking(what):
            return reference(info)

    @contextmanager
    def open(self, ref: ModelRef) -> Iterator[Snapshot]:
        """As the protocol says. Numbers travel when they are asked for, which raises RegistryError if they cannot."""
        folder, remote = self._held(ref, DESCRIBING)
        with open_snapshot(folder, remote=remote) as snapshot:
            yield snapshot

    def verify(self, ref: ModelRef) -> None:
        """A commit does not change, and what was fetched of it is ours alone."""

    def claim(self, ref: ModelRef) -> Claim | None:
        """As the protocol says; three small files are fetched."""
        return claimed_base(self._held(ref, CLAIMING)[0])

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        """As the protocol says, among all models of the Hub."""
        try:
            return self.resolve(claimed)
        except Absent:
            return None

    def _newest_first(self) -> Iterator[ModelInfo]:
        tag, colon, base = self.selector.partition(":")
        if not self.selector or (colon and (tag != "base_model" or "/" not in base)):
            raise RegistryError(
                f"{self.spec}: names nothing to watch; write hf:AUTHOR, hf:ORG/NAME, hf:base_model:ORG/NAME or "
                "hf:base_model:finetune:ORG/NAME"
            )
        if not colon and "/" in self.selector:
            return iter((_info(self.selector, None, self.spec),))
        chosen = {"filter" if colon else "author": self.selector}
        return listed({**chosen, "sort": "lastModified", "limit": PAGE, "expand": list(_EXPANDED)})

    def _change(self, info: ModelInfo, cursor: str | None) -> Change:
        what = f"hf:{info.id}"
        try:
            if info.sha is None:  # an endpoint that lists names only
                info = _info(info.id, None, what)
            with asking(what):
                ref = reference(info)
            return Change(ref, cursor, _problem(info, what))
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            return Change(ModelRef("hf", info.id), cursor, str(error))

    def _held(self, ref: ModelRef, names: Sequence[str]) -> tuple[Path, Remote]:
        """Those small files of `ref` in a folder, and where its weights are."""
        try:
            listing = listing_of(ref, self.cache)
        except Unreachable:
            local = client_snapshot(ref.name, ref.revision)
            if local is None:
                raise
            return local, {}
        return described(ref, listing, names, self.cache), weights_of(ref, listing, self.cache)


def _info(name: str, revision: str | None, what: str) -> ModelInfo:
    with asking(what):
        return HfApi().model_info(name, revision=revision, timeout=TIMEOUT_S)


def _problem(info: ModelInfo, what: str) -> str | None:
    """Why the model cannot be audited."""
    if info.disabled:
        return "was disabled by the Hub; there is nothing to audit"
    if why := _no_weights(info):
        return why
    if info.gated:
        try:
            with asking(what):
                HfApi().auth_check(info.id)
        except RegistryUnavailable:
            raise
        except RegistryError as error:
            return str(error)
    return None


def _no_weights(info: ModelInfo) -> str | None:
    if info.siblings is None:
        return None
    names = [file.rfilename for file in info.siblings if "/" not in file.rfilename]
    if any(map(read_as_weights, names)):
        return None
    return why_unread(names) or "holds no weights; expected model.safetensors, its shards or an adapter"


def _horizon(since: str | None) -> datetime:
    """Before which nothing is shown; the first moment of all for a cursor that is none."""
    try:
        moment = datetime.fromisoformat(since or "")
    except ValueError:
        return _FIRST
    return max(_FIRST + SLACK, moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - SLACK
