"""A model folder, opened: headers now, numbers when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry_auditor.domain import Gap, Side, Site
from registry_auditor.errors import WeightsError
from registry_auditor.weights import layout, quantized
from registry_auditor.weights.adapter import Adapter, read_adapter
from registry_auditor.weights.checkpoint import Raw
from registry_auditor.weights.facts import Facts, completed, facts
from registry_auditor.weights.files import Remote, is_adapter, raw_tensors
from registry_auditor.weights.folder import read_object
from registry_auditor.weights.matrix import Matrix

_OTHER_SIDE: Mapping[str, str] = {"embed": "unembed", "unembed": "embed"}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What one folder holds, normalised. Its files stay open until the context of `open_snapshot` ends."""

    path: Path
    config: Mapping[str, Any]
    """config.json, or nothing."""
    facts: Facts
    """What the configuration says about the layout."""
    matrices: Mapping[str, Matrix]
    """Every readable tensor by `site.tensor`, embeddings first, then by layer; vectors have one column.
    Of an adapter: the tensors that it replaces as a whole."""
    gaps: tuple[Gap, ...] = ()
    """What was recognised and cannot be read."""
    adapter_config: Mapping[str, Any] | None = None
    """adapter_config.json, if the folder is a PEFT adapter."""
    adapter: Adapter | None = None
    """What it changes."""

    def find(self, role: str) -> list[Matrix]:
        """All matrices with that role; a tied network stores one of its two embeddings, and has both here."""
        found = self._with_role(role)
        if not found and role in _OTHER_SIDE and self.facts.tied is not False:
            return [self._seen_as(role, matrix) for matrix in self._with_role(_OTHER_SIDE[role])]
        return found

    def _with_role(self, role: str) -> list[Matrix]:
        return [matrix for matrix in self.matrices.values() if matrix.site.role == role]

    def _seen_as(self, role: str, matrix: Matrix) -> Matrix:
        reads = role == "unembed"
        norm = next((each.site.tensor for each in self._with_role("final_norm")), None) if reads else None
        side = matrix.site.side and (Side.READS if reads else Side.WRITES)
        site = Site(matrix.site.tensor, None, role, side)
        return replace(matrix, site=site, stored_transposed=not reads, norm=norm)


@contextmanager
def open_snapshot(path: Path, *, remote: Remote | None = None) -> Iterator[Snapshot]:
    """The model or adapter in the folder `path`; only headers are read. Weights may lie in `remote` instead.

    Raises WeightsError if `path` is no folder, holds no weights, or holds files that are broken or hostile.
    A folder with nothing but weights of a format that is not read opens, empty, with gaps that say so.
    """
    if not path.is_dir():
        raise WeightsError(f"{path}: is no folder; name the folder that holds config.json and the weights")
    with ExitStack() as stack:
        yield _opened(path, remote or {}, stack)


def _opened(path: Path, remote: Remote, stack: ExitStack) -> Snapshot:
    config = read_object(path, "config.json") or {}
    raws, gaps = raw_tensors(path, stack, remote=remote)
    if is_adapter(path, remote):
        return _opened_adapter(path, config, raws, gaps)
    usable, quantised = quantized.readable(raws, config)
    known = completed(facts(config), {name: raw.shape for name, raw in usable.items()})
    found, unread = layout.matrices(usable.values(), known)
    return Snapshot(path, config, known, found, (*gaps, *quantised, *unread))


def _opened_adapter(path: Path, config: dict[str, Any], raws: Mapping[str, Raw], gaps: list[Gap]) -> Snapshot:
    adapter_config = read_object(path, "adapter_config.json") or {}
    adapter = read_adapter(raws, adapter_config)
    known = replace(facts(config), tied=False)  # an unembedding in an adapter is a matrix of its own
    found, unread = layout.matrices(adapter.dense.values(), known)
    return Snapshot(path, config, known, found, (*gaps, *adapter.gaps, *unread), adapter_config, adapter)
