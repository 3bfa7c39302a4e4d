"""The server's certificate and its key, as every door uses them."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
import grpc
from cryptography import x509

from transport.clients import Life
from transport.layers import SettingsError
from transport.settings import Tls

logger = logging.getLogger("voxtree.tls")

CHECK_SECONDS = 10.0  # between two looks at the files; certificates are renewed weeks ahead


class Pair(NamedTuple):
    """What the files hold: a certificate with its chain, its key, and the authorities of clients, as PEM."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    @property
    def expires_at(self) -> float:
        """Seconds since 1970."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc.timestamp()


class Certificate:
    """A certificate that is used for new connections as soon as its files have it; those that exist live on.

    A pair is tried before it is used: files that do not fit each other, or are only half written, change nothing.

    Args:
        wanted: with both of its files.
        on_refused: told when `run` has found files that cannot be used.

    Attributes:
        context: for servers; always the same, with the pair that holds now.

    Raises:
        SettingsError: the files cannot be used.
    """

    def __init__(self, wanted: Tls, *, on_refused: Callable[[SettingsError], None] = lambda error: None) -> None:
        assert wanted.cert_file is not None
        assert wanted.key_file is not None
        self._cert_file = Path(wanted.cert_file).expanduser()
        self._key_file = Path(wanted.key_file).expanduser()
        self._client_ca_file = None if wanted.client_ca_file is None else Path(wanted.client_ca_file).expanduser()
        self._on_refused = on_refused
        self._pair = self._read()
        self._seen = self._stamps()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._use(self.context)

    def expires_in(self) -> float:
        """Seconds until it is not valid any more; below 0, it is not."""
        return self._pair.expires_at - time.time()

    def reload(self) -> None:
        """Use what the files have now for whoever connects from now on.

        Raises:
            SettingsError: it cannot be used; all goes on as before.
        """
        self._seen = self._stamps()
        pair = self._read()
        if pair == self._pair:
            return
        self._pair = pair
        self._use(self.context)
        text = "another certificate is in use; it is valid for %.0f days"
        logger.info(text, self.expires_in() / 86400, extra={"event": "tls.certificate_replaced"})

    async def run(self, *, task_status: Life) -> None:
        """A supervised child: look at the files now and then."""
        task_status.started()
        while True:
            await anyio.sleep(CHECK_SECONDS)
            if await anyio.to_thread.run_sync(self._stamps) != self._seen:
                try:
                    self.reload()
                except SettingsError as error:
                    self._on_refused(error)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For gRPC, which asks at each handshake for what holds then."""
        given = self._pair

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            if self._pair is given:
                return None
            given = self._pair
            return _for_grpc(given)

        return grpc.dynamic_ssl_server_credentials(_for_grpc(given), renewed, self._client_ca_file is not None)

    def _use(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert_file, self._key_file, password=_no_password)
        if self._client_ca_file is not None:
            context.load_verify_locations(self._client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED

    def _read(self) -> Pair:
        """What the files have, which is a pair that works."""
        try:
            self._use(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            ca = None if self._client_ca_file is None else self._client_ca_file.read_bytes()
            pair = Pair(self._cert_file.read_bytes(), self._key_file.read_bytes(), ca)
            _ = pair.expires_at
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            files = ", ".join(str(each) for each in self._files())
            raise SettingsError(f"tls: {files} cannot be used: {reason}") from None
        return pair

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(file) for file in self._files())

    def _files(self) -> tuple[Path, ...]:
        return (self._cert_file, self._key_file, *([] if self._client_ca_file is None else [self._client_ca_file]))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written, or another one takes its place; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _for_grpc(pair: Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], pair.client_ca)


def _no_password() -> str:
    raise ValueError("the key is encrypted; give it without a passphrase")
