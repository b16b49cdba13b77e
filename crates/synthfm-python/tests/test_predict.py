"""Masks: the same as the program's, bit for bit, with SamPredictor's names and shapes."""

import numpy as np
import pytest

import synthfm

POINTS = [(129, 247), (60, 60)]
LABELS = [1, 0]
BOX = (60, 180, 220, 330)


def mask_of(path):
    return synthfm.read(path).array != 0


@pytest.mark.parametrize(
    ("prompts", "flags"),
    [
        ({"points": POINTS[:1]}, ["--point=129,247"]),
        ({"points": POINTS, "labels": LABELS}, ["--point=129,247", "--negative=60,60"]),
        ({"box": BOX}, ["--box=60,180,220,330"]),
    ],
)
def test_masks_are_those_of_the_program(program, predictor, kidney, tmp_path, prompts, flags):
    out = tmp_path / "mask.png"
    record = program("predict", kidney, *flags, "-o", out)
    predictor.set_image(kidney)
    segment = predictor.segment(**prompts)
    assert segment.mask.dtype == bool
    assert segment.mask.shape == predictor.original_size
    np.testing.assert_array_equal(segment.mask, mask_of(out))
    assert segment.score == pytest.approx(record["iou"], rel=1e-6)
    assert segment.crop == (tuple(record["crop"]) if record["crop"] else None)
    assert predictor.sha256 == record["model"]["sha256"]
    # As written by the module.
    again = tmp_path / "again.png"
    synthfm.write(segment.mask, again, like=kidney)
    assert again.read_bytes() == out.read_bytes()


def test_arrays_and_files_are_seen_alike(program, predictor, kidney, tmp_path):
    """8-bit values as they are, others through a window; a file of the array is seen as the array."""
    values = synthfm.read(kidney).array
    rng = np.random.default_rng(1)
    for name, array in {
        "u8": values.astype(np.uint8),
        "i16": (values * 12 - 1024 + rng.integers(0, 9, values.shape)).astype(np.int16),
        "f64": values.astype(np.float64) / 255,
        "rgb": np.stack([values] * 3, axis=-1).astype(np.uint8),
        "strided": np.asfortranarray(values.astype(np.uint8)),
    }.items():
        path, out = tmp_path / f"{name}.npy", tmp_path / f"{name}.png"
        np.save(path, array)
        program("predict", path, "--box=60,180,220,330", "-o", out)
        predictor.set_image(array)
        np.testing.assert_array_equal(predictor.segment(box=BOX).mask, mask_of(out), err_msg=name)
    bgr = np.stack([values, values / 2, values / 3], axis=-1).astype(np.uint8)
    predictor.set_image(bgr, "BGR")
    np.testing.assert_array_equal(predictor.image, bgr[..., ::-1])


def test_names_and_shapes_are_those_of_sam_predictor(predictor, kidney):
    predictor.set_image(kidney)
    height, width = predictor.original_size
    masks, scores, logits = predictor.predict(np.array(POINTS), np.array(LABELS))
    count = 3 if predictor.has_alternatives else 1
    side = logits.shape[-1]
    assert masks.shape == (count, height, width) and masks.dtype == bool
    assert scores.shape == (count,) and scores.dtype == np.float32
    assert logits.shape == (count, side, side) and logits.dtype == np.float32
    one = predictor.predict(box=np.array(BOX), multimask_output=False)
    assert one[0].shape == (1, height, width)
    # Logits are the same answer, and come back as a prompt.
    raw, _, low = predictor.predict(box=np.array(BOX), multimask_output=False, return_logits=True)
    assert raw.dtype == np.float32 and raw.shape == (1, height, width)
    np.testing.assert_array_equal(low, one[2])
    refined, _, _ = predictor.predict(np.array(POINTS), np.array(LABELS), mask_input=low, multimask_output=False)
    assert refined.any()
    assert synthfm.dice(refined[0], one[0][0]) > 0.5


def test_an_earlier_mask_is_corrected(program, predictor, kidney, tmp_path):
    predictor.set_image(kidney)
    first = predictor.segment(box=BOX)
    rough = tmp_path / "rough.png"
    synthfm.write(first.mask, rough, like=kidney)
    rows, columns = np.nonzero(first.mask)
    click = (int(columns[len(rows) // 2]), int(rows[len(rows) // 2]))
    out = tmp_path / "mask.png"
    program("predict", kidney, f"--negative={click[0]},{click[1]}", "--mask-prompt", rough, "-o", out)
    corrected = predictor.segment([click], [0], mask=first.mask)
    np.testing.assert_array_equal(corrected.mask, mask_of(out))
    assert not corrected.mask[click[1], click[0]]


def test_slices_of_volumes(program, predictor, volume, tmp_path):
    path, values, _ = volume
    for axis, index in [("axial", 2), ("coronal", 19)]:
        out, again = tmp_path / f"{axis}.nii.gz", tmp_path / f"{axis}_again.nii.gz"
        flags = ["--slice", index, "--axis", axis, "--frame=display", "--window=200,120"]
        predictor.set_image(path, slice=index, axis=axis, window=(200, 120))
        height, width = predictor.original_size
        program("predict", path, f"--point={width // 2},{height // 2}", *flags, "-o", out)
        segment = predictor.segment([(width // 2, height // 2)])
        notes = synthfm.write(segment.mask, again, like=path, slice=index, axis=axis, names={1: "structure"})
        assert notes == []
        np.testing.assert_array_equal(synthfm.read(again).array, synthfm.read(out).array)
        scan = synthfm.read(path)
        predictor.set_image(scan, slice=index, axis=axis, window=(200, 120))
        np.testing.assert_array_equal(predictor.segment([(width // 2, height // 2)]).mask, segment.mask)
    assert values.shape == (60, 44, 5)


def test_structures_through_volumes(program, predictor, volume, tmp_path):
    path, values, _ = volume
    out = tmp_path / "whole.nii.gz"
    record = program("predict", path, "--volume", "--box=17,7,2,42,32,2", "-o", out)
    predictor.set_image(np.zeros((20, 30), np.uint8))
    found = predictor.segment_volume(path, box=(17, 7, 2, 42, 32, 2))
    assert predictor.original_size == (20, 30), "the image that is set stays"
    assert found.mask.dtype == bool and found.mask.shape == values.shape
    np.testing.assert_array_equal(found.mask, synthfm.read(out).array != 0)
    assert [(s["slice"], s["from"], s["area_px"]) for s in found.slices] == [
        (s["slice"], s["from"], s["area_px"]) for s in record["slices"]
    ]
    assert int(found.mask.sum()) == record["voxels"] > 1000
    # From what was read, by the module's function, in millimetres.
    place = (np.diag([-0.5, -0.75, 3, 1.0]) @ [29, 19, 2, 1])[:3] + [10, 20, -30]
    ras = synthfm.segment_volume(synthfm.read(path), points=[place], frame="ras")
    voxel = predictor.segment_volume(path, points=[(29, 19, 2)])
    np.testing.assert_array_equal(ras.mask, voxel.mask)
    # From a rough mask; an array has the array's own order.
    rough = np.zeros(values.shape, bool)
    rough[20:39, 10:29, 2] = True
    assert predictor.segment_volume(path, mask=rough).mask[29, 19, 4]
    assert predictor.segment_volume(values, points=[(29, 19, 2)]).mask[29, 19].all()


def test_bad_prompts_are_named(predictor, kidney, volume):
    predictor.reset_image()
    assert not predictor.is_image_set and predictor.image is None
    with pytest.raises(synthfm.UsageError, match="image"):
        predictor.segment([(1, 1)])
    predictor.set_image(kidney)
    for message, call in {
        "empty": lambda: predictor.segment(),
        r"point \(5000": lambda: predictor.segment([(5000, 1)]),
        "1 on the structure": lambda: predictor.segment([(5, 1)], [2]),
        "one for each": lambda: predictor.segment([(5, 1)], [1, 0]),
        r"\[N, 2\]": lambda: predictor.segment([(5, 1, 3)]),
        "4 numbers": lambda: predictor.segment(box=(1, 2, 3)),
        "top-left": lambda: predictor.segment(box=(30, 20, 3, 4)),
        "point_labels": lambda: predictor.predict(np.array(POINTS)),
        "segment_volume": lambda: predictor.set_image(np.zeros((4, 5, 6))),
        "real numbers": lambda: predictor.set_image(np.array([["a"]])),
        "RGB or BGR": lambda: predictor.set_image(kidney, "GRB"),
        "axial": lambda: predictor.set_image(kidney, axis="up"),
        "window": lambda: predictor.set_image(kidney, window="nothing"),
        "choose one": lambda: predictor.set_image(volume[0]),
        "does not exist": lambda: predictor.set_image(volume[0], slice=5),
        "no prompt": lambda: predictor.segment_volume(volume[0]),
        "slices 0 to 4": lambda: predictor.segment_volume(volume[0], points=[(29, 19, 9)]),
        "frame": lambda: predictor.segment_volume(volume[0], points=[(29, 19, 2)], frame="mm"),
        "is a picture": lambda: predictor.segment_volume(kidney, points=[(29, 19, 2)]),
    }.items():
        with pytest.raises(synthfm.UsageError, match=message):
            call()
    with pytest.raises(synthfm.ModelError, match="nowhere"):
        synthfm.Predictor("nowhere.pth")
    with pytest.raises(synthfm.DeviceError, match="gpu9"):
        synthfm.Predictor(device="gpu9")
    assert predictor.is_image_set, "errors change nothing"
