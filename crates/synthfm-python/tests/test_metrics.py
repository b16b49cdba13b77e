"""Scores on arrays: numbers by hand, and those of the reference implementations."""

import csv
import math

import numpy as np
import pytest

import synthfm


def test_hand_computed_numbers():
    truth = np.zeros((3, 6), np.uint8)
    truth[1, 1:5] = 1
    prediction = np.zeros((3, 6), bool)
    prediction[1, 1:3] = True
    spacing = (3, 0.5)
    assert synthfm.dice(prediction, truth) == 4 / 6
    assert synthfm.hd95(prediction, truth, spacing) == pytest.approx(0.925, abs=1e-12)
    assert synthfm.assd(prediction, truth, spacing) == 0.25
    assert synthfm.nsd(prediction, truth, 0.5, spacing) == 5 / 6


def test_axes_of_volumes_have_their_own_spacing():
    a = np.zeros((6, 5, 4), bool)
    b = a.copy()
    a[1, 2, 1] = b[4, 2, 1] = True
    for axes, expected in [((0, 1, 2), 6), ((1, 0, 2), 6), ((2, 1, 0), 6)]:
        spacing = np.array([2.0, 3, 5])[list(axes)]
        assert synthfm.hd95(a.transpose(axes), b.transpose(axes), spacing) == expected
        assert synthfm.assd(np.ascontiguousarray(a.transpose(axes)), b.transpose(axes), spacing) == expected


def test_empty_masks():
    empty, dot = np.zeros((30, 80)), np.zeros((30, 80))
    dot[1, 20] = 1
    for score in (synthfm.dice(empty, empty), synthfm.hd95(empty, empty), synthfm.nsd(empty, empty, 1)):
        assert math.isnan(score)
    assert synthfm.dice(empty, dot) == 0 and synthfm.nsd(dot, empty, 9) == 0
    assert synthfm.hd95(empty, dot, (1, 0.5)) == synthfm.assd(dot, empty, (1, 0.5)) == 50


def test_what_does_not_fit_is_named():
    mask = np.ones((4, 5))
    for call in (
        lambda: synthfm.dice(mask, mask.T),
        lambda: synthfm.hd95(mask, mask, (1, 1, 1)),
        lambda: synthfm.hd95(mask, mask, (0, 1)),
        lambda: synthfm.nsd(mask, mask, -1),
        lambda: synthfm.nsd(mask, mask, math.nan),
        lambda: synthfm.dice(np.ones(3), np.ones(3)),
    ):
        with pytest.raises(synthfm.UsageError):
            call()


def test_evaluation_is_the_programs(program, tmp_path):
    from conftest import EXAMPLES

    report = program(
        "evaluate", "--data", EXAMPLES, "--model", "embedded", "disc", "--prompts", "1,0", "box", "--out", tmp_path / "a"
    )
    options = {"prompts": ["1,0", "box"], "negatives": "far"}
    found = synthfm.evaluate(EXAMPLES, ["embedded", "disc"], out=tmp_path / "b", **options)
    assert found["lines"] == report["lines"] and found["lines"]
    assert found["comparisons"] == report["comparisons"]
    tables = []
    for name in "ab":
        with open(tmp_path / name / "results.csv", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    for row in tables[0] + tables[1]:
        for measured in ("encode_ms", "time_ms"):
            del row[measured]
    assert tables[0] == tables[1] and len(tables[0]) == 8
    with pytest.raises(synthfm.UsageError, match="prompts"):
        synthfm.evaluate(EXAMPLES, prompts="nonsense")
    with pytest.raises(synthfm.SynthfmError):
        synthfm.evaluate(tmp_path / "nowhere")
