#!/usr/bin/env python3
"""Runs `synthfm predict` on real DICOM series and reads the results with the programs that people use.

    venv/bin/pip install SimpleITK==2.5.7 nibabel==5.4.2 pynrrd==1.1.3 pydicom==3.0.2 highdicom==0.28.2 \
        dcmqi==1.5.7
    venv/bin/python tools/format_round_trips.py target/release/synthfm SERIES:SLICE:X,Y...

Each SERIES is a folder with one CT or MR series, SLICE and X,Y a click. Prints one line per check and fails if a voxel,
an affine or a reference is wrong.
"""

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


def main():
    with tempfile.TemporaryDirectory() as scratch:
        for argument in sys.argv[2:]:
            run(sys.argv[1], argument, Path(scratch))
    sys.exit(f"{len(FAILED)} checks failed" if FAILED else 0)


main()
