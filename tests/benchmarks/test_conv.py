"""benchmarks/conv.py computes the right values and says how fast; how fast is not tested."""

import json

from benchmarks.conv import LAYERS, Layer, main, measure, table


def test_a_layer_is_checked_and_timed():
    peak, (row,) = measure((Layer(8, 8, 6, 3),), 1)
    assert peak > 0 and row.dense_ms > 0 and row.live_ms > 0
    assert row.layer == "3x3 8@6" and row.layer in table(peak, [row])


def test_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.conv.LAYERS", (Layer(8, 8, 4, 1, stride=2), Layer(8, 8, 4, 3, groups=8)))
    assert main(["--json", str(tmp_path / "out.json"), "--rounds", "1", "--layers", "stride"]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["layer"] == "1x1 8@4 stride 2"
    assert "of peak" in capsys.readouterr().out


def test_names_differ():
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
