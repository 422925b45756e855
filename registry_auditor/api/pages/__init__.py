"""Pages for people: rendered on the server, everything works without script."""

from registry_auditor.api.pages.routes import install

__all__ = ["install"]
