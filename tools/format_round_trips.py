#!/usr/bin/env python3
"""Runs `synthfm predict` on real DICOM series, reads real data sets, and compares with the programs that people use.

    venv/bin/pip install SimpleITK==2.5.7 nibabel==5.4.2 pynrrd==1.1.3 pydicom==3.0.2 highdicom==0.28.2 \
        dcmqi==1.5.7
    venv/bin/python tools/format_round_trips.py target/release/synthfm SERIES:SLICE:X,Y...
    cargo build --release -p synthfm-image --example convert
    venv/bin/python tools/format_round_trips.py --read target/release/examples/convert DATA_SET...

Each SERIES is a folder with one CT or MR series, SLICE and X,Y a click. Each DATA_SET is a folder: its NIfTI and NRRD
files, and the DICOM series in its folder `dicom`, are read, voxel for voxel and affine for affine; its labels are also
written in every format for volumes and read back. Prints one line per check and fails if a voxel, an affine or a
reference is wrong.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import highdicom as hd
import nibabel
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FAILED = []


def check(what, good):
    print(f"{'ok  ' if good else 'FAIL'} {what}")
    if not good:
        FAILED.append(what)


def read_series(folder):
    """ITK's image, and the instances of its slices."""
    files = [str(p) for p in Path(folder).iterdir()]
    headers = {f: pydicom.dcmread(f, stop_before_pixels=True) for f in files}
    files.sort(key=lambda f: float(headers[f].ImagePositionPatient[2]))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    return reader.Execute(), [headers[f] for f in files]


def sop_instance(header):
    return str(header.get("SOPInstanceUID") or header.file_meta.MediaStorageSOPInstanceUID)


def even_odd(x, y, shape):
    """Pixels whose centres lie inside a polygon."""
    inside = np.zeros(shape, bool)
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    for row in range(shape[0]):
        at = row + 1e-4
        crosses = (y > at) != (y2 > at)
        edges = np.sort((x2 - x)[crosses] * (at - y[crosses]) / (y2 - y)[crosses] + x[crosses])
        for left, right in zip(edges[::2], edges[1::2]):
            inside[row, int(np.ceil(left)) : int(np.floor(right)) + 1] = True
    return inside


def rasterised(path, headers, shape):
    contours = pydicom.dcmread(path).ROIContourSequence[0].get("ContourSequence", [])
    by_slice = defaultdict(list)
    for contour in contours:
        instance = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        by_slice[instance].append(np.array(contour.ContourData, float).reshape(-1, 3))
    mask = np.zeros(shape, bool)
    for k, header in enumerate(headers):
        position = np.array(header.ImagePositionPatient, float)
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        spacing = [float(v) for v in header.PixelSpacing]
        for points in by_slice[sop_instance(header)]:
            x = (points - position) @ row / spacing[1]
            y = (points - position) @ column / spacing[0]
            mask[k] ^= even_odd(x, y, shape[1:])
    return mask


def run(synthfm, argument, scratch):
    folder, index, click = argument.rsplit(":", 2)
    image, headers = read_series(folder)
    outs = {e: scratch / f"mask.{e}" for e in ["nii.gz", "seg.nrrd", "mha", "dcm", "rtstruct.dcm"]}
    also = [word for e in list(outs)[1:] for word in ["--also", outs[e]]]
    subprocess.run(
        [synthfm, "predict", folder, "--slice", index, "--point", click, "--name", "liver", "-o", outs["nii.gz"], *also],
        check=True,
    )
    name = Path(folder).name
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()

    nifti = nibabel.load(outs["nii.gz"])
    mask = np.asarray(nifti.dataobj).T > 0
    check(f"{name}: the mask is not empty ({mask.sum()} voxels), and in one slice", mask.any() and mask[int(index)].any())
    check(f"{name}: nibabel's affine is ITK's", np.allclose(LPS_FROM_RAS @ nifti.affine, affine, atol=1e-4))
    data, header = nrrd.read(str(outs["seg.nrrd"]))
    directions = np.array(header["space directions"], float).T
    check(f"{name}: pynrrd reads the same voxels", (data.T == mask).all())
    check(f"{name}: pynrrd's directions are ITK's", np.allclose(directions, affine[:3, :3], atol=1e-9))
    check(f"{name}: the segment has its name", header["Segment0_Name"] == "liver")
    for ending in ["nii.gz", "seg.nrrd", "mha"]:
        back = sitk.ReadImage(str(outs[ending]))
        same = (sitk.GetArrayFromImage(back) == mask).all() and np.allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-4)
        same &= np.allclose(back.GetDirection(), image.GetDirection(), atol=1e-6)
        check(f"{name}: ITK reads {ending} at the same place", same and np.allclose(back.GetSpacing(), image.GetSpacing()))

    seg = hd.seg.segread(outs["dcm"])
    pixels = seg.get_pixels_by_source_instance(
        [sop_instance(h) for h in headers], combine_segments=True, ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    check(f"{name}: highdicom finds the voxels by source instance", (pixels == mask).all())
    lps = hd.VolumeGeometry(affine[:, [2, 1, 0, 3]], mask.shape, "PATIENT")
    volume = seg.get_volume(combine_segments=True).match_geometry(lps)
    check(f"{name}: highdicom finds the voxels by position", (volume.array == mask).all())
    check(f"{name}: highdicom reads the liver's code", seg.get_segment_description(1).segmented_property_type.value == "10200004")
    decoder = Path(sys.executable).parent / "segimage2itkimage"
    if decoder.exists():
        command = [decoder, "--inputDICOM", outs["dcm"], "--outputDirectory", scratch, "--prefix", "dcmqi", "-t", "nii"]
        subprocess.run(command, check=True, capture_output=True)
        back = sitk.ReadImage(str(scratch / "dcmqi-1.nii.gz"))
        # dcmqi gives the slices that have a frame.
        first = round((back.GetOrigin()[2] - image.GetOrigin()[2]) / image.GetSpacing()[2])
        part = mask[first : first + back.GetSize()[2]]
        same = (sitk.GetArrayFromImage(back) > 0) == part
        check(f"{name}: dcmqi reads the same voxels at the same place", same.all() and part.sum() == mask.sum())
    drawn = rasterised(outs["rtstruct.dcm"], headers, mask.shape)
    check(f"{name}: the contours, filled, are the mask", (drawn == mask).all())


def itk_affine(image):
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


def convert(program, kind, path, scratch, *outs):
    """The array [k, j, i] and the LPS affine that synthfm reads."""
    values = scratch / "values"
    command = [program, kind, path, values, *outs]
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    line = json.loads(done.stdout)
    array = np.fromfile(values, "<f4" if kind == "image" else "<u2").reshape(line["shape"][::-1])
    return array, np.vstack([line["patient_from_voxel"], [0, 0, 0, 1]])


def same_bits(a, b):
    """Equal, a value that is no number included."""
    return a.shape == b.shape and (a.astype("<f4").view("<u4") == b.astype("<f4").view("<u4")).all()


def nrrd_affine(header):
    affine = np.eye(4)
    affine[:3, :3] = np.array(header["space directions"], float)[-3:].T
    affine[:3, 3] = header["space origin"]
    signs = {"left-posterior-superior": [1, 1, 1, 1], "right-anterior-superior": [-1, -1, 1, 1]}
    return np.diag(signs[header["space"]]) @ affine


def read_nifti(program, kind, path, scratch):
    name = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    array, affine = convert(program, kind, path, scratch)
    image = nibabel.load(path)
    # 64-bit arithmetic, then one rounding.
    expected = np.asarray(image.dataobj, np.float64).T.astype("<f4")
    check(f"{name}: nibabel's {expected.size} voxels, bit for bit", same_bits(array, expected))
    check(f"{name}: nibabel's affine", np.allclose(LPS_FROM_RAS @ affine, image.affine, rtol=0, atol=1e-6))
    itk = sitk.ReadImage(str(path))
    # ITK scales in 32 bits.
    equal = np.allclose(array, sitk.GetArrayFromImage(itk), rtol=1e-6, atol=0)
    check(f"{name}: ITK's voxels and affine", equal and np.allclose(itk_affine(itk), affine, rtol=0, atol=1e-4))


def labels_there_and_back(program, path, scratch, reader):
    name = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    outs = [scratch / f"labels.{e}" for e in ["nii", "nii.gz", "seg.nrrd", "nrrd", "mha"]]
    array, affine = convert(program, "labels", path, scratch, *outs)
    expected, expected_affine = reader(path)
    check(f"{name}: its {np.count_nonzero(expected)} labelled voxels", (array == expected).all() and expected.any())
    check(f"{name}: its affine", np.allclose(affine, expected_affine, rtol=0, atol=1e-6))
    for out in outs:
        itk = sitk.ReadImage(str(out))
        same = (sitk.GetArrayFromImage(itk) == expected).all()
        same &= np.allclose(itk_affine(itk), expected_affine, rtol=0, atol=1e-4)
        check(f"{name}: ITK reads {out.name} at the same place", same)
        if out.name.endswith("nrrd"):
            data, header = nrrd.read(str(out))
            same = np.allclose(nrrd_affine(header), expected_affine, rtol=0, atol=1e-6)
            check(f"{name}: pynrrd reads {out.name} the same", same and (data.T == expected).all())
        if ".nii" in out.name:
            written = nibabel.load(out)
            same = (np.asarray(written.dataobj).T == expected).all()
            check(f"{name}: nibabel reads the same voxels in {out.name}", same)
            if ".nii" in path.name:
                same = (written.affine == nibabel.load(path).affine).all()
                check(f"{name}: the affine of {out.name} is that of the source, bit for bit", same)
        back, back_affine = convert(program, "labels", out, scratch)
        same = (back == expected).all() and np.allclose(back_affine, affine, rtol=0, atol=1e-5)
        check(f"{name}: {out.name} is read back the same", same)


def nifti_labels(path):
    image = nibabel.load(path)
    return np.asarray(image.dataobj).T, LPS_FROM_RAS @ image.affine


def nrrd_labels(path):
    data, header = nrrd.read(str(path))
    return data.T, nrrd_affine(header)


def read_data_set(program, folder, scratch):
    for path in sorted(folder.rglob("*.nii.gz")) + sorted(folder.rglob("*.nii")):
        read_nifti(program, "image", path, scratch)
        if path.parent.name.startswith("labels"):
            labels_there_and_back(program, path, scratch, nifti_labels)
    series = {p.name: read_series(p)[0] for p in sorted(folder.glob("dicom/*")) if p.is_dir()}
    for name, image in series.items():
        array, affine = convert(program, "image", folder / "dicom" / name, scratch)
        title = f"{folder.name}/dicom/{name}"
        check(f"{title}: ITK's {array.size} voxels", (array == sitk.GetArrayFromImage(image)).all())
        check(f"{title}: ITK's affine", np.allclose(itk_affine(image), affine, rtol=0, atol=1e-4))
    for path in sorted(folder.glob("labels*/*.nii.gz")):
        image = series.get(path.name.split("__")[0])
        if image is not None:
            labels_on_another_grid(program, path, folder / "dicom" / path.name.split("__")[0], image, scratch)
    for path in sorted(folder.rglob("*.nrrd")):
        labels_there_and_back(program, path, scratch, nrrd_labels)
        image = series.get(path.name.split("__")[0])
        if image is not None:
            array, affine = convert(program, "labels", path, scratch)
            on_grid = array.shape == image.GetSize()[::-1] and np.allclose(affine, itk_affine(image), rtol=0, atol=1e-4)
            check(f"{folder.name}/{path.name}: on the grid of its series", on_grid)
    segmentations(program, folder, scratch)


def labels_on_another_grid(program, path, series, image, scratch):
    """The affines of labels and series, both as synthfm reads them, find the label that ITK finds for every voxel."""
    labels, from_label = convert(program, "labels", path, scratch)
    array, from_image = convert(program, "image", series, scratch)
    indices = np.indices(array.shape)[::-1].reshape(3, -1)
    matrix = np.linalg.inv(from_label) @ from_image
    places = np.rint(matrix[:3, :3] @ indices + matrix[:3, 3:]).astype(int)
    shape = np.array(labels.shape[::-1])[:, None]
    inside = ((places >= 0) & (places < shape)).all(0)
    placed = np.zeros(array.size, np.uint16)
    placed[inside] = labels[tuple(places[::-1, inside])]
    theirs = sitk.Resample(sitk.ReadImage(str(path)), image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    theirs = sitk.GetArrayFromImage(theirs)
    same = (placed.reshape(array.shape) == theirs).mean()
    name = f"{path.parent.parent.name}/{path.name}"
    check(f"{name}: {np.count_nonzero(theirs)} voxels of its series get ITK's labels ({same:.6f})", same == 1 and theirs.any())


def segments_in_order(path):
    """Segments of a binary DICOM Segmentation at their positions [k, row, column], the later one where two overlap."""
    data = pydicom.dcmread(path)
    frames = data.PerFrameFunctionalGroupsSequence
    z = [float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in frames]
    step = float(data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices)
    slices = np.round((np.array(z) - min(z)) / step).astype(int)
    labels = np.zeros((slices.max() + 1, data.Rows, data.Columns), np.uint16)
    for k, frame, pixels in zip(slices, frames, data.pixel_array):
        labels[k][pixels > 0] = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return labels


def segmentations(program, folder, scratch):
    """DICOM Segmentations against highdicom, and where segments overlap, which it refuses, against pydicom's frames."""
    for path in sorted(folder.glob("dicom_seg/*.dcm")):
        title = f"{folder.name}/dicom_seg/{path.name}"
        array, affine = convert(program, "labels", path, scratch)
        try:
            volume = hd.seg.segread(path).get_volume(combine_segments=True)
        except RuntimeError:
            same = np.array_equal(array, segments_in_order(path))
            check(f"{title}: pydicom's {np.count_nonzero(array)} voxels, of overlapping segments", same)
            continue
        # highdicom's axes are slice, row, column, and its slices may run the other way.
        theirs, labels = volume.affine[:, [2, 1, 0, 3]], volume.array
        if theirs[:3, 2] @ affine[:3, 2] < 0:
            labels = labels[::-1]
            theirs = theirs @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, len(labels) - 1], [0, 0, 0, 1]]
        check(f"{title}: highdicom's {np.count_nonzero(labels)} voxels", np.array_equal(labels, array))
        check(f"{title}: highdicom's affine", np.allclose(theirs, affine, rtol=0, atol=1e-4))


def main():
    with tempfile.TemporaryDirectory() as scratch:
        if sys.argv[1] == "--read":
            for folder in sys.argv[3:]:
                read_data_set(sys.argv[2], Path(folder), Path(scratch))
        else:
            for argument in sys.argv[2:]:
                run(sys.argv[1], argument, Path(scratch))
    sys.exit(f"{len(FAILED)} checks failed" if FAILED else 0)


main()
