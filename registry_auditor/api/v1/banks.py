"""Direction banks: the files that hold the vectors."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any

from fastapi import Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from registry_auditor.api.v1.etags import IfNoneMatch, is_known
from registry_auditor.api.v1.given import READS, Kept, Paging, Plain, answer
from registry_auditor.api.v1.routing import routes_of
from registry_auditor.api.v1.shapes import Items, Moment, Shape
from registry_auditor.report import answers
from registry_auditor.report.records import Json

routes = routes_of("directions", dependencies=READS)

FOR_EVER = "private, max-age=31536000, immutable"
"""The address holds the digest: other bytes have another address."""
MEDIA_TYPE = "application/octet-stream"

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class Bank(Shape):
    """A safetensors file with `vectors`, `strength` and `residual`, one row a direction."""

    sha256: str
    basis: str = Field(description="Digest of the base: vectors of one basis can be compared.")
    dimension: int
    directions: int
    size_bytes: int
    created_at: Moment


@routes.get("/direction-banks", response_model=Items[Bank])
def list_banks(
    store: Kept, page: Paging, basis: Annotated[str | None, Query(min_length=1, max_length=500, pattern=Plain)] = None
) -> Json:
    """Direction banks by name; only those of one basis."""
    return answer(store.banks.list(basis=basis, **page.place), answers.bank_file)


FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}, "description": "The file."},
    304: {"description": "It is what the client has."},
}


@routes.get("/direction-banks/{sha256}", response_class=StreamingResponse, responses=FILE)
def get_bank(store: Kept, sha256: Sha256, if_none_match: IfNoneMatch = None) -> Response:
    """The file of a bank, in the safetensors format. It never changes."""
    banks = store.banks
    file = banks.get(sha256)
    headers = {"etag": f'"{sha256}"', "cache-control": FOR_EVER}
    if is_known(if_none_match, sha256):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content = _begun(banks.chunks(sha256))
    named = {"content-disposition": f'attachment; filename="{sha256[:12]}.safetensors"'}
    headers |= named | {"content-length": str(file.size_bytes)}
    return StreamingResponse(content, media_type=MEDIA_TYPE, headers=headers)


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """`chunks`, of which the first is there: what is wrong with the file is known before the answer begins."""
    return chain([next(chunks)], chunks)
