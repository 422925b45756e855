"""The registered models of an MLflow server, and of whatever speaks its language."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from registry_auditor.domain import BaseSource, ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable, WeightsError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.claims import Claim, claimed_base
from registry_auditor.registries.mlflow_artifacts import (
    MANIFEST,
    Artifacts,
    artifacts_of,
    fetch_claims,
    fetch_model,
    weights_folder,
)
from registry_auditor.registries.mlflow_client import NotThere, asked, server
from registry_auditor.registries.mlflow_version import Version, check_ready, version_of
from registry_auditor.registries.registry import Change
from registry_auditor.weights import Snapshot, open_snapshot
from registry_auditor.weights.arrival import what_is_missing
from registry_auditor.weights.folder import printable

OVERLAP_MS = 5 * 60 * 1000
"""A version is dated when its transaction begins, by the clock of its server: it may appear after a younger one."""
SETTLING_MS = 60 * 60 * 1000
"""How long what a version lacks may still be on its way: nothing keeps people from registering it first."""
BASE_TAGS = ("registry_auditor.base", "base_model")

_PLACES = ("runs:", "mlflow-artifacts:")
"""Sources that say where the artifacts are; for others the server is asked, which costs two requests."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_FULL = re.compile(r"(?P<number>[0-9]{1,18})\.(?P<digest>[0-9a-f]{32})")
_MODELS_URI = re.compile(r"models:/+(?P<name>[^/@:]+)(?:/(?P<version>[0-9]+|latest)|@(?P<alias>[^/@:]+))?")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class MlflowRegistry:
    """The registered models of one server; a `Registry`.

    The server is `tracking_uri`, or what MLFLOW_REGISTRY_URI and MLFLOW_TRACKING_URI name; credentials come from the
    environment, as the client of MLflow reads them. One request lists `page` versions at most.
    Raises UsageError if no server is named.
    """

    def __init__(self, tracking_uri: str | None = None, *, cache: Cache, page: int = 1000) -> None:
        self._server = server(tracking_uri)
        self._cache = cache
        self._page = page

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MlflowRegistry) and other._server == self._server

    def __hash__(self) -> int:
        return hash(self._server)

    @property
    def spec(self) -> str:
        """`mlflow:` and the address of the server, without user and password."""
        return f"mlflow:{self._server.shown}"

    def changes(self, since: str | None = None) -> Iterator[Change]:
        """Every version that was registered, or whose description was changed, after the cursor `since`, oldest first.

        What the last five minutes before the cursor brought is shown again. A version with a problem (not ready, no
        weights) that is younger than an hour holds the cursor back. Left out: prompts, which the registry keeps as
        models, and what was deleted. Tags that change later have no date: only a pass from the start shows them, and
        a webhook. So does what pages too short for all versions lose when one is deleted while they are turned.
        """
        start = int(since) - OVERLAP_MS if since and _NUMBER.fullmatch(since) else None
        newest_first = takewhile(lambda version: start is None or version.updated_ms >= start, self._newest_first())
        held: int | None = None
        for version in reversed(list(newest_first)):
            problem = self._problem(version)
            if problem is not None and held is None and version.age_ms < SETTLING_MS:
                held = version.updated_ms
            yield Change(version.ref, str(version.updated_ms if held is None else held), problem)

    def resolve(self, name: str, revision: str | None = None) -> ModelRef:
        """The version of `name` that `revision` means: a number, an alias, `NUMBER.DIGEST`; the last one if None.

        Raises RegistryError if there is none, if it holds no weights, or if its number was given to another version.
        """
        version = self._version(name, revision)
        weights_folder(self._artifacts(version))
        return version.ref

    @contextmanager
    def open(self, ref: ModelRef) -> Iterator[Snapshot]:
        """The weights of `ref`, downloaded into the cache unless they are there.

        Raises RegistryError if they cannot be fetched, RegistryUnavailable if they are incomplete and not an hour
        old, WeightsError if they are broken or hostile.
        """

        def fetch(folder: Path) -> None:
            version = self._version(ref.name, ref.revision)
            fetch_model(self._artifacts(version), folder)
            missing = what_is_missing(folder)
            if missing and version.age_ms < SETTLING_MS:
                raise RegistryUnavailable(f"{version.title}: has not arrived as a whole ({missing}); try again later")

        with open_snapshot(self._cache.folder_of(f"{self.spec} {ref}", fetch)) as snapshot:
            yield snapshot

    def verify(self, ref: ModelRef) -> None:
        """Raise RegistryError if the version was deleted, or its number given to another one."""
        self._version(ref.name, ref.revision)

    def claim(self, ref: ModelRef) -> Claim | None:
        """The base by a tag of the version, a tag of the model, the adapter config, the card or the config.

        Tags count as cards: whoever uploads may set them. Last of all comes the name of the network that
        mlflow.transformers wrote down, if it is one of the Hub.
        """
        version = self._version(ref.name, ref.revision)
        tagged = _tagged(version.tags) or _tagged(self._model_tags(version.name))
        if tagged is not None:
            return Claim(printable(tagged), BaseSource.CARD)
        with tempfile.TemporaryDirectory() as kept:
            folder = Path(kept)
            fetch_claims(self._artifacts(version), folder)
            try:
                return claimed_base(folder) or _logged_name(folder)
            except WeightsError as error:
                raise WeightsError(f"{version.title}: {str(error).replace(f'{folder}/', '')}") from error

    def find(self, claimed: str, *, of: ModelRef) -> ModelRef | None:
        """The version that `of` calls `claimed`: `mlflow:NAME@3`, `models:/NAME/3`, NAME@ALIAS or `org/NAME`.

        The last version, where none is named. A model is never its own base; an earlier version of the same model
        is one only if it is named. Raises RegistryError if a version of this registry names one, as `mlflow:` or
        `models:`, that is not there or is itself: nobody else can have it.
        """
        name, revision = _named(claimed)
        own = (of.registry, of.name) == ("mlflow", name)
        surely_here = of.registry == "mlflow" and claimed.startswith(("mlflow:", "models:"))
        found = None
        if name and not set(name) & {"/", ":"} and not (own and revision is None):
            try:
                found = self.resolve(name, revision)
            except NotThere:
                if surely_here:
                    raise
        if found is not None and found != of:
            return found
        if own and surely_here:
            raise RegistryError(f"{printable(claimed)} is the model itself; name an earlier version: mlflow:NAME@1")
        return None

    def _newest_first(self) -> Iterator[Version]:
        client, token = self._server.client(), None
        order = ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]
        while True:
            with asked(f"{self.spec} cannot be listed"):
                page = client.search_model_versions(max_results=self._page, order_by=order, page_token=token)
            for each in page:
                if each.tags.get("mlflow.prompt.is_prompt") != "true":
                    yield version_of(each)
            token = page.token
            if not token:
                return

    def _problem(self, version: Version) -> str | None:
        try:
            check_ready(version)
            weights_folder(self._artifacts(version))
        except RegistryError as error:
            return str(error)
        return None

    def _version(self, name: str, revision: str | None) -> Version:
        """The version that is there now. Raises RegistryError if it is another one than `revision` says."""
        title = f"mlflow:{printable(name)}" + (f"@{printable(revision)}" if revision else "")
        full = _FULL.fullmatch(revision or "")
        with asked(title):
            found = self._looked_up(name, full["number"] if full else revision)
        if found is None:
            raise NotThere(f"{title}: this model has no such version or alias; check the name, or register a version")
        version = version_of(found)
        if full and version.digest != full["digest"]:
            raise RegistryError(
                f"{title}: version {version.number} was registered anew since; resolve mlflow:{printable(name)}"
                f"@{version.number} again"
            )
        check_ready(version)
        return version

    def _looked_up(self, name: str, revision: str | None) -> Any:
        client = self._server.client()
        if _NUMBER.fullmatch(revision or ""):
            return client.get_model_version(name, revision)
        model = client.get_registered_model(name)
        if revision is None or revision.lower() == "latest":  # MLflow lets no alias be called so
            return max(model.latest_versions, key=lambda each: int(each.version), default=None)
        number = model.aliases.get(revision)
        return number and client.get_model_version(name, number)

    def _model_tags(self, name: str) -> Mapping[str, str]:
        with asked(f"mlflow:{printable(name)}"):
            tags: Mapping[str, str] = self._server.client().get_registered_model(name).tags
        return tags

    def _artifacts(self, version: Version) -> Artifacts:
        uri = version.source
        if not uri.startswith(_PLACES):
            with asked(version.title):
                uri = self._server.client().get_model_version_download_uri(version.name, str(version.number))
        return artifacts_of(uri, title=version.title, home=self._server)


def _tagged(tags: Mapping[str, str]) -> str | None:
    return next((value.strip() for key in BASE_TAGS if (value := tags.get(key, "")).strip()), None)


def _named(claimed: str) -> tuple[str, str | None]:
    """The name and the version that a claim means here; an empty name if it leads elsewhere."""
    if uri := _MODELS_URI.fullmatch(claimed):
        return uri["name"], uri["version"] or uri["alias"]
    scheme, colon, rest = claimed.partition(":")
    if colon and scheme != "mlflow":
        return "", None
    name, _, revision = (rest if colon else claimed.rstrip("/").rpartition("/")[2]).partition("@")
    return name, revision or None


def _logged_name(folder: Path) -> Claim | None:
    """The name that the network had when mlflow.transformers saved it; a path on some machine says nothing."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return None
    try:
        content = yaml.safe_load(manifest.read_text(encoding="utf-8", errors="replace"))
        name = content["flavors"]["transformers"]["source_model_name"]
    except (yaml.YAMLError, ValueError, RecursionError, KeyError, TypeError):
        return None  # somebody else's manifest, which was never meant to name a base
    return Claim(name, BaseSource.CONFIG) if isinstance(name, str) and _HUB_NAME.fullmatch(name) else None
