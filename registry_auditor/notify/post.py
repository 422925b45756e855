"""One attempt to deliver a message: signed, to an address that was checked, in a time that no receiver can stretch."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version

import httpx2
from standardwebhooks import Webhook

from registry_auditor.notify.addresses import Refused, Resolve, reachable, resolve
from registry_auditor.notify.endpoint import Endpoint
from registry_auditor.notify.message import Message

TIMEOUT_S = 15.0
"""Source: Standard Webhooks 1.0.0, "Request timeouts": 15 to 30 seconds."""
CONNECT_TIMEOUT_S = 5.0
QUOTED_BYTES = 2048
"""How much of an answer is read at most; none of it if the message was accepted."""
QUOTED_CHARACTERS = 200
QUOTE_TIMEOUT_S = 1.0

LookUp = Callable[[Endpoint], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class Answer:
    """What became of one attempt."""

    status: int | None
    """None if there was no answer."""
    problem: str | None
    """None if the message was accepted."""
    retry_after_s: float | None = None
    """How long the receiver asks to wait."""


def post(
    parcels: Sequence[tuple[Endpoint, Message]], *, timeout_s: float = TIMEOUT_S, resolve: Resolve = resolve
) -> list[Answer]:
    """The answer to each message, all sent at once: one that hangs delays none of the others.

    Takes `timeout_s` at most, whatever a receiver or a name server does.
    """
    if not parcels:
        return []
    context = httpx2.create_ssl_context()
    threads = ThreadPoolExecutor(len(parcels), thread_name_prefix="resolver")

    async def look_up(endpoint: Endpoint) -> Sequence[str]:
        return await asyncio.get_running_loop().run_in_executor(threads, resolve, endpoint.host, endpoint.port)

    async def everything() -> list[Answer]:
        attempts = (_attempt(*parcel, timeout_s=timeout_s, look_up=look_up, context=context) for parcel in parcels)
        return await asyncio.gather(*attempts)

    try:
        return asyncio.run(everything())
    finally:
        threads.shutdown(wait=False)  # a look-up cannot be interrupted, only left behind


async def _attempt(
    endpoint: Endpoint, message: Message, *, timeout_s: float, look_up: LookUp, context: ssl.SSLContext
) -> Answer:
    try:
        # The limits of the client are for each read: a receiver that sends a byte a second would never meet them.
        async with asyncio.timeout(timeout_s):
            return await _first_answer(endpoint, message, await _addresses(endpoint, look_up), context)
    except TimeoutError:
        return Answer(None, f"{endpoint.host} did not answer within {timeout_s:g} s")
    except Refused as error:
        return Answer(None, str(error))
    except (httpx2.HTTPError, OSError) as error:
        return Answer(None, f"{endpoint.host}: {_printable(str(error)) or 'the connection broke'}")


async def _addresses(endpoint: Endpoint, look_up: LookUp) -> list[str]:
    """Where to connect to, first first. Raises Refused if that may not be, or is not known."""
    try:
        found = await look_up(endpoint)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{endpoint.host} cannot be resolved: {error}") from error
    return reachable(endpoint.host, found, allowed=endpoint.allowed, encrypted=endpoint.url.scheme == "https")


async def _first_answer(
    endpoint: Endpoint, message: Message, addresses: Sequence[str], context: ssl.SSLContext
) -> Answer:
    """From the first address that can be connected to. Raises httpx2.HTTPError if none can."""
    problem: httpx2.TransportError = httpx2.ConnectError("has no address")
    for address in addresses:
        try:
            return await _exchange(endpoint, message, address, context)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            problem = error
    raise problem


async def _exchange(endpoint: Endpoint, message: Message, address: str, context: ssl.SSLContext) -> Answer:
    url = endpoint.url.copy_with(host=address)
    headers = {"Host": endpoint.url.netloc.decode("ascii"), **_headers(endpoint, message, datetime.now(UTC))}
    timeout = httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S)
    # A client of its own: a connection is reused by address, and two names may share one. Nothing from the
    # environment: a proxy would look the name up again.
    async with (
        httpx2.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=timeout) as client,
        client.stream(
            "POST",
            url,
            content=message.body.encode("ascii"),
            headers=headers,
            extensions={"sni_hostname": endpoint.host},
        ) as response,
    ):
        if response.is_success:
            return Answer(response.status_code, None)
        return Answer(response.status_code, await _problem(response), _retry_after_s(response))


def _headers(endpoint: Endpoint, message: Message, now: datetime) -> dict[str, str]:
    signatures = (Webhook(key).sign(message.id, now, message.body) for key in endpoint.keys)
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"registry-auditor/{version('registry-auditor')}",
    }


async def _problem(response: httpx2.Response) -> str:
    if response.is_redirect:
        return f"answered {response.status_code}; redirects are not followed: put the final address into url"
    known = response.status_code in {status.value for status in HTTPStatus}
    phrase = f" {HTTPStatus(response.status_code).phrase}" if known else ""
    said = b""
    # What the status means must not be lost to a body that breaks off, or never comes.
    with suppress(httpx2.HTTPError, TimeoutError):
        async with asyncio.timeout(QUOTE_TIMEOUT_S):
            async for chunk in response.aiter_raw():
                said += chunk
                if len(said) >= QUOTED_BYTES:
                    break
    quoted = _printable(said[:QUOTED_BYTES].decode("utf-8", errors="replace"))
    return f"answered {response.status_code}{phrase}" + (f": {quoted}" if quoted else "")


def _printable(text: str) -> str:
    """A line that is safe on a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:QUOTED_CHARACTERS]


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds from now, of both forms that HTTP has."""
    if response.status_code not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
