"""A client for the `voxtree.v1` protocol."""

from transport.client.session import ClientSession, SessionFailed, open_session

__all__ = ["ClientSession", "SessionFailed", "open_session"]
