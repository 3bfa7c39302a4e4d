"""Settings: what wins, what is refused and in which words, and that secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.ports import Tier
from transport.layers import Setting, SettingsError, check, from_option
from transport.riva.channel import Endpoint
from transport.settings import Embedded, Inject, Log, Server, Session, Settings, load


def write(folder: Path, text: str) -> Path:
    path = folder / "voxtree.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(
    config: Path | None = None, options: list[str] | None = None, environ: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(config, [from_option(text) for text in options or []], environ or {})
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_without_any_layer_everything_is_at_its_default() -> None:
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.sources.keys() >= {"server.port", "session.log_seconds", "backends", "log.format"}


def test_options_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    config = write(
        tmp_path, "[server]\nhost = '0.0.0.0'\nport = 1\nshutdown_timeout = 1\n[auth]\nallow_public = true\n"
    )
    environ = {"VOXTREE__SERVER__PORT": "2", "VOXTREE__SERVER__SHUTDOWN_TIMEOUT": "2"}
    loaded = load(config, [from_option("server.port=3")], environ)
    assert loaded.settings.server == Server(host="0.0.0.0", port=3, shutdown_timeout=2.0)
    assert {path: loaded.sources[f"server.{path}"] for path in ("host", "port", "shutdown_timeout", "origins")} == {
        "host": str(config),
        "port": "--set",
        "shutdown_timeout": "VOXTREE__SERVER__SHUTDOWN_TIMEOUT",
        "origins": "default",
    }


def test_a_later_option_wins_over_an_earlier_one() -> None:
    options = [from_option("log.level=debug"), from_option("log.level=error")]
    assert load(options=options, environ={}).settings.log == Log(level="error")


def test_the_environment_names_the_file_unless_the_command_line_does(tmp_path: Path) -> None:
    named = write(tmp_path, "[server]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 2\n")
    environ = {"VOXTREE_CONFIG": str(named)}
    assert load(environ=environ).settings.server.port == 1
    assert load(other, environ=environ).settings.server.port == 2


def test_variables_are_read_in_any_case() -> None:
    assert load(environ={"voxtree__Server__port": "7"}).settings.server.port == 7


def test_other_variables_are_left_alone() -> None:
    environ = {"VOXTREE": "x", "VOXTREE__": "x", "VOXTREE_SERVER_PORT": "x", "PORT": "x"}
    assert load(environ=environ).settings == Settings()


def test_lists_are_written_with_commas_and_flags_as_words() -> None:
    environ = {"VOXTREE__SERVER__ORIGINS": "https://a.example, https://b.example", "VOXTREE__EMBEDDED__ENABLED": "true"}
    settings = load(environ=environ).settings
    assert settings.server.origins == ("https://a.example", "https://b.example")
    assert settings.embedded.enabled is True


def test_a_backend_can_be_configured_without_a_file() -> None:
    environ = {
        "VOXTREE__BACKENDS__0__NAME": "riva",
        "VOXTREE__BACKENDS__0__ADDRESS": "riva:50051",
        "VOXTREE__BACKENDS__0__METADATA__AUTHORIZATION": "Bearer k",
    }
    assert load(environ=environ).settings.backends == (
        Endpoint(name="riva", address="riva:50051", metadata={"authorization": "Bearer k"}),
    )


def test_an_outer_layer_changes_one_value_of_a_backend_in_the_file(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        """
        [[backends]]
        name = "a"
        address = "a:1"
        [[backends]]
        name = "b"
        address = "b:1"
        tier = "fallback"
        """,
    )
    loaded = load(config, [from_option("backends.1.max_streams=5")], {})
    assert loaded.settings.backends == (
        Endpoint(name="a", address="a:1"),
        Endpoint(name="b", address="b:1", tier=Tier.FALLBACK, max_streams=5),
    )
    assert loaded.sources["backends.1.address"] == str(config)
    assert loaded.sources["backends.1.max_streams"] == "--set"


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("server.port=99999", "--set: server.port: expected int <= 65535, got \"99999\""),
        ("server.port=-1", "--set: server.port: expected int >= 0, got \"-1\""),
        ("server.port=http", "--set: server.port: expected int, got \"http\""),
        ("server.host=", "--set: server.host: expected str of length >= 1, got \"\""),
        ("server.prot=1", "--set: server.prot: unknown setting; did you mean port?"),
        ("sever.port=1", "--set: sever: unknown setting; did you mean server?"),
        ("zzz=1", "--set: zzz: unknown setting"),
        ("server=1", "--set: server: expected a table, got \"1\""),
        ("server.port.number=1", "--set: server.port: expected int, got a table"),
        ("session.idle_timeout=0", "--set: session.idle_timeout: expected float > 0.0, got \"0\""),
        ("session.max_sessions=0", "--set: session.max_sessions: expected int >= 1, got \"0\""),
        ("session.spool_seconds=-1", "--set: session.spool_seconds: expected float >= 0.0, got \"-1\""),
        ("journal.store=redis", "--set: journal.store: expected one of sqlite, memory, postgres, got \"redis\""),
        ("journal.store=postgres", "--set: journal: store = postgres takes a dsn or a dsn_file, and not both"),
        (
            "journal.text=encrypted",
            "--set: journal: text = encrypted takes a key_file; `voxtree journal keygen FILE` makes one",
        ),
        ("journal.dsn=", "--set: journal.dsn: expected str of length >= 1, got ********"),
        ("session.resume_window=0", "--set: session.resume_window: expected float > 0.0, got \"0\""),
        ("session.spool_dir=", "--set: session.spool_dir: expected str of length >= 1, got \"\""),
        ("cache.ttl=0", "--set: cache.ttl: expected float > 0.0, got \"0\""),
        ("cache.max_entries=0", "--set: cache.max_entries: expected int >= 1, got \"0\""),
        ("embedded.enabled=perhaps", "--set: embedded.enabled: expected true or false, got \"perhaps\""),
        ("log.format=xml", "--set: log.format: expected one of text, json, ecs, got \"xml\""),
        ("log.level=", "--set: log.level: expected one of debug, info, warning, error, got \"\""),
        ("backends=riva:50051", "--set: backends: expected a list of tables, got \"riva:50051\""),
        ("backends.1.name=x", "--set: backends.1: tables are counted from 0, the next one is 0"),
        ("inject.rates=RIVA_001", "--set: inject.rates: expected NAME:VALUE, or several with commas between them, got "
            "\"RIVA_001\""),
        ("inject.rates=RIVA_001:often", "--set: inject.rates.RIVA_001: expected float, got \"often\""),
        ("inject.rates=RIVA_001:1.5", "--set: inject.rates.RIVA_001: expected float <= 1.0, got \"1.5\""),
        ("inject.rates=RIVA_001:-1", "--set: inject.rates.RIVA_001: expected float >= 0.0, got \"-1\""),
        ("backends.first.name=x", "--set: backends.first: tables are counted from 0, the next one is 0"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_source_and_what_was_expected(option: str, problem: str) -> None:
    assert problems(options=[option]) == [problem]


def test_tables_are_written_with_commas_and_colons() -> None:
    given = " RIVA_001:0.01, AUDIO_003 : 1 ,"
    wanted = Inject(rates={"RIVA_001": 0.01, "AUDIO_003": 1.0})
    assert load(options=[from_option(f"inject.rates={given}")], environ={}).settings.inject == wanted
    assert load(environ={"VOXTREE__INJECT__RATES": given}).settings.inject == wanted
    assert load(options=[from_option("inject.rates=")], environ={}).settings.inject == Inject()


def test_what_cannot_be_injected_is_refused_with_what_can(tmp_path: Path) -> None:
    config = write(tmp_path, "[inject.rates]\nRIVA_013 = 0.5\n")
    (problem,) = problems(config)
    assert problem.startswith(f"{config}: inject: 'RIVA_013' cannot be injected; allowed are CONN_001, ")
    assert problem.endswith(", AUDIO_003, UNKNOWN")


def test_an_outer_layer_replaces_the_whole_table_or_one_entry_of_it(tmp_path: Path) -> None:
    config = write(tmp_path, "[inject]\nseed = 7\nrates = { RIVA_001 = 0.5, RIVA_005 = 0.5 }\n")
    one = load(config, [from_option("inject.rates.RIVA_001=0.1")], {}).settings.inject
    assert one == Inject(seed=7, rates={"RIVA_001": 0.1, "RIVA_005": 0.5})
    all_of_it = load(config, [from_option("inject.rates=RIVA_001:0.1")], {}).settings.inject
    assert all_of_it == Inject(seed=7, rates={"RIVA_001": 0.1})


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        """
        [server]
        port = "8600"
        [[backends]]
        name = "a"
        address = "http://a:1"
        [[backends]]
        tier = "second"
        """,
    )
    assert problems(config, environ={"VOXTREE__LOG__LEVEL": "loud"}) == [
        f'{config}: server.port: expected int, got "8600"',
        f"{config}: backends.0: endpoint 'a': address 'http://a:1' must be host:port, without http://",
        f"{config}: backends.1.name: is missing",
        f"{config}: backends.1.address: is missing",
        f'{config}: backends.1.tier: expected one of primary, fallback, embedded, got "second"',
        'VOXTREE__LOG__LEVEL: log.level: expected one of debug, info, warning, error, got "loud"',
    ]


def test_an_empty_backend_is_not_overlooked(tmp_path: Path) -> None:
    config = write(tmp_path, "[[backends]]\n")
    assert problems(config) == [f"{config}: backends.0.name: is missing", f"{config}: backends.0.address: is missing"]


def test_values_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    twice = write(tmp_path, 2 * '[[backends]]\nname = "a"\naddress = "a:1"\n')
    assert problems(twice) == ["backends: 2 are named 'a', each needs a name of its own"]
    assert problems(options=["embedded.enabled=false"]) == [
        "embedded.enabled is false and there are no backends: nothing could recognise speech"
    ]


def test_a_secret_is_not_repeated_in_a_message() -> None:
    environ = {
        "VOXTREE__BACKENDS__0__NAME": "a",
        "VOXTREE__BACKENDS__0__ADDRESS": "a:1",
        "VOXTREE__BACKENDS__0__METADATA": "Bearer hunter2",
    }
    assert problems(environ=environ) == [
        "VOXTREE__BACKENDS__0__METADATA: backends.0.metadata: "
        "expected NAME:VALUE, or several with commas between them, got ********"
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[server\n", "is not valid TOML: expected ']' at the end of a table declaration (at line 1, column 8)"),
        (b"[server]\nport = 1\nport = 2\n", "is not valid TOML: cannot overwrite a value (at line 3, column 9)"),
        (b"# \xff\n", "is not UTF-8 text (byte 2)"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_the_place(tmp_path: Path, content: bytes, problem: str) -> None:
    config = tmp_path / "voxtree.toml"
    config.write_bytes(content)
    assert problems(config) == [f"{config}: {problem}"]


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml") == [f"{tmp_path}/none.toml: cannot be read: no such file or directory"]
    assert problems(tmp_path) == [f"{tmp_path}: cannot be read: is a directory"]


def test_an_option_without_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^--port: expected PATH=VALUE, as in server.port=9000, got '9000'$"):
        from_option("9000", source="--port")


@pytest.mark.parametrize(
    ("enabled", "backends", "used"),
    [
        (None, (), True),
        (None, (Endpoint(name="a", address="a:1"),), False),
        (True, (Endpoint(name="a", address="a:1"),), True),
        (False, (Endpoint(name="a", address="a:1"),), False),
    ],
)
def test_the_embedded_recogniser_runs_when_asked_for_or_when_there_is_no_other(
    enabled: bool | None, backends: tuple[Endpoint, ...], used: bool
) -> None:
    assert Settings(backends=backends, embedded=Embedded(enabled=enabled)).uses_embedded is used


def test_the_sections_take_no_field_that_is_not_theirs() -> None:
    for section in (Settings, Server, Session, Embedded, Log):
        assert section.__struct_config__.frozen
        assert section.__struct_config__.forbid_unknown_fields


NAMES = st.sampled_from(
    ["server", "port", "origins", "session", "backends", "0", "1", "name", "address", "metadata", "log", "level", "x"]
)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=2))
SETTINGS = st.builds(
    lambda path, value, text: Setting(tuple(path), value, "--set", text),
    st.lists(NAMES, min_size=1, max_size=4),
    VALUES | st.just({}),
    st.just(False),
) | st.builds(
    lambda path, value: Setting(tuple(path), value, "VAR", text=True),
    st.lists(NAMES, min_size=1, max_size=4),
    st.text(),
)


@given(st.lists(SETTINGS, max_size=8))
def test_whatever_is_given_comes_out_as_settings_or_as_problems(settings: list[Setting]) -> None:
    told: tuple[str, ...] = ()
    value, sources = Settings(), {"": "default"}
    try:
        value, sources = check(Settings, settings)
    except SettingsError as error:
        told = error.problems
    assert bool(told) is ("" in sources)
    assert msgspec.convert(msgspec.to_builtins(value), Settings) == value
    assert set(sources.values()) <= {"default", "--set", "VAR"}
