"""A small Hub on loopback: real HTTP, the endpoints that the client of the Hub calls, and the faults of a large one.

    with HubServer(tmp_path / "store") as hub:
        commit = hub.push("org/model", folder)
        subprocess.run(…, env={**os.environ, **hub.environment(tmp_path / "hf")})  # or, in this process:
        hub.reach(monkeypatch, tmp_path / "hf")

Large files are redirected to a store on another port, at addresses that are valid for one range, as the real one does.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

import pytest
from huggingface_hub import constants

from tests.registries.hub_http import Answer, Asked, serve
from tests.registries.hub_repos import Repo, kept


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate: int | None = None
    """Bytes after which the connection breaks."""
    alter: Callable[[Answer, Asked], Answer] | None = None
    """Another answer than the right one."""
    pause_s: float = 0


class HubServer:
    """Models by name; `push` makes a commit, `requests` and `bytes_sent` tell what was asked for."""

    def __init__(self, store: Path) -> None:
        """Contents are kept in `store`."""
        self.store = store
        self.repos: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}
        self.requests: list[Asked] = []
        self.bytes_sent = 0
        self.n_connections = 0
        self.page = 3
        self._faults: list[tuple[str, Iterator[Fault]]] = []
        self._hooks: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.store.mkdir(parents=True, exist_ok=True)
        self._hub, self._cdn = (serve(self._answer, self._count, host=host) for host in ("hub", "cdn"))
        self.url, self.cdn_url = self._hub.url, self._cdn.url
        return self

    def __exit__(self, *error: object) -> None:
        for served in (self._hub, self._cdn):
            served.stop()

    def push(self, name: str, folder: Path, *, at: datetime | None = None, branch: str = "main") -> str:
        """Commit what `folder` holds as the new state of `name`; the commit. Webhooks are sent afterwards."""
        repo = self.repos.setdefault(name, Repo(name))
        files = {
            path.relative_to(folder).as_posix(): kept(path, self.store)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        before = repo.refs.get(branch, "0" * 40)
        told = json.dumps([name, before, len(repo.commits), {path: file.sha256 for path, file in files.items()}])
        commit = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        repo.commits[commit] = files
        repo.refs[branch] = commit
        repo.head = repo.refs.get("main", commit)
        repo.modified = at or datetime.now(UTC)
        for url, secret in self._hooks:
            self._tell(url, secret, repo, f"refs/heads/{branch}", before)
        return commit

    def environment(self, home: Path) -> dict[str, str]:
        """With these variables, another process asks this Hub, and keeps what its client caches in `home`."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_TOKEN": ""}

    def reach(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        """The client in this process, which read its environment when it was imported, asks this Hub from here on."""
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        template = f"{self.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.delenv("HF_TOKEN", raising=False)

    def remove(self, name: str) -> None:
        """Afterwards nobody has heard of `name`."""
        del self.repos[name]

    def rename(self, old: str, new: str) -> None:
        """Afterwards `old` redirects to `new`."""
        self.repos[new] = replace(self.repos.pop(old), name=new)
        self.renamed[old] = new

    def gate(self, name: str, *admitted: str) -> None:
        """Afterwards only these tokens get the files of `name`."""
        self.repos[name].gated, self.repos[name].admitted = "manual", frozenset(admitted)

    def webhook(self, url: str, secret: str) -> None:
        """Call `url` after every push."""
        self._hooks.append((url, secret))

    def misbehave(self, where: str, *faults: Fault) -> None:
        """The next requests to paths that match the pattern `where` go wrong, one fault each; afterwards none does."""
        self._faults.append((where, iter(faults)))

    def always(self, where: str, fault: Fault) -> None:
        """Every request to a path that matches `where` goes wrong."""
        self._faults.append((where, itertools.repeat(fault)))

    def answer_of(self, target: str) -> Answer:
        """What a request without parameters and token is told."""
        return self._right(Asked("hub", "GET", target, None, None))

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()

    def forget(self) -> None:
        """Count requests and bytes from here on."""
        self.requests.clear()
        self.bytes_sent = self.n_connections = 0

    def _count(self, n_bytes: int, n_connections: int) -> None:
        with self._lock:
            self.bytes_sent += n_bytes
            self.n_connections += n_connections

    def _answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.requests.append(asked)
            fault = next((fault for where, faults in self._faults if fnmatch(f"{asked.host}{asked.path}", where)
                          for fault in itertools.islice(faults, 1)), None)  # fmt: skip
        if fault is None:
            return self._right(asked)
        if fault.status is not None:
            return Answer(fault.status, b'{"error": "out of order"}', fault.headers, pause_s=fault.pause_s)
        answer = self._right(asked)
        answer = fault.alter(answer, asked) if fault.alter else answer
        return replace(answer, truncate=fault.truncate, pause_s=fault.pause_s)

    def _right(self, asked: Asked) -> Answer:
        if asked.host == "cdn":
            return self._stored(asked)
        parts = asked.path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._listed(asked) if len(parts) == 2 else self._described(asked, parts[2:])
        if "resolve" in parts:
            cut = parts.index("resolve")
            return self._resolved(asked, "/".join(parts[:cut]), parts[cut + 1], "/".join(parts[cut + 2 :]))
        return _error(404, "EntryNotFound")

    def _listed(self, asked: Asked) -> Answer:
        """`/api/models`: newest first, page by page."""
        query = asked.query
        (author,) = query.get("author", [""])
        chosen = [
            repo
            for repo in self.repos.values()
            if repo.name.startswith(f"{author}/" if author else "")
            and not repo.private
            and all(tag in repo.tags for tag in query.get("filter", []))
        ]
        assert query.get("sort") == ["lastModified"], "the other orders are not known here"
        chosen.sort(key=lambda repo: repo.modified, reverse=True)
        start, page = int(query.get("cursor", ["0"])[0]), min(self.page, int(query.get("limit", ["1000"])[0]))
        shown = [repo.facts(repo.head, query.get("expand")) for repo in chosen[start : start + page]]
        following = asked.again(cursor=str(start + page))
        more = {"Link": f'<{self.url}{following}>; rel="next"'} if start + page < len(chosen) else {}
        return Answer(200, json.dumps(shown).encode(), more)

    def _described(self, asked: Asked, parts: list[str]) -> Answer:
        """`/api/models/ORG/NAME[/revision/REV | /tree/REV | /auth-check]`."""
        name, rest = "/".join(parts[:2]), parts[2:]
        if len(parts) == 1 or (len(parts) == 3 and parts[1] == "revision"):
            name, rest = parts[0], parts[1:]
        if name in self.renamed:
            return Answer(307, b"", {"Location": asked.target.replace(name, self.renamed[name], 1)})
        repo = self.repos.get(name)
        if repo is None or (repo.private and asked.token not in repo.admitted):
            return _error(401 if asked.token is None else 404, "RepoNotFound")
        if rest == ["auth-check"]:
            return self._locked(repo, asked) or Answer(200, b"{}")
        commit = repo.commit(rest[1] if rest[1:] else "main")
        if commit is None:
            return _error(404, "RevisionNotFound")
        if rest[:1] == ["tree"]:
            return Answer(200, json.dumps([file.as_leaf(path) for path, file in repo.commits[commit].items()]).encode())
        facts = repo.facts(commit, asked.query.get("expand"))
        if asked.query.get("blobs"):
            facts["siblings"] = [file.as_sibling(path) for path, file in repo.commits[commit].items()]
        return Answer(200, json.dumps(facts).encode())

    def _resolved(self, asked: Asked, name: str, revision: str, path: str) -> Answer:
        """`/ORG/NAME/resolve/REV/FILE`: the file, or where it is stored."""
        if name in self.renamed:
            return Answer(307, b"", {"Location": asked.target.replace(name, self.renamed[name], 1)})
        repo = self.repos.get(name)
        if repo is None or (repo.private and asked.token not in repo.admitted):
            return _error(401 if asked.token is None else 404, "RepoNotFound")
        if locked := self._locked(repo, asked):
            return locked
        commit = repo.commit(revision)
        if commit is None:
            return _error(404, "RevisionNotFound")
        file = repo.commits[commit].get(path)
        if file is None:
            return _error(404, "EntryNotFound", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if file.stored:
            linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
            signed = f"{self.cdn_url}/{file.sha256}?range={asked.range or 'whole'}"
            return Answer(302, b"", {**headers, **linked, "Location": signed})
        return asked.part(file.content, {**headers, "ETag": f'"{file.blob}"'})

    def _stored(self, asked: Asked) -> Answer:
        path = self.store / asked.path.strip("/")
        if asked.query["range"] != [asked.range or "whole"]:
            return Answer(403, b"<Error>the signature is for another range</Error>")
        return asked.part(path, {"ETag": '"of-the-store"', "Accept-Ranges": "bytes"})

    def _locked(self, repo: Repo, asked: Asked) -> Answer | None:
        if repo.disabled:
            return _error(403, "", {"X-Error-Message": "Access to this resource is disabled."})
        if repo.gated and asked.token not in repo.admitted:
            return _error(401 if asked.token is None else 403, "GatedRepo")
        return None

    def _tell(self, url: str, secret: str, repo: Repo, ref: str, before: str) -> None:
        body = {
            "event": {"action": "update", "scope": "repo.content"},
            "repo": {"type": "model", "name": repo.name, "id": repo.name, "private": repo.private,
                     "headSha": repo.head, "url": {"web": f"{self.url}/{repo.name}"}},
            "updatedRefs": [{"ref": ref, "oldSha": before, "newSha": repo.refs[ref.removeprefix("refs/heads/")]}],
            "webhook": {"id": "hook", "version": 3},
        }  # fmt: skip
        headers = {"Content-Type": "application/json", "X-Webhook-Secret": secret}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, b"{}", {**({"X-Error-Code": code} if code else {}), **(headers or {})})
