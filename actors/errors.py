"""What can go wrong between actors. `ActorError` is the base of all of it."""

from __future__ import annotations


class ActorError(Exception):
    """Base of the errors this package raises."""


class MailboxFull(ActorError):
    """A mailbox had no room and its overflow rule did not make any. The message was not taken."""

    def __init__(self, name: str, capacity: int) -> None:
        super().__init__(f"the mailbox of actor {name!r} is full ({capacity} messages)")
        self.name = name
        self.capacity = capacity


class ActorGone(ActorError):
    """Nobody is there to take the message or to answer it, and as far as can be told nobody will be.

    Attributes:
        reason: what ended the actor (also this error's cause); None if it ended normally or was stopped.
    """

    def __init__(self, name: str, reason: BaseException | None = None) -> None:
        super().__init__(f"actor {name!r} is gone: {'it was stopped' if reason is None else repr(reason)}")
        self.name = name
        self.reason = reason
        self.__cause__ = reason


class AskTimeout(ActorError):
    """No answer came in time. The actor may still handle the message; its answer will be dropped."""

    def __init__(self, name: str, message: str, timeout: float) -> None:
        super().__init__(f"actor {name!r} did not answer {message} within {timeout:g} s")
        self.name = name
        self.message = message
        self.timeout = timeout


class UnhandledMessage(ActorError):
    """An actor got a message that none of its handlers takes: the sender's mistake, or the actor's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"actor {name!r} has no handler for {message}")
        self.name = name
        self.message = message


class InvalidTransition(ActorError):
    """A state machine got a message that its state has no handler for.

    Attributes:
        state: the name of the state.
    """

    def __init__(self, name: str, state: str, message: str) -> None:
        super().__init__(f"actor {name!r} has no handler for {message} in state {state}")
        self.name = name
        self.state = state
        self.message = message


class Postpone(ActorError):
    """Raised by a state machine's handler, this is no error: the message comes again after the next change of
    state, before all that came later."""


class CleanUpTimeout(ActorError):
    """An actor's `stopped` took too long and was cut off."""

    def __init__(self, name: str, limit: float) -> None:
        super().__init__(f"actor {name!r} did not finish its clean-up within {limit:g} s")
        self.name = name
        self.limit = limit


class NameTaken(ActorError):
    """The name is registered for another actor."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the name {name!r} is taken")
        self.name = name
