"""Encryption for clients: the server's certificate, and that it may be replaced while the server runs."""

from transport.tls.certificate import Certificate

__all__ = ["Certificate"]
