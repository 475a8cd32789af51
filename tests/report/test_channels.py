"""The channel flow in reports, as text and as a picture: which value has which index, which is made whole and why."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.cli.dump import example_arguments
from sparsec.cli.main import main
from sparsec.sparse import ChannelSparse, from_dense

SOURCE = """
from sparsec import nn

def block(x, w, shortcut):
    y = nn.relu(nn.conv2d(x, w, padding=1))
    y = y + shortcut
    return y, nn.softmax(y, 1)
"""
SPEC = "f32[1,4 of 8 @%i,4,4], f32[3 of 8 @%o,8,3,3], f32[1,2 of 8 @%s,4,4]"


def block(x, w, shortcut):
    y = nn.relu(nn.conv2d(x, w, padding=1))
    y = y + shortcut
    return y, nn.softmax(y, 1)


@pytest.fixture(scope="module")
def report():
    return sparsec.jit(block).explain(*example_arguments(SPEC))


def test_every_value_tells_its_index_and_bound(report):
    line = block.__code__.co_firstlineno
    rows = {row.name: row for row in report.channels}
    (conv,) = [row for row in report.channels if row.op == "conv2d"]
    assert (conv.line, conv.index, conv.parents) == (line + 1, "w_index", ("x", "w", "x_index"))
    assert conv.channels == "at most 3 of 8 @w_index"
    (total,) = [row for row in report.channels if row.op == "add"]
    union = rows[total.index]
    assert (union.op, union.channels, union.parents) == ("index_union", "at most 5", ("w_index", "shortcut_index"))
    assert total.line == line + 2 and total.channels == f"at most 5 of 8 @{union.name}"
    assert rows["x"].op == "argument"


def test_what_is_made_whole_says_why(report):
    why = "max over the channels sees those that are absent"
    assert [row.whole for row in report.channels if row.whole] == [why]
    (line,) = [x for x in report.lines if x.line == block.__code__.co_firstlineno + 3]
    assert any(f.topic == "made whole" and f.text.endswith(f"for max: {why}") for f in line.facts)
    text = str(report)
    assert f"made whole: {why}" in text and "= conv2d of x, w, x_index: " in text
    assert {row["op"] for row in report.to_dict()["channels"]} >= {"conv2d", "index_union", "spread"}


def test_without_channels_nothing_is_said():
    found = sparsec.jit(lambda x: x + 1).explain(np.ones(3))
    assert found.channels == () and "\nchannels" not in str(found) and "no channels" in found.picture()


def test_the_picture_has_a_box_for_each_chain(report):
    texts = [t.text for t in ElementTree.fromstring(report.picture()).iter("{http://www.w3.org/2000/svg}text")]
    assert "conv2d, maximum" in texts and "index_union" in texts
    assert any(t.startswith("whole: max over") for t in texts)
    assert report.picture() in report.html()


def test_the_command_takes_sparse_arguments(tmp_path, capsys):
    (tmp_path / "net.py").write_text(SOURCE)
    picture = tmp_path / "channels.svg"
    command = ["explain", f"{tmp_path}/net.py:block", "--spec", SPEC]
    assert main([*command, "--picture", "-o", str(picture)]) == 0 and main(command) == 0
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert "  line 5       " in capsys.readouterr().out


def test_sparse_items_of_a_spec():
    x, y, z = example_arguments("f32[1,4 of 8 @%i,2,2], f64[1,4 of 8 @%i,2,2], f32[2 of 6 @%j,3]")
    assert type(x) is ChannelSparse and x.index is y.index and (x.full, x.cap, x.axis) == (8, 4, 1)
    assert (z.full, z.axis, z.dtype) == (6, 0, np.float32)


def test_loops_are_part_of_the_flow():
    def repeated(x, n):
        for _ in range(n):
            x = nn.relu(x) * 0.5
        return x

    x = from_dense(np.ones((1, 4, 2, 2), "f4"), keep=[0, 2], ratio=0.5)
    found = sparsec.jit(repeated).explain(x, np.int64(3))
    (loop,) = [row for row in found.channels if row.op == "for"]
    assert loop.channels == "at most 2 of 4 @x_index" and not any(row.whole for row in found.channels)
