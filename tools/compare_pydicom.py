#!/usr/bin/env python3
"""Compares the pixels that synthfm reads from every public DICOM file in pydicom's PyPI packages with pydicom's.

    venv/bin/pip install pydicom==3.0.2 pydicom-data==1.0.0 numpy==2.4.6 pylibjpeg==2.1.0 pylibjpeg-libjpeg==2.5.0 \
        pylibjpeg-openjpeg==2.6.0 pylibjpeg-rle==2.2.0 pyjpegls==1.5.1
    cargo build --release -p synthfm-image --example convert
    venv/bin/python tools/compare_pydicom.py target/release/examples/convert [--table] [FILE...]

Values are compared in the unit of the modality (rescale, modality table, dose grid scaling), colours in 8 bits, a stack
of colours as its luminance, segmentations as labels, frames in the order of their positions. Files are equal bit for bit; those of lossy JPEG,
whose decoders round in different ways, within LOSSY levels (colours: 3 of 255). Prints one line per file, or with
--table a table, and fails if values differ or if synthfm refuses what pydicom reads and this file does not explain.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut

# Levels by which decoders of lossy JPEG differ: one of the inverse transform, two more of the colours.
LOSSY = {"1.2.840.10008.1.2.4.50": 1, "1.2.840.10008.1.2.4.51": 1}
LOSSY_COLOUR = 3
# Transforms of JPEG 2000 in floating point end in the other of two neighbours now and then.
LOSSY_2000 = {"1.2.840.10008.1.2.4.91": 1}


def files():
    import data_store

    roots = [Path(pydicom.__file__).parent / "data", Path(data_store.__path__[0])]
    found = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    return [path for path in found if path.suffix not in (".py", ".pyc", ".txt", ".json", ".md")]


def header(path):
    """pydicom's data set, or None if the file is no DICOM image."""
    try:
        data = pydicom.dcmread(path, force=path.suffix == ".dcm")
    except Exception:
        return None
    has_pixels = any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    if not has_pixels or "Rows" not in data:
        return None
    data.SOPClassUID = data.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    if not hasattr(data, "file_meta") or "TransferSyntaxUID" not in data.file_meta:
        data.ensure_file_meta()
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
    return data


def frames_first(data, pixels):
    """Pixels as [frame, row, column] or [frame, row, column, 3]."""
    several = int(data.get("NumberOfFrames") or 1) > 1
    return pixels if several else pixels[None]


def along_normal(data, count):
    """Positions of the frames along their normal; None if they are unknown."""
    def of(group, sequence, name):
        item = group.get(sequence)
        return item[0].get(name) if item else None

    shared = data.get("SharedFunctionalGroupsSequence")
    shared = shared[0] if shared else data
    groups = data.get("PerFrameFunctionalGroupsSequence")
    if count == 1:
        return None
    if not groups:
        offsets = data.get("GridFrameOffsetVector")
        return None if offsets is None else [float(v) for v in offsets]
    along = []
    for group in groups:
        position = of(group, "PlanePositionSequence", "ImagePositionPatient")
        orientation = of(group, "PlaneOrientationSequence", "ImageOrientationPatient")
        orientation = orientation or of(shared, "PlaneOrientationSequence", "ImageOrientationPatient")
        if not position or not orientation:
            return None
        normal = np.cross([float(v) for v in orientation[:3]], [float(v) for v in orientation[3:]])
        along.append(float(np.dot(normal, [float(v) for v in position])))
    return along


def in_8_bits(data, pixels):
    return np.asarray(pixels) >> max(int(data.BitsStored) - 8, 0)


def colours(data, pixels):
    """Pixels of a palette in 8 bits. pydicom takes the tables of big-endian files as they are."""
    if data.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2":
        for name in ("Red", "Green", "Blue"):
            tag = f"{name}PaletteColorLookupTableData"
            if tag in data:
                data[tag].value = np.frombuffer(data[tag].value, ">u2").astype("<u2").tobytes()
    table = apply_color_lut(pixels, data)
    return (table >> 8 if table.dtype == np.uint16 else table)[..., :3]


def rescaled(data, pixels):
    """Values in the unit of the modality; pydicom does not look into functional groups."""
    groups = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = data.get("SharedFunctionalGroupsSequence") or []
    if not any("PixelValueTransformationSequence" in group for group in [*groups, *shared]):
        return apply_modality_lut(pixels, data)
    out = []
    for n, frame in enumerate(pixels):
        group = groups[n] if groups and "PixelValueTransformationSequence" in groups[n] else shared[0]
        item = group.PixelValueTransformationSequence[0]
        out.append(frame * float(item.RescaleSlope) + float(item.RescaleIntercept))
    return np.stack(out)


def expected(data):
    """pydicom's values as synthfm gives them."""
    is_segmentation = data.SOPClassUID.name.startswith("Segmentation")
    colour = data.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2")
    pixels = frames_first(data, data.pixel_array)
    if is_segmentation:
        pixels = pixels * labels_of(data)[: len(pixels), None, None]
    elif data.PhotometricInterpretation == "PALETTE COLOR":
        pixels = colours(data, pixels)
    elif colour:
        pixels = in_8_bits(data, pixels)
    elif data.get("Modality") == "RTDOSE" and "DoseGridScaling" in data:
        pixels = pixels * float(data.DoseGridScaling)
    else:
        pixels = rescaled(data, pixels)
    pixels = pixels.astype(np.float64)
    along = along_normal(data, len(pixels))
    if along is not None:
        pixels = pixels[np.argsort(along, kind="stable")]
    if colour and len(pixels) > 1:
        pixels = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return pixels.astype(np.float32)


def labels_of(data):
    """The segment's number of each frame."""
    groups = data.PerFrameFunctionalGroupsSequence
    return np.array([g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in groups])


def read(convert, path, data):
    """synthfm's values and warnings; the error as text."""
    kind, dtype = ("labels", "<u2") if data.SOPClassUID.name.startswith("Segmentation") else ("image", "<f4")
    with tempfile.NamedTemporaryFile() as values:
        done = subprocess.run([convert, kind, path, values.name], capture_output=True, text=True)
        if done.returncode:
            problem = re.search(r'problem: "(.*?)" }', done.stderr)
            return None, problem[1] if problem else done.stderr.strip()
        report = json.loads(done.stdout)
        got = np.fromfile(values.name, dtype).astype("<f4").reshape(report["shape"][::-1])
        return got, report["warnings"]


def tolerance(data):
    syntax = data.file_meta.TransferSyntaxUID
    if syntax in LOSSY:
        return LOSSY_COLOUR if data.SamplesPerPixel > 1 else LOSSY[syntax]
    return LOSSY_2000.get(syntax, 0) * 1.001 * abs(float(data.get("RescaleSlope") or 1))


def compare(convert, path, data):
    """One of equal, near, different, refused, alone, neither; and why."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            want, reason = expected(data), ""
        except Exception as error:
            want, reason = None, str(error).splitlines()[0]
    got, notes = read(convert, path, data)
    if want is None:
        return ("neither", notes) if got is None else ("alone", f"pydicom: {reason}")
    if got is None:
        return "refused", notes
    want = want.reshape(got.shape) if want.size == got.size else want
    if want.shape != got.shape:
        return "different", f"shape {got.shape}, pydicom {want.shape}"
    # Luminances are sums of rounded products.
    rounding = 1e-4 if int(data.get("NumberOfFrames") or 1) > 1 and data.PhotometricInterpretation[:4] != "MONO" else 0
    worst = float(np.max(np.abs(want.astype(np.float64) - got)))
    if worst <= rounding:
        return "equal", ""
    if worst <= tolerance(data):
        return "near", f"up to {worst:g} levels: lossy, rounded otherwise"
    return "different", f"up to {worst:g} at {int(np.sum(want != got))} of {want.size} values"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("convert")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    counts, unlike = {}, []
    for path in arguments.files or files():
        data = header(path)
        if data is None:
            continue
        outcome, why = compare(arguments.convert, path, data)
        why = why if isinstance(why, str) else "; ".join(why)
        why = why.replace(f"{path}: ", "").removeprefix("Error: ")
        counts[outcome] = counts.get(outcome, 0) + 1
        if arguments.table and outcome not in ("equal", "near"):
            print(f"| `{path.name}` | {outcome} | {why} |")
        elif not arguments.table:
            print(f"{outcome:10}{path.name:50}{why}")
        if outcome == "different":
            unlike.append(path.name)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    sys.exit(bool(unlike))


if __name__ == "__main__":
    main()
