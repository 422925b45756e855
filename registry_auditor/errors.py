"""Everything that can go wrong, as one tree.

    AuditorError                     exit 2: something outside the models failed
    ├── UsageError                   exit 4: the command line or a configuration is wrong
    │   ├── NotFound                 no audit, finding or bank has this id, or more than one does
    │   └── Conflict                 it is not in a state for that, or an idempotency key was used for something else
    ├── RegistryError                a registry has no such model, or will not give it
    │   └── RegistryUnavailable      it cannot be reached now, or asks to wait: later may succeed
    ├── WeightsError                 a snapshot is broken, hostile or not understood
    │   ├── Unfinished               a file or shard is missing or ends too early: still being written, or broken off
    │   ├── TensorError              one tensor of it is; the others may be fine
    │   └── UnsupportedFormat        a format that is recognised and not read
    ├── StoreError                   the database or the bank files cannot be used
    │   └── SchemaMismatch           the database is older or newer than the code
    ├── NotApplicable                an analyzer has nothing to say about this subject: its run is `skipped`
    └── DeadlineExceeded             a run used up its time: `timed_out`

Messages name the thing, the cause and the remedy. Standard library only.
"""

from __future__ import annotations


class AuditorError(Exception):
    """Base of every error this package raises on purpose."""


class UsageError(AuditorError):
    """The command line, a setting or an analyzer parameter is wrong."""


class NotFound(UsageError):
    """No audit, finding or bank has this id, or more than one begins with it."""


class Conflict(UsageError):
    """What it is asked of is not in a state for that, or an idempotency key was used for another request."""


class RegistryError(AuditorError):
    """A registry has no such model, or will not give it."""


class RegistryUnavailable(RegistryError):
    """A registry cannot be reached now, or asks to wait; the same request may succeed later."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Keep how long the registry asks to wait, if it says so."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class WeightsError(AuditorError):
    """A snapshot is broken, hostile or not understood."""


class Unfinished(WeightsError):
    """A file or shard is missing or ends too early: it is still being written, or was broken off."""


class TensorError(WeightsError):
    """One tensor is missing, truncated, non-finite or of the wrong shape; the rest of the snapshot may be fine."""

    def __init__(self, tensor: str, why: str) -> None:
        """Keep `tensor` and `why` apart, so that the pair can become a coverage entry."""
        super().__init__(f"{tensor}: {why}")
        self.tensor = tensor
        self.why = why


class UnsupportedFormat(WeightsError):
    """The format is recognised, and this version does not read it."""


class StoreError(AuditorError):
    """The database or the bank files cannot be used."""


class SchemaMismatch(StoreError):
    """The database schema is older or newer than the code."""


class NotApplicable(AuditorError):
    """Raised by an analyzer that has nothing to say about this subject; its run is recorded as skipped."""


class DeadlineExceeded(AuditorError):
    """The time allowed for a run is used up; what was found so far is kept."""
