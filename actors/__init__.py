"""Actors: objects that own their state, take one message at a time, and are run by a supervisor.

class Greet(Message[str], frozen=True):
    name: str

class Greeter(Actor[Greet]):
    @handler
    def on_greet(self, message: Greet) -> str:
        return f"hello, {message.name}"

async with Supervisor([actor_child("greeter", Greeter)]) as tree:
    answer = await tree.value("greeter").ask(Greet("world"))

Helpers for tests of actors are in `actors.testing`.
"""

from actors.address import Ref
from actors.base import Actor, handler
from actors.dead_letters import DeadLetter, DeadLetters, Lost
from actors.errors import (
    ActorError,
    ActorGone,
    AskTimeout,
    CleanUpTimeout,
    InvalidTransition,
    MailboxFull,
    NameTaken,
    Postpone,
    UnhandledMessage,
)
from actors.hosting import actor_child
from actors.machine import StateMachine
from actors.mailbox import Mailbox, Overflow
from actors.messages import Message
from actors.monitors import Down, Monitor
from actors.registry import Registration, Registry
from actors.states import entering, in_state, timed_out
from actors.timers import Timer
from actors.topics import Subscription, Topic

__all__ = [
    "Actor",
    "ActorError",
    "ActorGone",
    "AskTimeout",
    "CleanUpTimeout",
    "DeadLetter",
    "DeadLetters",
    "Down",
    "InvalidTransition",
    "Lost",
    "Mailbox",
    "MailboxFull",
    "Message",
    "Monitor",
    "NameTaken",
    "Overflow",
    "Postpone",
    "Ref",
    "Registration",
    "Registry",
    "StateMachine",
    "Subscription",
    "Timer",
    "Topic",
    "UnhandledMessage",
    "actor_child",
    "entering",
    "handler",
    "in_state",
    "timed_out",
]
