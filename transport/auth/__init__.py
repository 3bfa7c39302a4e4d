"""Who a client is: by a key of its own, or by a token that somebody else has signed for it."""

from transport.auth.authentication import Authentication

__all__ = ["Authentication"]
