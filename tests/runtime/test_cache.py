"""Compiled code on disk: used when it is whole and ours, and never the reason why something fails."""

import os
import stat
import warnings

import pytest

from sparsec.config import settings
from sparsec.runtime import cache as cache_module
from sparsec.runtime.cache import DiskCache, disk_cache
from sparsec.runtime.stored import StoredCode, cache_key

KEY, OTHER = cache_key("a"), cache_key("b")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_warned", False)
    return DiskCache(tmp_path / "code", 1 << 20)


def path(cache, key=KEY):
    return cache._path(key)


def test_what_is_put_is_got(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, b"data")
    cache.put(OTHER, b"")
    assert cache.get(KEY) == b"data" and cache.get(OTHER) == b""
    cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"
    assert len(cache.entries()) == 2 and cache.clear() == 2 and cache.get(KEY) is None
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_keys_differ_by_part():
    assert len({cache_key("a", "b"), cache_key("ab"), cache_key("a", "b", ""), cache_key("b", "a")}) == 4
    assert cache_key("a") == cache_key("a")


@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped", "longer", "foreign", "version", "renamed"])
def test_a_damaged_entry_is_not_there(cache, damage):
    cache.put(KEY, bytes(range(200)))
    cache.put(OTHER, b"another")
    content = path(cache).read_bytes()
    half = len(content) // 2
    path(cache).write_bytes({
        "truncated": content[:half], "emptied": b"", "longer": content + b"x", "foreign": b"\x7fELF" + content,
        "flipped": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
        "version": content.replace(b"entry 1", b"entry 0"), "renamed": path(cache, OTHER).read_bytes(),
    }[damage])
    assert cache.get(KEY) is None
    assert not path(cache).exists() and cache.get(OTHER) == b"another"


def test_the_oldest_entries_go_first(tmp_path):
    cache = DiskCache(tmp_path / "code", 10_000)
    keys = [cache_key(str(k)) for k in range(12)]
    for k, key in enumerate(keys):
        cache.put(key, bytes(1000))
        os.utime(path(cache, key), (k, k))
        if k == 8:
            assert cache.get(keys[0]) is not None  # read just now: no longer the oldest
    assert sum(s.st_size for _, s in cache.entries()) <= 10_000
    assert cache.get(keys[0]) is not None and cache.get(keys[1]) is None and cache.get(keys[-1]) is not None


def test_leftovers_of_a_process_that_was_killed_go(tmp_path):
    cache = DiskCache(tmp_path / "code", 2000)
    cache.put(KEY, b"")
    old = cache.folder / "left.1.0.tmp"
    old.write_bytes(bytes(500))
    os.utime(old, (1, 1))
    for k in range(4):
        cache.put(cache_key(str(k)), bytes(600))
    assert not old.exists()


def unusable(kind, tmp_path):
    folder = tmp_path / "code"
    match kind:
        case "file":
            folder.write_bytes(b"")
        case "below a file":
            (tmp_path / "file").write_bytes(b"")
            folder = tmp_path / "file" / "code"
        case "dangling link":
            folder.symlink_to(tmp_path / "nowhere" / "at" / "all")
        case "link loop":
            folder.symlink_to(folder)
        case "writable by all":
            folder.mkdir()
            folder.chmod(0o777)
    return DiskCache(folder, 1 << 20)


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link", "link loop", "writable by all"])
def test_a_folder_that_cannot_be_used_is_warned_of_once(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_warned", False)
    cache = unusable(kind, tmp_path)
    with pytest.warns(RuntimeWarning, match="SPARSEC_CACHE_DIR") as caught:
        cache.put(KEY, b"x")
        assert cache.get(KEY) is None
        cache.put(KEY, b"x")
        unusable("below a file", tmp_path / "..").get(KEY)
    assert len(caught) == 1
    assert not cache.entries() and cache.clear() == 0


def test_a_link_to_a_folder_of_ours_is_fine(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "code").symlink_to(tmp_path / "real")
    cache = DiskCache(tmp_path / "code", 1 << 20)
    cache.put(KEY, b"x")
    assert cache.get(KEY) == b"x"


def test_a_full_disk(cache, monkeypatch):
    cache.put(KEY, b"x")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        cache.put(OTHER, b"y")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get(OTHER) is None
        cache.put(OTHER, b"y")


def test_an_entry_is_not_read_through_a_folder_or_a_pipe(cache):
    cache.put(OTHER, b"x")
    path(cache).mkdir()
    assert cache.get(KEY) is None
    assert len(cache.entries()) == 1


def test_the_settings_choose(tmp_path):
    with settings.override(cache=True, cache_dir=tmp_path, cache_mb=3):
        cache = disk_cache()
        assert cache is disk_cache() and cache.folder.parent == tmp_path and cache.limit == 3 << 20
        with settings.override(cache=False):
            assert disk_cache() is None
        with settings.override(dump=tmp_path):
            assert disk_cache() is None


def test_stored_code_survives_the_way_to_bytes_and_back():
    from sparsec.errors import Loc
    from sparsec.ir.loops import Failure

    failures = (Failure("index", "out of range é", Loc("a.py", 3, 1, 4)), Failure("value", "no", None))
    code = StoredCode((b"\0object", b"", b"another"), 128, failures, 12, True)
    assert StoredCode.from_bytes(code.to_bytes()) == code
