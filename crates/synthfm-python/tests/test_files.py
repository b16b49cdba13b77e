"""Files: arrays with their geometry in, masks on the grid of their image out."""

import numpy as np
import pytest

import synthfm
from conftest import EXAMPLES, FIXTURES


def test_volumes_keep_their_order_and_place(volume):
    path, values, affine = volume
    scan = synthfm.read(path)
    array, found, spacing, modality = scan
    np.testing.assert_array_equal(array, values)
    np.testing.assert_allclose(found, affine, atol=1e-6)
    assert spacing == pytest.approx((0.5, 0.75, 3)) and modality is None
    assert array.dtype == np.float32 and array.flags.f_contiguous
    # No copy, and the scan lives as long as the array.
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 1
    assert np.shares_memory(array, scan.array)
    del scan
    np.testing.assert_array_equal(array, values)


def test_pictures():
    scan = synthfm.read(EXAMPLES / "imagesTs" / "kidney_0000.png")
    assert scan.array.ndim == 2 and scan.array.dtype == np.float32 and scan.format == "PNG"
    colours = synthfm.read(FIXTURES / "rgb.npy")
    np.testing.assert_array_equal(colours.array, np.load(FIXTURES / "rgb.npy"))
    assert colours.array.dtype == np.uint8 and colours.spacing is None


def test_dicom_has_a_modality():
    scan = synthfm.read(FIXTURES / "formats" / "cr_monochrome1.dcm")
    assert scan.modality == "CR" and scan.format == "DICOM" and "cr_monochrome1" in repr(scan)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".seg.nrrd", ".mha", ".tif"])
def test_labels_go_out_and_come_back(volume, tmp_path, ending):
    path, values, affine = volume
    labels = np.zeros(values.shape, np.int64)
    labels[5:20, 8:30, 1:4], labels[10:12, 9:11, 2] = 3, 700 if ending != ".tif" else 7
    out = tmp_path / f"labels{ending}"
    synthfm.write(labels, out, like=synthfm.read(path), names={3: "liver"})
    back = synthfm.read(out)
    if ending == ".tif":
        return  # Pages have an order of their own, which the tests of the formats check.
    np.testing.assert_array_equal(back.array, labels)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)


def test_what_cannot_be_written_is_named(volume, tmp_path):
    path, values, _ = volume
    for message, mask, options in [
        ("0 to 65535", values - 200, {}),
        ("0 to 65535", values + 0.5, {}),
        ("0 to 65535", np.full(values.shape, 70000), {}),
        ("shape", np.zeros((3, 4, 5)), {}),
        ("slice", np.zeros((44, 60)), {}),
        ("of 44x60", np.zeros((60, 44)), {"slice": 1}),
        ("axial slice 5", np.ones((44, 60)), {"slice": 5}),
        ("background", values, {"names": {0: "air"}}),
        ("format", values, {"format": "gif"}),
    ]:
        with pytest.raises(synthfm.UsageError, match=message):
            synthfm.write(mask, tmp_path / "out.nii.gz", like=path, **options)
    with pytest.raises(synthfm.UsageError, match="DICOM"):
        synthfm.write(values, tmp_path / "out.seg.dcm", like=path)
    with pytest.raises(synthfm.UsageError):
        synthfm.write(values, tmp_path / "out.xyz", like=path)
    with pytest.raises(synthfm.UsageError, match="invertible"):
        synthfm.write(values, tmp_path / "out.nii.gz", affine=np.zeros((4, 4)))
    assert not list(tmp_path.glob("out*"))


def test_bad_files_have_their_own_exceptions(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        synthfm.read(tmp_path / "absent.png")
    assert isinstance(missing.value, synthfm.MissingFileError) and "absent.png" in str(missing.value)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with pytest.raises(synthfm.FormatError, match="damaged.png"):
        synthfm.read(damaged)
    with pytest.raises(synthfm.LimitError, match="limit"):
        synthfm.read(EXAMPLES / "imagesTs" / "kidney_0000.png", max_memory=100)
    with pytest.raises(synthfm.FileError):
        synthfm.write(np.ones((4, 4)), tmp_path / "no" / "folder" / "mask.png")
    assert issubclass(synthfm.LimitError, MemoryError) and issubclass(synthfm.UsageError, ValueError)
