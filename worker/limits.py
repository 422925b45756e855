"""How long an audit may take on a worker."""

from __future__ import annotations

from registry_auditor.config import Settings

DEFAULT_TIMEOUT_S = 3600.0
"""For an analyzer, where the settings allow it any time: a worker must come back some day."""
OPENING_S = 900.0
"""For fetching both models, on top of what the analyzers may take."""
CLOSING_S = 60.0
"""For keeping what was found when the time is up."""


def time_limits(settings: Settings, steps: int) -> dict[str, float]:
    """The limits of one `run_audit`: the soft one ends the analyzer at work, the hard one the process."""
    soft_s = OPENING_S + steps * (settings.timeout_s or DEFAULT_TIMEOUT_S)
    return {"soft_time_limit": soft_s, "time_limit": soft_s + CLOSING_S}
