"""Bytes of one file of the Hub, by HTTP ranges: what arrives is what was asked for, or an error."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported lazily

from registry_auditor.errors import RegistryError, RegistryUnavailable
from registry_auditor.registries.hub_client import asking

WAITS_S = (0.2, 1.0, 3.0)
"""Before another attempt. A longer outage is the business of whoever asked, who can do something else meanwhile."""
TIMEOUT_S = 20.0
"""Without a byte."""
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Address:
    """One file at one commit."""

    repo: str
    commit: str
    name: str
    size_bytes: int
    etag: str | None = None
    """The sha256 or git blob id of its content, which the Hub gives as its ETag."""

    def __str__(self) -> str:
        return f"hf:{self.repo}@{self.commit[:12]}: {self.name}"


class RangesIgnored(Exception):
    """The server answers with the whole file, whichever part is asked for."""


def download(address: Address, target: Path, start: int, stop: int) -> None:
    """Write the bytes `start` to `stop` (excluded) of a file to `target`; a transfer that breaks is taken up again.

    Raises RangesIgnored if a part was wanted and cannot be had alone, RegistryUnavailable if attempts are of no avail
    or the Hub asks to wait, RegistryError if it refuses, or sends what it was not asked for.
    """
    with target.open("wb") as file:
        waits = iter(WAITS_S)
        while file.tell() < stop - start:
            before = file.tell()
            try:
                with asking(str(address)):
                    _append(address, file, start + before, stop, whole=(start, stop) == (0, address.size_bytes))
            except RegistryUnavailable as error:
                if file.tell() > before:  # it goes on, if slowly
                    waits = iter(WAITS_S)
                pause_s, asked_s = next(waits, None), error.retry_after_s or 0.0
                if pause_s is None or asked_s > max(WAITS_S):
                    raise
                time.sleep(max(pause_s, asked_s))


def _append(address: Address, file: BinaryIO, start: int, stop: int, *, whole: bool) -> None:
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if not whole or start:
        headers["Range"] = f"bytes={start}-{stop - 1}"
    url = hf_hub_url(address.repo, address.name, revision=address.commit)
    # Every range asks the Hub anew: the address of the store that it redirects to is signed for one range. The
    # client passes the range on, and not the token if that is another host.
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as response:
        hf_raise_for_status(response)
        if response.status_code == 200 and start and whole:
            file.seek(0)
            file.truncate()
            start = 0
        _check(address, response, start, stop, whole=whole)
        _receive(address, response, file, stop - start)


def _check(address: Address, response: httpx2.Response, start: int, stop: int, *, whole: bool) -> None:
    """Raise unless the response is that part of that file."""
    for hop in (*response.history, response):
        commit = hop.headers.get("X-Repo-Commit")
        if commit not in (None, address.commit):
            raise RegistryError(f"{address}: the Hub sends it from another commit, {commit}; audit again")
    # The store that a redirect leads to has ETags of its own; those of the Hub are digests of the content.
    first = (*response.history, response)[0].headers
    etag = first.get("X-Linked-Etag") or (None if response.history else first.get("ETag"))
    told = _DIGEST.fullmatch((etag or "").removeprefix("W/").strip('"'))
    if told and address.etag and told[0] != address.etag:
        raise RegistryError(f"{address}: the Hub sends another content ({told[0][:12]}…) than it lists; audit again")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RegistryError(f"{address}: arrives compressed, which was not asked for; check HF_ENDPOINT and proxies")
    if response.status_code == 200:
        if not whole:
            raise RangesIgnored
        return
    said = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != 206 or said is None:
        raise RegistryError(f"{address}: answers {response.status_code} to a range; check HF_ENDPOINT and proxies")
    if (int(said[1]), int(said[3])) != (start, address.size_bytes) or int(said[2]) >= stop:
        raise RegistryError(
            f"{address}: bytes {start} to {stop} of {address.size_bytes} were asked for, "
            f"{said[0].removeprefix('bytes ')} arrives; check HF_ENDPOINT and proxies"
        )


def _receive(address: Address, response: httpx2.Response, file: BinaryIO, wanted: int) -> None:
    received = 0
    for chunk in response.iter_raw():  # in chunks of a size, it would lose the last one of a broken transfer
        received += len(chunk)
        if received > wanted:
            raise RegistryError(f"{address}: more bytes arrive than were asked for; check HF_ENDPOINT and proxies")
        file.write(chunk)
    if received < wanted:
        raise RegistryUnavailable(f"{address}: broke off, {wanted - received} bytes are missing; try again later")
