"""How the Hub is asked, and what its refusals mean: try later, ask for access, or there is none."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import HfApi, ModelInfo, get_session, hf_raise_for_status
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported lazily
    build_hf_headers,
    parse_ratelimit_headers,
    validate_repo_id,
)

from registry_auditor.domain import ModelRef
from registry_auditor.errors import RegistryError, RegistryUnavailable

TIMEOUT_S = 30.0
"""Without a byte; the Hub lists large repositories slowly."""
LONGEST_WAIT_S = 24 * 3600.0
"""No registry is believed that asks to wait longer."""
_LATER = frozenset({408, 425, 429})
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Unreachable(RegistryUnavailable):
    """There is no network, or nobody answers at that address."""


class Absent(RegistryError):
    """The Hub has no such model, or does not show it to us."""


def endpoint() -> str:
    """The address of the Hub: `HF_ENDPOINT`, or huggingface.co."""
    return HfApi().endpoint


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Errors of the client and of the network become ours, about `what`.

    Raises RegistryUnavailable for what may succeed later, Unreachable if nobody answers, Absent if there is no such
    model or revision, RegistryError for everything else that is refused.
    """
    try:
        yield
    except HfHubHTTPError as error:
        raise refusal(what, error) from error
    except HFValidationError as error:
        raise Absent(f"{what}: is no name of a model ({_first_line(error)}); pass hf:org/name") from error
    except OfflineModeIsEnabled as error:
        raise Unreachable(f"{what}: the Hub may not be asked, since HF_HUB_OFFLINE is set; unset it") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, ConnectionError, TimeoutError) as error:
        reason = f"{what}: the Hub cannot be reached at {endpoint()} ({_first_line(error)})"
        raise Unreachable(f"{reason}; check the network and HF_ENDPOINT") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(
            f"{what}: {endpoint()} gives no answer of a Hub ({type(error).__name__}); check HF_ENDPOINT"
        ) from error


def refusal(what: str, error: HfHubHTTPError) -> RegistryError:
    """What the error of a response means, with the remedy."""
    status = error.response.status_code
    if status in _LATER or status >= 500:
        told = "asks to wait" if status == 429 else f"answers {status}"
        return RegistryUnavailable(f"{what}: the Hub {told}; try again later", retry_after_s=retry_after_s(error))
    if status == 416:
        return RegistryError(f"{what}: is shorter than the Hub lists it; audit again")
    if isinstance(error, GatedRepoError):
        return RegistryError(
            f"{what}: its authors let in whom they choose; ask for access on its page of {endpoint()} and set HF_TOKEN"
        )
    if isinstance(error, DisabledRepoError):
        return RegistryError(f"{what}: was disabled by the Hub; there is nothing to audit")
    if isinstance(error, RevisionNotFoundError):
        return Absent(f"{what}: there is no such revision; check its name")
    if isinstance(error, RepositoryNotFoundError) or status in (404, 410):
        return Absent(f"{what}: there is no such model, or it is private; check the name and HF_TOKEN")
    return RegistryError(f"{what}: {_first_line(error)}; check HF_TOKEN and what it gives access to")


def retry_after_s(error: HfHubHTTPError) -> float | None:
    """How long the response asks to wait."""
    headers = error.response.headers
    limit = parse_ratelimit_headers(headers) if error.response.status_code == 429 else None
    if limit is not None and limit.remaining == 0:
        return min(float(limit.reset_in_seconds), LONGEST_WAIT_S)
    stated = headers.get("Retry-After", "").strip()
    if stated.isdigit():
        return min(float(stated), LONGEST_WAIT_S)
    try:
        moment = email.utils.parsedate_to_datetime(stated)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_WAIT_S)


def listed(parameters: Mapping[str, Any]) -> Iterator[ModelInfo]:
    """The models that `/api/models` shows for `parameters`, page by page.

    `HfApi.list_models` asks the same, but sleeps for as long as a rate limit says, minutes as a rule; whoever watches
    several registries wants to hear of it instead. Raises the errors of the client.
    """
    url: str | None = f"{endpoint()}/api/models"
    query: Mapping[str, Any] | None = parameters
    while url is not None:
        response = get_session().get(url, params=query, headers=build_hf_headers(), timeout=TIMEOUT_S)
        hf_raise_for_status(response)
        for item in response.json():
            yield ModelInfo(**item)  # type: ignore[no-untyped-call]
        following = response.links.get("next", {}).get("url")
        url, query = urljoin(url, following) if following else None, None
        if url is not None and urlsplit(url)[:2] != urlsplit(endpoint())[:2]:
            raise RegistryError(f"{endpoint()}: the next page of its list lies on another host; check HF_ENDPOINT")


def reference(info: ModelInfo) -> ModelRef:
    """The model and commit in an answer of the Hub. Raises ValueError if they are none."""
    validate_repo_id(info.id)
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
        raise ValueError("no commit")
    return ModelRef("hf", info.id, info.sha)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
