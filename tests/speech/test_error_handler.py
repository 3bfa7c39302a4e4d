"""Every error is handled once: logged, counted, told, and put into a sentence that its user may read."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from actors.speech.catalogue import CATALOGUE, Severity
from actors.speech.error_handler import CALLBACK_SECONDS, MOST_WAITING, ErrorContext, ErrorHandler, entry_of
from actors.speech.errors import BY_CODE, ConnectionFailed, SpeechError, StreamLost

pytestmark = pytest.mark.anyio


class House:
    """A handler, what it counted, and what it told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.told: list[ErrorContext] = []
        self.handler = ErrorHandler(self.registry, listener=self.told.append, clock=lambda: 1000.0)

    def count(self, code: str) -> float:
        labels = {"error_code": code, "severity": CATALOGUE[code].severity.value}
        return self.registry.get_sample_value("transcription_errors_total", labels) or 0.0

    @property
    def timed(self) -> float:
        return self.registry.get_sample_value("error_handling_duration_seconds_count") or 0.0


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize("code", CATALOGUE)
async def test_each_error_of_the_catalogue_is_logged_counted_and_told_as_its_row_says(
    code: str, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error, entry = BY_CODE[code]("a detail", endpoint="riva-a"), CATALOGUE[code]
    text = await house.handler.handle(error, ErrorContext(session_id="s1", user_id="u1", retry_attempt=2, ref="r1"))

    assert text == entry.message
    (record,) = caplog.records
    assert (record.levelno, record.name) == (entry.severity.log_level, "voxtree.errors")
    assert record.getMessage() == f"session s1: {code} {entry.name}: a detail, endpoint 'riva-a' (ref r1)"
    facts = ("session", "user", "endpoint", "attempt", "ref", "code", "severity", "event")
    assert [getattr(record, fact) for fact in facts] == [
        "s1", "u1", "riva-a", 2, "r1", code, entry.severity.value, "error",
    ]  # fmt: skip
    assert (house.count(code), house.timed) == (1, 1)
    assert house.told == [
        ErrorContext(
            session_id="s1",
            user_id="u1",
            endpoint="riva-a",
            error_code=code,
            severity=entry.severity,
            original_error=error,
            retry_attempt=2,
            ref="r1",
            when=1000.0,
        )
    ]


async def test_what_is_in_no_catalogue_is_a_defect_whose_text_its_user_never_reads(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    text = await house.handler.handle(ZeroDivisionError("/secret/path"))
    assert text == "An unexpected error occurred"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert (house.count("UNKNOWN"), house.told[0].severity) == (1, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EMFILE, "too many open files"), "SYS_002"),
        (MemoryError(), "SYS_002"),
        (OSError(errno.ENOENT, "no such file"), "UNKNOWN"),
        (StreamLost(), "RIVA_005"),
    ],
)
def test_what_the_machine_has_no_more_of_has_a_row_of_its_own(error: Exception, code: str) -> None:
    assert entry_of(error).code == code


async def test_an_error_is_handled_once_however_often_it_is_reported(house: House) -> None:
    error = StreamLost()
    for _ in range(2):
        assert house.handler.report(error) == StreamLost.entry.message
        assert await house.handler.handle(error, ErrorContext(session_id="s1")) == StreamLost.entry.message
    house.handler.report(StreamLost())
    assert (house.count("RIVA_005"), len(house.told)) == (2, 2)


async def test_two_handlers_do_not_share_what_they_have_handled(house: House) -> None:
    error, other = StreamLost(), House()
    house.handler.report(error)
    other.handler.report(error)
    assert (house.count("RIVA_005"), other.count("RIVA_005")) == (1, 1)


async def test_callbacks_are_called_by_class_by_base_class_and_by_code(house: House) -> None:
    called: list[str] = []

    def note(name: str) -> Callable[[BaseException, ErrorContext], None]:
        return lambda error, context: called.append(name)

    async def later(error: BaseException, context: ErrorContext) -> None:
        called.append(f"async {context.error_code}")

    for wanted in (ConnectionFailed, SpeechError, Exception, "RIVA_001", "RIVA_005", StreamLost):
        house.handler.register_callback(wanted, note(wanted if isinstance(wanted, str) else wanted.__name__))
    house.handler.register_callback("RIVA_001", later)
    await house.handler.handle(ConnectionFailed())
    assert called == ["ConnectionFailed", "SpeechError", "Exception", "RIVA_001", "async RIVA_001"]


async def test_a_code_that_does_not_exist_is_refused(house: House) -> None:
    with pytest.raises(ValueError, match="there is no error code 'RIVA_1'"):
        house.handler.register_callback("RIVA_1", lambda error, context: None)


async def test_a_callback_that_fails_hides_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []

    def fails(error: BaseException, context: ErrorContext) -> None:
        raise RuntimeError("no")

    async def fails_later(error: BaseException, context: ErrorContext) -> None:
        raise RuntimeError("no")

    for callback in (fails, fails_later, lambda error, context: called.append("last")):
        house.handler.register_callback(StreamLost, callback)
    assert await house.handler.handle(StreamLost()) == StreamLost.entry.message
    assert (called, house.count("RIVA_005")) == (["last"], 1)
    assert sum("failed on RIVA_005" in record.getMessage() for record in caplog.records) == 2


async def test_a_callback_that_does_not_end_is_waited_for_only_so_long(house: House) -> None:
    async def never(error: BaseException, context: ErrorContext) -> None:
        await anyio.sleep_forever()

    house.handler.register_callback(StreamLost, never)
    began = anyio.current_time()
    await house.handler.handle(StreamLost())
    assert anyio.current_time() - began == pytest.approx(CALLBACK_SECONDS)


async def test_what_is_reported_where_nobody_can_wait_is_awaited_by_the_handlers_own_task(house: House) -> None:
    called: list[float] = []

    async def slow(error: BaseException, context: ErrorContext) -> None:
        await anyio.sleep(1)
        called.append(anyio.current_time())

    house.handler.register_callback(StreamLost, slow)
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        await tasks.start(house.handler.run)
        for _ in range(2):
            house.handler.report(StreamLost())
        await anyio.sleep(3)
        tasks.cancel_scope.cancel()
    assert [at - began for at in called] == pytest.approx([1, 2])


async def test_callbacks_that_nobody_awaits_are_bounded(house: House, caplog: pytest.LogCaptureFixture) -> None:
    called: list[int] = []

    async def note(error: BaseException, context: ErrorContext) -> None:
        called.append(context.retry_attempt)

    house.handler.register_callback(StreamLost, note)
    for number in range(MOST_WAITING + 2):
        house.handler.report(StreamLost(), ErrorContext(retry_attempt=number))
    async with anyio.create_task_group() as tasks:
        await tasks.start(house.handler.run)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    assert called == list(range(2, MOST_WAITING + 2))
    assert sum("left out" in record.getMessage() for record in caplog.records) == 2


@given(st.lists(st.tuples(st.sampled_from(sorted(CATALOGUE)), st.integers(0, 5))))
def test_the_counts_are_those_of_the_different_errors(reports: list[tuple[str, int]]) -> None:
    house, errors = House(), dict[tuple[str, int], SpeechError]()
    for code, number in reports:
        house.handler.report(errors.setdefault((code, number), BY_CODE[code]()))
    for code in CATALOGUE:
        assert house.count(code) == sum(each == code for each, _ in errors)
