"""Samples: the same as the program's, and the same wherever they are drawn."""

import json
import multiprocessing
import pickle

import numpy as np
import pytest

import synthfm

SMALL = {"size": {"height": 128, "width": 160}}


def test_samples_are_those_of_the_program(program, tmp_path):
    program("generate", "--out", tmp_path, "--count=2", "--start=3", "--seed=7", "--size=128x160", "--format=npz")
    for index in (3, 4):
        with np.load(tmp_path / f"samples/synth_{index:08}.npz") as stored:
            sample = synthfm.generate(SMALL, 7, index)
            np.testing.assert_array_equal(sample["image"][0], stored["image"])
            np.testing.assert_array_equal(sample["label"][0], stored["labels"])
            np.testing.assert_array_equal(sample["masks"], stored["masks"])
        record = json.loads((tmp_path / f"recipes/synth_{index:08}.json").read_text())
        assert synthfm.recipe(SMALL, 7, index) == record["recipe"]
        assert sample["kinds"] == [target["kind"] for target in record["targets"]]
        assert sample["modality"] == record["recipe"]["look"]


def test_shapes_and_types():
    sample = synthfm.generate(SMALL, 1, 0)
    assert sample["image"].shape == (1, 128, 160) and sample["image"].dtype == np.float32
    assert 0 <= sample["image"].min() < sample["image"].max() <= 1
    assert sample["label"].dtype == np.int32 and sample["masks"].dtype == bool
    count = len(sample["masks"])
    assert count == len(sample["kinds"]) == sample["label"].max() > 0
    assert sample["spacing"].tolist() == [1, 1] and sample["affine"].shape == (4, 4)
    assert isinstance(sample["scene"], str) and sample["scene"]


def test_configurations_by_name_file_and_table(tmp_path):
    assert synthfm.recipe("ct", 1, 5)["look"] == "ct"
    file = tmp_path / "own.toml"
    file.write_text("[size]\nheight = 128\nwidth = 160\n")
    by_file, by_table = synthfm.generate(file, 2, 1), synthfm.generate(SMALL, 2, 1)
    np.testing.assert_array_equal(by_file["image"], by_table["image"])
    for config, message in [("nosuch", "preset"), ({"size": {"heigth": 1}}, "heigth"), ({"size": {"height": 3}}, "height")]:
        with pytest.raises(synthfm.UsageError if message != "heigth" else synthfm.SynthfmError, match=message):
            synthfm.generate(config)
    with pytest.raises(OverflowError):
        synthfm.generate(SMALL, -1, 0)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_draw_the_same(method):
    dataset = synthfm.Dataset(SMALL, seed=3, size=6)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(dataset.__getitem__, range(6))
    for index, sample in enumerate(found):
        np.testing.assert_array_equal(sample["image"], dataset[index]["image"])
        np.testing.assert_array_equal(sample["label"], dataset[index]["label"])


def test_data_sets_are_sequences():
    dataset = synthfm.Dataset(SMALL, seed=3, size=4, start=10)
    assert len(dataset) == 4
    np.testing.assert_array_equal(dataset[1]["image"], synthfm.generate(SMALL, 3, 11)["image"])
    np.testing.assert_array_equal(dataset[-1]["image"], dataset[3]["image"])
    assert [sample["index"] for sample in dataset] == [10, 11, 12, 13]
    assert "masks" not in dataset[0]
    for index in (4, -5):
        with pytest.raises(IndexError):
            dataset[index]
    again = pickle.loads(pickle.dumps(dataset))
    assert again.config == dataset.config and again.config["size"]["width"] == 160
    np.testing.assert_array_equal(again[2]["image"], dataset[2]["image"])
    assert synthfm.Dataset(SMALL, size=2, transform=lambda sample: sample["index"])[1] == 1
    with pytest.raises(synthfm.UsageError):
        synthfm.Dataset(SMALL, size=-1)
