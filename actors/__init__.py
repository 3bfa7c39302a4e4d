"""Actors: objects that own their state, take one message at a time, and are run by a supervisor.

class Greet(Message[str], frozen=True):
    name: str

class Greeter(Actor[Greet]):
    @handler
    def on_greet(self, message: Greet) -> str:
        return f"hello, {message.name}"

async with Supervisor([actor_child("greeter", Greeter)]) as tree:
    answer = await tree.value("greeter").ask(Greet("world"))
"""

from actors.address import Ref
from actors.base import Actor, handler
from actors.errors import (
    ActorError,
    ActorGone,
    AskTimeout,
    CleanUpTimeout,
    MailboxFull,
    NameTaken,
    UnhandledMessage,
)
from actors.hosting import actor_child
from actors.mailbox import Mailbox, Overflow
from actors.messages import Message
from actors.monitors import Down, Monitor
from actors.registry import Registration, Registry

__all__ = [
    "Actor",
    "ActorError",
    "ActorGone",
    "AskTimeout",
    "CleanUpTimeout",
    "Down",
    "Mailbox",
    "MailboxFull",
    "Message",
    "Monitor",
    "NameTaken",
    "Overflow",
    "Ref",
    "Registration",
    "Registry",
    "UnhandledMessage",
    "actor_child",
    "handler",
]
