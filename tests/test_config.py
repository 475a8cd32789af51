"""The switches: where a value comes from, which one wins, and how a bad one is refused."""

import threading
from pathlib import Path

import pytest

from sparsec.config import Settings
from sparsec.errors import ConfigError, SparsecError


@pytest.fixture
def settings(monkeypatch):
    for switch in Settings.switches().values():
        monkeypatch.delenv(switch.env, raising=False)
    return Settings()


def test_every_switch_has_an_environment_variable_a_default_and_a_doc(settings):
    for name, switch in Settings.switches().items():
        assert switch.env == "SPARSEC_" + name.upper()
        assert switch.__doc__
        switch.checked(getattr(settings, name))  # a default obeys the rule of its own switch


def test_defaults(settings):
    assert (settings.debug, settings.dump, settings.verify, settings.backend) == (0, None, False, "cpu")
    assert settings.num_threads >= 1
    assert settings.cache_dir.name == "sparsec"
    assert settings.opencl_platform is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("debug", "3", 3),
        ("dump", "some/dir", Path("some/dir")),
        ("verify", "0", False),
        ("verify", "Off", False),
        ("verify", "yes", True),
        ("backend", "opencl", "opencl"),
        ("backend", " INTERP ", "interp"),
        ("cache_dir", "~", Path.home()),
        ("num_threads", "1", 1),
        ("opencl_platform", "Portable", "Portable"),
    ],
)
def test_environment(settings, monkeypatch, name, text, value):
    monkeypatch.setenv(f"SPARSEC_{name.upper()}", text)
    assert getattr(settings, name) == value
    assert type(getattr(settings, name)) is type(value)


@pytest.mark.parametrize("name", list(Settings.switches()))
def test_empty_variable_is_unset(settings, monkeypatch, name):
    default = getattr(settings, name)
    monkeypatch.setenv(f"SPARSEC_{name.upper()}", "")
    assert getattr(settings, name) == default


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("debug", "5"),
        ("debug", "-1"),
        ("debug", "yes"),
        ("debug", "9" * 5000),
        ("verify", "2"),
        ("backend", "cuda"),
        ("num_threads", "0"),
        ("num_threads", "1.5"),
        ("cache_dir", __file__),
        ("dump", " "),
        ("opencl_platform", " "),
    ],
)
def test_bad_environment_names_the_variable_and_what_it_may_be(settings, monkeypatch, name, text):
    monkeypatch.setenv(f"SPARSEC_{name.upper()}", text)
    with pytest.raises(ConfigError, match=f"SPARSEC_{name.upper()} must be a?n?") as caught:
        getattr(settings, name)
    assert repr(text) in str(caught.value)
    assert isinstance(caught.value, SparsecError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("debug", True),  # an int to Python, a slip of the pen here
        ("debug", 5),
        ("debug", "1"),
        ("verify", 1),
        ("backend", "CUDA"),
        ("num_threads", 0),
        ("num_threads", None),
        ("cache_dir", None),
        ("cache_dir", b"bytes"),
        ("cache_dir", "nul\0byte"),
        ("opencl_platform", 3),
    ],
)
def test_bad_assignment_leaves_the_old_value(settings, name, value):
    before = getattr(settings, name)
    with pytest.raises(ConfigError, match=name):
        setattr(settings, name, value)
    with pytest.raises(ConfigError, match=name), settings.override(**{name: value}):
        pass
    assert getattr(settings, name) == before


def test_the_innermost_wins(settings, monkeypatch):
    monkeypatch.setenv("SPARSEC_DEBUG", "1")
    settings.debug = 2
    with settings.override(debug=3):
        with settings.override(debug=4, verify=True):
            assert (settings.debug, settings.verify) == (4, True)
        assert (settings.debug, settings.verify) == (3, False)
    assert settings.debug == 2
    settings.reset()
    assert settings.debug == 1
    monkeypatch.delenv("SPARSEC_DEBUG")
    assert settings.debug == 0


def test_override_ends_with_an_exception(settings):
    with pytest.raises(KeyError), settings.override(debug=3):
        raise KeyError
    assert settings.debug == 0


def test_assignment_inside_a_block_holds_until_its_end(settings):
    with settings.override(debug=3):
        settings.debug = 1
        settings.verify = True  # not overridden, so it is set for good
        assert settings.debug == 1
    assert settings.debug == 0
    assert settings.verify is True


def test_override_is_seen_by_its_own_thread_only(settings):
    seen = []
    with settings.override(debug=3):
        thread = threading.Thread(target=lambda: seen.append(settings.debug))
        thread.start()
        thread.join()
    assert seen == [0]


def test_assignment_is_seen_by_every_thread(settings):
    seen = []
    settings.debug = 2
    thread = threading.Thread(target=lambda: seen.append(settings.debug))
    thread.start()
    thread.join()
    assert seen == [2]


def test_unknown_names_are_refused(settings):
    with pytest.raises(ConfigError, match="debgu"):
        settings.debgu = 1
    with pytest.raises(ConfigError, match="debgu"), settings.override(debgu=1):
        pass


def test_cache_dir_follows_the_xdg_rules(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert settings.cache_dir == tmp_path / "sparsec"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert settings.cache_dir == Path.home() / ".cache" / "sparsec"
