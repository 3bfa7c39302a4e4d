"""What browsers are given: a client as one JavaScript module, and a page that uses it."""

from __future__ import annotations

from transport.web.site import File, site

__all__ = ["File", "site"]
