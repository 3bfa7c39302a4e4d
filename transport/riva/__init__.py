"""NVIDIA Riva over gRPC as a backend of speech sessions."""

from transport.riva.channel import Endpoint
from transport.riva.client import RivaBackend
from transport.riva.preflight import Model, Models
from transport.riva.stream import RivaStream

__all__ = ["Endpoint", "Model", "Models", "RivaBackend", "RivaStream"]
