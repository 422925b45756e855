"""The files of one commit of the Hub: the small ones whole, weights piece by piece; each travels once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoSibling

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError
from registry_auditor.registries.cache import Cache
from registry_auditor.registries.hub_client import TIMEOUT_S, asking, endpoint, reference
from registry_auditor.registries.hub_transfer import Address, RangesIgnored, download
from registry_auditor.weights.files import UNREAD
from registry_auditor.weights.folder import printable
from registry_auditor.weights.remote import RemoteFile

CLAIMING = ("adapter_config.json", "README.md", "config.json")
"""What may name the base."""
DESCRIBING = (
    *CLAIMING, "model.safetensors.index.json", "pytorch_model.bin.index.json", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt",
    "added_tokens.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files that are fetched whole."""
MAX_DESCRIBING_BYTES = 256 * 2**20
"""No reader accepts more of one of them."""
_WEIGHTS = frozenset({".safetensors", *UNREAD})

Listing = Mapping[str, Address]
"""The files of one commit by their path."""


@dataclass(frozen=True)
class HubFile:
    """A file whose bytes are fetched when they are asked for, and kept."""

    identity: str
    """Of its content, if the Hub names one, so that shards which several models share travel once."""
    address: Address = field(compare=False)
    cache: Cache = field(compare=False)
    beside: str = field(compare=False)
    """The key of the small files of its model, which stay in the cache as long as this one is read."""

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.address.name

    @property
    def size_bytes(self) -> int:
        """As the Hub lists it; transfers of another size are refused."""
        return self.address.size_bytes

    def fetch(self, start: int, stop: int) -> tuple[Path, int]:
        """Those bytes from what is on this machine already, else by a range of their own.

        The whole file is fetched from a server that cannot do ranges.
        """
        self.cache.known(self.beside)
        whole = in_client_cache(self.address) or self._kept_whole()
        if whole is not None:
            return whole, start
        key = f"{self.identity}[{start}:{stop}]"
        try:
            path = self.cache.file(key, lambda partial: self._download(partial, start, stop))
            if path.stat().st_size != stop - start:  # after a power cut, for one
                self.cache.forget(key)
                path = self.cache.file(key, lambda partial: self._download(partial, start, stop))
        except RangesIgnored:
            return self.whole(), start
        return path, 0

    def whole(self) -> Path:
        """The file under its own name, checked against its digest."""
        local = in_client_cache(self.address)
        return local or self.cache.folder_of(self._whole_key, self._fill) / PurePosixPath(self.name).name

    @property
    def _whole_key(self) -> str:
        return f"{self.identity}/{self.name}"

    def _kept_whole(self) -> Path | None:
        folder = self.cache.known(self._whole_key)
        return None if folder is None else folder / PurePosixPath(self.name).name

    def _fill(self, folder: Path) -> None:
        fetch_whole(self.address, folder / PurePosixPath(self.name).name)

    def _download(self, partial: Path, start: int, stop: int) -> None:
        if (start, stop) == (0, self.size_bytes):
            fetch_whole(self.address, partial)
        else:
            download(self.address, partial, start, stop)


def listing_of(ref: ModelRef, cache: Cache) -> Listing:
    """Every file of that commit, as far as a model can consist of it. Raises RegistryError if the Hub will not tell."""

    def fetch(partial: Path) -> None:
        partial.write_text(json.dumps([[a.name, a.size_bytes, a.etag] for a in _asked(ref)]), encoding="utf-8")

    key = f"{endpoint()} listing {ref}"
    try:
        listed = json.loads(cache.file(key, fetch).read_text(encoding="utf-8"))
    except (ValueError, FileNotFoundError):  # cut off by a power cut, or removed in this very moment
        cache.forget(key)
        listed = json.loads(cache.file(key, fetch).read_text(encoding="utf-8"))
    return {name: Address(ref.name, ref.revision or "", name, size, etag) for name, size, etag in listed}


def described(ref: ModelRef, listing: Listing, names: Sequence[str], cache: Cache) -> Path:
    """A folder with those of `names` that the commit has. Raises RegistryError if they cannot be fetched."""

    def fill(folder: Path) -> None:
        home = folder / ref.name
        home.mkdir(parents=True)
        for address in (listing[name] for name in names if name in listing):
            if address.size_bytes > MAX_DESCRIBING_BYTES:
                raise RegistryError(f"{address}: has {address.size_bytes} bytes; do not load this model")
            fetch_whole(address, home / address.name)

    return cache.folder_of(_described_key(ref, names), fill) / ref.name


def weights_of(ref: ModelRef, listing: Listing, cache: Cache) -> dict[str, RemoteFile]:
    """The files that hold weights, or may."""
    beside = _described_key(ref, DESCRIBING)
    return {
        name: HubFile(f"{endpoint()} {address.etag or address}", address, cache, beside)
        for name, address in listing.items()
        if PurePosixPath(name).suffix.lower() in _WEIGHTS
    }


def _described_key(ref: ModelRef, names: Sequence[str]) -> str:
    return f"{endpoint()} {' '.join(names)} of {ref}"


def fetch_whole(address: Address, target: Path) -> None:
    """Write the file to `target`. Raises RegistryError if it cannot be had or is not what the Hub lists."""
    local = in_client_cache(address)
    if local is not None:
        shutil.copyfile(local, target)
        return
    download(address, target, 0, address.size_bytes)
    if address.etag not in (None, _digest(target, address)):
        raise RegistryError(f"{address}: its content does not match the digest that the Hub lists; audit again")


def in_client_cache(address: Address) -> Path | None:
    """The file in the cache of the client, if it is there as a whole."""
    found = try_to_load_from_cache(address.repo, address.name, revision=address.commit)
    path = Path(found) if isinstance(found, str) else None
    return path if path is not None and path.stat().st_size == address.size_bytes else None


def client_snapshot(name: str, revision: str | None) -> Path | None:
    """The folder in the cache of the client with everything of that revision that is audited; None if it lacks some."""
    patterns = [*DESCRIBING, *(f"*{suffix}" for suffix in _WEIGHTS)]
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=patterns))
    except (LocalEntryNotFoundError, IncompleteSnapshotError, OSError, ValueError):
        return None


def _asked(ref: ModelRef) -> list[Address]:
    with asking(str(ref)):
        info = HfApi().model_info(ref.name, revision=ref.revision, files_metadata=True, timeout=TIMEOUT_S)
        if (found := reference(info)).revision != ref.revision:
            raise RegistryError(f"{ref}: the Hub answers with {found}; check HF_ENDPOINT")
        return [_address(ref, file) for file in info.siblings or [] if _is_of_model(ref, file.rfilename)]


def _is_of_model(ref: ModelRef, name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > 1024:
        raise RegistryError(f"{ref}: {printable(name[:200])} leads out of the model; do not load it")
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and (name in DESCRIBING or path.suffix.lower() in _WEIGHTS)


def _address(ref: ModelRef, file: RepoSibling) -> Address:
    size, etag = file.size, file.lfs.sha256 if file.lfs else file.blob_id
    if size is None:  # an endpoint that lists names only
        told = get_hf_file_metadata(hf_hub_url(ref.name, file.rfilename, revision=ref.revision), timeout=TIMEOUT_S)
        size, etag = told.size, told.etag
    if type(size) is not int or size < 0:
        raise ValueError("no size")
    return Address(ref.name, ref.revision or "", file.rfilename, size, etag if _is_digest(etag) else None)


def _is_digest(etag: object) -> bool:
    return isinstance(etag, str) and len(etag) in (40, 64) and set(etag) <= set("0123456789abcdef")


def _digest(path: Path, address: Address) -> str:
    """As git or Git LFS names the content, whichever the listed name is."""
    digest = hashlib.sha256()
    if len(address.etag or "") == 40:
        digest = hashlib.sha1(b"blob %d\0" % address.size_bytes, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
