"""The artifacts of a registered version: which of them are a model, and how they come here."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.mlflow_client import Server, asked, without_password
from registry_auditor.weights.files import read_as_weights, why_unread
from registry_auditor.weights.folder import MAX_CONFIG_BYTES, printable

DESCRIPTIONS = ("*.json", "*.txt", "*.jinja", "*.model", "README.md")
TOKENIZER = ("*token*.json", "vocab*", "merges.txt", "chat_template*", "*.model", "*.jinja")
CLAIMS = ("adapter_config.json", "config.json", "README.md")
CARD, CARD_TEXT, MANIFEST = "model_card_data.yaml", "model_card.md", "MLmodel"
"""What mlflow.transformers writes beside the weights."""
COMPONENTS = ("components/tokenizer", "components/processor")

MAX_FILES = 10_000
MAX_DEPTH = 16
_LOCAL = frozenset({"", "file"})
_OBJECT_STORES = frozenset({"s3", "gs", "wasbs", "abfss", "r2"})
_SERVED = frozenset({"mlflow-artifacts", "http", "https"})


@dataclass(frozen=True)
class Artifacts:
    """The files of one version, by path."""

    title: str
    """Whose they are, for errors."""
    sizes: Mapping[str, int | None]
    """Bytes by path below the root; None where the store does not say."""
    repository: Any

    def save(self, path: str, target: Path, *, max_bytes: int | None = None) -> None:
        """Write the file at `path` to `target`, completely or not at all.

        Raises RegistryUnavailable if less than the whole file came, RegistryError if it is larger than `max_bytes`.
        """
        expected = self.sizes[path]
        if max_bytes is not None and (expected or 0) > max_bytes:
            raise RegistryError(f"{self.title}: {printable(path)} is larger than {max_bytes} bytes; do not load it")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as partial:
            with asked(f"{self.title}: {printable(path)} cannot be downloaded"):
                came = Path(self.repository.download_artifacts(path, partial))
            got = came.stat().st_size
            if expected is not None and got != expected:
                raise RegistryUnavailable(
                    f"{self.title}: {got} of the {expected} bytes of {printable(path)} came; try again"
                )
            came.rename(target)


def artifacts_of(uri: str, *, title: str, home: Server) -> Artifacts:
    """What lies at `uri`, the place that the server `home` names for a version.

    Raises RegistryError if `uri` leads to a stranger's server, which would be sent our credentials, or if the
    listing is hostile or too long.
    """
    with asked(f"{title}: its artifacts cannot be listed"):
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

        if uri.startswith("runs:"):
            uri = RunsArtifactRepository.get_underlying_uri(uri, home.tracking_uri)
        _check_place(uri, title, home)
        repository = get_artifact_repository(uri, tracking_uri=home.tracking_uri)
        sizes: dict[str, int | None] = {}
        for path, size in _listed(repository, title):
            sizes[path] = size
            if len(sizes) > MAX_FILES:
                raise RegistryError(f"{title}: has more than {MAX_FILES} files; register the folder of the model only")
    return Artifacts(title, sizes, repository)


def _check_place(uri: str, title: str, home: Server) -> None:
    place, own = urlsplit(uri), urlsplit(home.tracking_uri)
    host = place.netloc.rpartition("@")[2]
    if place.scheme in _LOCAL | _OBJECT_STORES or (
        place.scheme in _SERVED and host in ("", own.netloc.rpartition("@")[2])
    ):
        return
    raise RegistryError(
        f"{title}: its artifacts are said to lie at {printable(without_password(uri)[:200])}, which is neither the "
        "MLflow server nor an object store; register it from a run, or from a bucket"
    )


def _listed(repository: Any, title: str, folder: str = "", depth: int = 0) -> Iterator[tuple[str, int | None]]:
    if depth > MAX_DEPTH:
        raise RegistryError(f"{title}: has folders that are nested deeper than {MAX_DEPTH}; do not load this model")
    for entry in repository.list_artifacts(folder or None):
        path = str(entry.path)
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not path.isprintable() or pure.parent != PurePosixPath(folder):
            raise RegistryError(f"{title}: lists {path[:200]!r}, which leads out of its folder; do not load this model")
        if entry.is_dir:
            yield from _listed(repository, title, path, depth + 1)
        else:
            yield path, entry.file_size


def model_files(artifacts: Artifacts) -> dict[str, str]:
    """What an audit reads, as name in one flat folder -> path among the artifacts.

    The weights and what describes them, and the tokenizer, which mlflow.transformers keeps apart.
    Raises RegistryError if no folder, or no single one, holds weights.
    """
    folder = weights_folder(artifacts)
    files = {name: path for name, path in _in(artifacts, folder) if read_as_weights(name) or _is(name, DESCRIPTIONS)}
    for component in COMPONENTS:
        for name, path in _in(artifacts, _beside(folder, component)):
            if _is(name, TOKENIZER):
                files.setdefault(name, path)
    return files


def claim_files(artifacts: Artifacts) -> dict[str, str]:
    """What says which base the model has, as name -> path; never weights."""
    folder = weights_folder(artifacts)
    files = {name: path for name, path in _in(artifacts, folder) if name in (*CLAIMS, CARD, MANIFEST)}
    for name, path in _in(artifacts, posixpath.dirname(folder)):
        if name in ("README.md", CARD, MANIFEST):
            files.setdefault(name, path)
    return files


def weights_folder(artifacts: Artifacts) -> str:
    """The folder with the weights: the adapter of mlflow.transformers, or the one that all others lie in.

    Raises RegistryError if there is none, or if several could be meant.
    """
    names = {path: posixpath.basename(path) for path in artifacts.sizes}
    folders = sorted({posixpath.dirname(path) for path, name in names.items() if read_as_weights(name)})
    if not folders:
        why = why_unread(names.values()) or "register a folder with safetensors, as save_pretrained writes it"
        raise RegistryError(f"{artifacts.title}: holds no weights that are read; {why}")
    adapters = [
        folder
        for folder in folders
        if posixpath.basename(folder) == "peft" and posixpath.join(folder, "adapter_config.json") in artifacts.sizes
    ]
    # Beside an adapter lies the base it was made for, where that has no name on the Hub: mlflow.transformers.
    tuned = [folder for folder in folders if not any(folder == _beside(adapter, "model") for adapter in adapters)]
    outer = [folder for folder in tuned if all(_within(other, folder) for other in tuned)]
    if not outer:
        shown = ", ".join(printable(folder or ".") for folder in tuned[:4])
        raise RegistryError(f"{artifacts.title}: {len(tuned)} folders hold weights ({shown}); register one of them")
    return outer[0]


def _beside(folder: str, name: str) -> str:
    return posixpath.join(posixpath.dirname(folder), name)


def _within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _is(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _in(artifacts: Artifacts, folder: str) -> Iterator[tuple[str, str]]:
    """Name and path of the files that lie in `folder` itself."""
    for path in artifacts.sizes:
        if posixpath.dirname(path) == folder:
            yield posixpath.basename(path), path


def fetch_model(artifacts: Artifacts, folder: Path) -> None:
    """Put what an audit reads into the empty `folder`. Errors as `Artifacts.save`."""
    files = model_files(artifacts)
    for name, path in files.items():
        artifacts.save(path, folder / name)
    for name, _ in _in(artifacts, weights_folder(artifacts)):
        if name not in files and why_unread([name]):
            (folder / name).touch()  # nobody reads it: its name is all that the coverage needs to tell of it


def fetch_claims(artifacts: Artifacts, folder: Path) -> None:
    """Put what names the base into the empty `folder`, the card that MLflow keeps as a README.md.

    Raises RegistryError for a file that no description is as large as.
    """
    for name, path in claim_files(artifacts).items():
        artifacts.save(path, folder / name, max_bytes=MAX_CONFIG_BYTES)
    card = folder / CARD
    if card.exists() and not (folder / "README.md").exists():
        text = card.read_text(encoding="utf-8", errors="replace")
        (folder / "README.md").write_text(f"---\n{text.strip()}\n---\n", encoding="utf-8")
