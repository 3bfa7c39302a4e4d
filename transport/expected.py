"""The errors that people meet, as opposed to defects."""

from __future__ import annotations

from typing import ClassVar


class ExpectedError(Exception):
    """Something that whoever runs voxtree can act on. Its lines say what; they are shown as they are, no traceback.

    `exit_code` is the command line's: 2 when it could not even begin, 1 when it began and failed.
    """

    exit_code: ClassVar[int] = 2
