"""The golden-file helper itself, run as pytest would run it."""

import pytest

pytest_plugins = ["pytester"]

TEST = """
def test_it(golden):
    golden("some/file.txt", "one\\ntwo")
"""


@pytest.fixture
def project(pytester, request, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest((request.path.parent / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(TEST)
    return pytester


def test_missing_file_says_how_to_write_it(project):
    result = project.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no golden file*--bless*"])


def test_bless_writes_and_then_it_passes(project):
    project.runpytest("--bless").assert_outcomes(passed=1)
    assert (project.path / "golden/some/file.txt").read_bytes() == b"one\ntwo\n"
    project.runpytest().assert_outcomes(passed=1)


def test_mismatch_shows_a_diff_and_leaves_the_file(project):
    file = project.path / "golden/some/file.txt"
    file.parent.mkdir(parents=True)
    file.write_text("one\nTWO\n")
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*-TWO", "*+two"])
    assert file.read_text() == "one\nTWO\n"


def test_bless_is_refused_in_ci(project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    result = project.runpytest("--bless")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (project.path / "golden").exists()


def test_a_path_outside_is_refused(project):
    project.makepyfile("def test_it(golden):\n    golden('../x.txt', '')\n")
    project.runpytest("--bless").assert_outcomes(failed=1)
    assert not (project.path / "x.txt").exists()


def test_quick_is_all_but_slow_and_long(project):
    project.makepyfile(
        """
        import pytest
        def test_plain(): pass
        @pytest.mark.slow
        def test_slow(): pass
        @pytest.mark.long
        def test_long(): pass
        """
    )
    project.runpytest("-m", "quick").assert_outcomes(passed=1, deselected=2)
