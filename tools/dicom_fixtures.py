#!/usr/bin/env python3
"""Writes DICOM files as devices write them that do not keep to the usual ways, with the values that they hold.

    venv/bin/pip install pydicom==3.0.2 numpy==2.4.6 pyjpegls==1.5.1 pillow==13.0.0
    venv/bin/python tools/dicom_fixtures.py crates/synthfm-image/tests/fixtures/dicom

The expected values are those that were put in, not those that a program reads; of near-lossless JPEG-LS, and of JPEG,
they are what CharLS and libjpeg decode. `tests/dicom.rs` compares.
"""

import io
import json
import sys
from pathlib import Path

import jpeg_ls
import numpy as np
from PIL import Image
from pydicom import Dataset, FileDataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

OUT = Path(sys.argv[1])
EXPECTED = {}
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 81, 91))
MR, DOSE, CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("4", "481.2", "7"))
# Axes of samples one component after the other, line by line, and pixel by pixel.
ARRANGED = ((2, 0, 1), (0, 2, 1), (0, 1, 2))
RNG = np.random.default_rng(7)


def uid(*parts):
    return generate_uid(entropy_srcs=["synthfm", *map(str, parts)])


def data_set(pixels, sop_class=CAPTURE, **attributes):
    """A data set for pixels [row, column], [frame, row, column] or [row, column, 3]."""
    data = Dataset()
    colour = pixels.shape[-1] == 3 and pixels.ndim == 3
    frames = 1 if pixels.ndim == 2 or colour else len(pixels)
    data.SOPClassUID = sop_class
    data.SOPInstanceUID = uid("instance", len(EXPECTED), attributes.get("InstanceNumber"), pixels.tobytes())
    data.StudyInstanceUID, data.SeriesInstanceUID = uid("study"), uid("series", len(EXPECTED))
    data.Modality = "OT"
    data.Rows, data.Columns = pixels.shape[:2] if colour or pixels.ndim == 2 else pixels.shape[1:]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
    bits = 8 * pixels.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(data, name, value)
    return data


def write(name, data, syntax=EXPLICIT, content=None):
    """Writes a file; `content` stands in for its pixel data, as it is."""
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    file = FileDataset(str(path), data, file_meta=meta, preamble=bytes(128), is_implicit_VR=syntax == IMPLICIT,
                       is_little_endian=syntax != BIG)
    if content is not None:
        file.PixelData = content
        # pydicom's own way: OB for encapsulated data.
        if syntax not in (IMPLICIT, EXPLICIT, BIG, DEFLATED):
            file["PixelData"].VR = "OB"
            file["PixelData"].is_undefined_length = True
        elif "PixelData" in file and file["PixelData"].VR not in ("OB", "OW"):
            file["PixelData"].VR = "OW"
    dcmwrite(path, file, implicit_vr=syntax == IMPLICIT, little_endian=syntax != BIG, enforce_file_format=True)


def expect(name, values, **more):
    values = np.asarray(values, np.float64)
    EXPECTED[name] = {"shape": list(values.shape), "values": values.ravel().tolist(), **more}


def native(name, pixels, values, syntax=EXPLICIT, more=None, vr="OW", **attributes):
    data = data_set(pixels, **attributes)
    order = ">" if syntax == BIG else "<"
    raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if len(raw) % 2:
        raw += b"\0"
    if syntax == BIG and pixels.itemsize == 1 and vr == "OW":
        raw = np.frombuffer(raw, "<u2").byteswap().tobytes()
    data.PixelData = raw
    data["PixelData"].VR = vr
    write(name, data, syntax)
    expect(name, values, **(more or {}))


def packed(row):
    """A row of bytes in DICOM's run lengths."""
    out, at = b"", 0
    while at < len(row):
        run = 1
        while at + run < len(row) and run < 128 and row[at + run] == row[at]:
            run += 1
        out += bytes([257 - run, row[at]]) if run > 1 else bytes([0, row[at]])
        at += run
    return out + b"\0" * (len(out) % 2)


def rle(pixels):
    """A frame as RLE: a segment per byte of a sample, the highest first."""
    samples = pixels.reshape(-1, 3) if pixels.ndim == 3 else pixels.reshape(-1, 1)
    planes = [samples[:, channel].astype(samples.dtype.newbyteorder(">")) for channel in range(samples.shape[1])]
    planes = [plane.view(np.uint8).reshape(len(plane), -1) for plane in planes]
    segments = [packed(plane[:, byte].tobytes()) for plane in planes for byte in range(plane.shape[1])]
    at, head = 64, [len(segments)]
    for segment in segments:
        head.append(at)
        at += len(segment)
    return np.array(head + [0] * (16 - len(head)), "<u4").tobytes() + b"".join(segments)


def jpeg(pixels, quality=95):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue(), np.asarray(Image.open(io.BytesIO(out.getvalue())))


def smooth(rows, columns, channels=3, most=255):
    y, x = np.mgrid[:rows, :columns]
    waves = [most * (0.5 + 0.4 * np.sin((x + n) / 3) * np.cos((y - n) / 4)) for n in range(channels)]
    return np.stack(waves, -1)


def jpeg_ls_colours():
    for bits, dtype in ((8, np.uint8), (12, np.uint16)):
        pixels = smooth(13, 11, most=(1 << bits) - 1).astype(dtype)
        pixels[2:7, 1:9] = pixels[0, 0]
        pixels[9, :, 1] = 0
        for mode in (0, 1, 2):
            for near in (0, 3):
                # Lines are interleaved by CharLS itself, from samples pixel by pixel.
                arranged = pixels.transpose(2, 0, 1) if mode == 0 else pixels
                stream = bytes(jpeg_ls.encode_buffer(arranged.tobytes(), *pixels.shape, bits, near, mode))
                want = decoded_jpeg_ls(stream, pixels, near)
                name = f"jls_{bits}_mode{mode}_near{near}.dcm"
                data = data_set(pixels, BitsStored=bits, HighBit=bits - 1)
                write(name, data, JPEG_LS, encapsulate([stream]))
                expect(name, want >> (bits - 8))


def decoded_jpeg_ls(stream, pixels, near):
    """What CharLS decodes, whose order of samples is told by the pixels that were encoded."""
    raw = np.frombuffer(bytes(jpeg_ls.decode_buffer(stream)[0]), pixels.dtype)
    for axes in ARRANGED:
        shape = [pixels.shape[axis] for axis in axes]
        values = raw.reshape(shape).transpose(np.argsort(axes)).astype(int)
        if np.abs(values - pixels).max() <= near:
            return values
    raise ValueError("CharLS does not decode what it encoded")


def big_endian():
    odd = RNG.integers(0, 255, (3, 5), dtype=np.uint8)
    native("be_8_ow.dcm", odd, odd, BIG)
    native("be_8_ob.dcm", odd, odd, BIG, vr="OB")
    colours = RNG.integers(0, 255, (3, 3, 3), dtype=np.uint8)
    native("be_8_rgb.dcm", colours, colours, BIG)
    stack = RNG.integers(0, 255, (3, 3, 5), dtype=np.uint8)
    native("be_8_frames.dcm", stack, stack, BIG)
    signed = RNG.integers(-128, 127, (4, 3), dtype=np.int8)
    native("be_8_signed.dcm", signed, signed, BIG)
    bits = RNG.integers(0, 2, (3, 5, 5))
    for name, syntax, swap in (("bits.dcm", EXPLICIT, False), ("be_bits.dcm", BIG, True)):
        raw = np.packbits(bits.ravel(), bitorder="little")
        raw = np.append(raw, np.zeros(len(raw) % 2, np.uint8))
        data = data_set(bits.astype(np.uint8), BitsAllocated=1, BitsStored=1, HighBit=0)
        data.PixelData = (raw.view("<u2").byteswap() if swap else raw).tobytes()
        data["PixelData"].VR = "OW"
        write(name, data, syntax)
        expect(name, bits)


def modality_tables():
    stored = np.array([[-4, -3, -2], [-1, 0, 9]], np.int16)
    table = np.array([100, 200, 300, 400, 500], "<u2")
    want = table[np.clip(stored + 3, 0, 4)]

    def item(descriptor, data, order="<"):
        item = Dataset()
        item.add_new("LUTDescriptor", "SS" if descriptor[1] < 0 else "US", descriptor)
        item.ModalityLUTType = "US"
        item.add_new("LUTData", "OW", np.asarray(data).tobytes())
        return item

    # -3 as a US is 65533: what a reader of implicit files must tell from the pixels' sign.
    for name, syntax, first in (("mlut_implicit", IMPLICIT, -3), ("mlut_ss", EXPLICIT, -3), ("mlut_us", EXPLICIT, 65533)):
        for rescale in (False, True):
            sequence = Sequence([item([5, first, 16], table)])
            more = {"RescaleSlope": 2, "RescaleIntercept": 7} if rescale else {}
            both = "_rescale" if rescale else ""
            native(f"{name}{both}.dcm", stored, want, syntax, ModalityLUTSequence=sequence, **more)
    stored = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
    table = np.array([9, 8, 7, 60, 50, 255], np.uint8)
    for name, entries in (("mlut_bytes", table), ("mlut_bytes_in_words", table.astype("<u2"))):
        native(f"{name}.dcm", stored, table[stored], ModalityLUTSequence=Sequence([item([6, 0, 8], entries)]))
    for name, sequence in (("mlut_empty_item", [Dataset()]), ("mlut_empty", [])):
        native(f"{name}.dcm", stored, stored * 2.0 - 1, ModalityLUTSequence=Sequence(sequence), RescaleSlope=2,
               RescaleIntercept=-1)


def palettes():
    stored = np.array([[0, 1, 2, 3], [4, 5, 6, 9]], np.uint8)
    # A run of two, a line of four to the end, the run again.
    first = {"Red": [10, 20, 60], "Green": [0, 255, 3], "Blue": [7, 7, 7]}
    for bits, kind in ((8, "u1"), (16, "<u2")):
        for syntax in (EXPLICIT, BIG):
            attributes = {"PhotometricInterpretation": "PALETTE COLOR"}
            channels = []
            scale = 1 if bits == 8 else 256
            for name, (a, b, end) in first.items():
                values = [a, b, *np.around(np.linspace(b, end, 5)[1:]).astype(int), a, b]
                channels.append(values)
                offset = [0, 0, 0, 0] if bits == 8 else [0, 0]
                numbers = [0, 2, a * scale, b * scale, 1, 4, end * scale, 2, 1, *offset]
                raw = np.array(numbers, kind).tobytes()
                raw += b"\0" * (len(raw) % 2)
                if syntax == BIG:
                    raw = np.frombuffer(raw, "<u2").byteswap().tobytes()
                attributes[f"{name}PaletteColorLookupTableDescriptor"] = [8, 0, bits]
                attributes[f"Segmented{name}PaletteColorLookupTableData"] = raw
            palette = np.array(channels).T
            if bits == 16:
                # Lines are straight in 16 bits, and cut to 8 afterwards.
                for n, (a, b, end) in enumerate(first.values()):
                    palette[2:6, n] = np.around(np.linspace(b * 256, end * 256, 5)[1:]).astype(int) >> 8
            name = f"palette_segments_{bits}{'_be' if syntax == BIG else ''}.dcm"
            native(name, stored, palette[np.minimum(stored, 7)], syntax, **attributes)


def doses():
    stored = RNG.integers(0, 2**32, (3, 2, 4), dtype=np.uint32)
    stored[0, 0] = [0, 1, 2**31, 2**32 - 1]
    place = {"sop_class": DOSE, "Modality": "RTDOSE", "DoseUnits": "GY", "DoseGridScaling": "2.5e-6",
             "ImagePositionPatient": [10, 20, -30], "PixelSpacing": [2, 3]}
    axial, prone = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0]
    for name, offsets, orientation, heights in (
        ("dose_relative", [0, 5, 10], axial, [-30, -25, -20]),
        ("dose_descending", [0, -5, -10], axial, [-30, -35, -40]),
        ("dose_absolute", [-30, -25, -20], axial, [-30, -25, -20]),
        ("dose_absolute_prone", [-30, -25, -20], prone, [-30, -25, -20]),
    ):
        # Frames lie along the normal, which points down in a prone grid.
        order = np.argsort(np.array(heights) * (1 if orientation == axial else -1))
        more = {"first_mm": [10, 20, heights[order[0]]], "warning": "DoseGridScaling"}
        native(f"{name}.dcm", stored, (stored * 2.5e-6)[order], more=more, GridFrameOffsetVector=offsets,
               ImageOrientationPatient=orientation, **place)
    data = data_set(stored, GridFrameOffsetVector=[0, 5, 10], ImageOrientationPatient=axial, **place)
    write("dose_rle.dcm", data, RLE, encapsulate([rle(frame) for frame in stored]))
    expect("dose_rle.dcm", stored * 2.5e-6)


def encodings():
    pixels = RNG.integers(-500, 3000, (4, 5), dtype=np.int16)
    more = {"warning": "value representations are implicit"}
    for name, stated in (("implicit_in_explicit.dcm", EXPLICIT), ("implicit_in_rle.dcm", RLE)):
        data = data_set(pixels, RescaleIntercept=-1024, RescaleSlope=1)
        content = pixels.astype("<i2").tobytes() if stated == EXPLICIT else encapsulate([rle(pixels)])
        write(name, data, IMPLICIT, content)
        raw = (OUT / name).read_bytes()
        if stated == RLE:
            # An element of undefined length takes the place of one with a length.
            at = raw.rindex(b"\xe0\x7f\x10\x00")
            raw = raw[: at + 4] + b"\xff\xff\xff\xff" + content
        (OUT / name).write_bytes(restated(raw, IMPLICIT, stated))
        expect(name, pixels - 1024.0, **more)
    data = data_set(pixels)
    write("explicit_in_implicit.dcm", data, EXPLICIT, pixels.astype("<i2").tobytes())
    raw = (OUT / "explicit_in_implicit.dcm").read_bytes()
    (OUT / "explicit_in_implicit.dcm").write_bytes(restated(raw, EXPLICIT, IMPLICIT))
    expect("explicit_in_implicit.dcm", pixels, warning="value representations are explicit")
    for name, shape, dtype in (("rle_32.dcm", (3, 5), np.uint32), ("rle_32_signed.dcm", (3, 5), np.int32),
                               ("rle_32_rgb.dcm", (3, 5, 3), np.uint32), ("rle_8_rgb.dcm", (3, 5, 3), np.uint8)):
        info = np.iinfo(dtype)
        pixels = RNG.integers(info.min, info.max, shape, dtype=dtype)
        write(name, data_set(pixels), RLE, encapsulate([rle(pixels)]))
        expect(name, pixels >> (8 * (pixels.itemsize - 1)) if len(shape) == 3 else pixels)


def restated(raw, old, new):
    """The file with another transfer syntax in its header, as careless writers state it."""
    at = raw.index(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(raw[at + 6 : at + 8], "little")
    text = new.encode() + b"\0" * (len(new) % 2)
    group = raw.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
    size = int.from_bytes(raw[group : group + 4], "little") + len(text) - length
    raw = raw[:group] + size.to_bytes(4, "little") + raw[group + 4 :]
    return raw[: at + 6] + len(text).to_bytes(2, "little") + text + raw[at + 8 + length :]


def fragments():
    frames, streams = [], []
    for n in range(3):
        stream, pixels = jpeg(smooth(16, 24, 1)[..., 0].astype(np.uint8) // (n + 1))
        streams.append(stream + b"\0" * (len(stream) % 2))
        frames.append(pixels)
    for name, table in (("fragments_no_table.dcm", False), ("fragments_table.dcm", True)):
        pieces, starts, at = [], [], 0
        for n, stream in enumerate(streams):
            cut = (len(stream) // (n + 2)) & ~1
            starts.append(at)
            for piece in (stream[:cut], stream[cut:]) if n != 1 else (stream,):
                pieces.append(piece)
                at += 8 + len(piece)
        item = lambda piece: b"\xfe\xff\x00\xe0" + len(piece).to_bytes(4, "little") + piece
        offsets = np.array(starts, "<u4").tobytes() if table else b""
        content = b"".join(map(item, [offsets, *pieces])) + b"\xfe\xff\xdd\xe0\0\0\0\0"
        write(name, data_set(np.stack(frames)), JPEG, content)
        expect(name, np.stack(frames), tolerance=1)


def large():
    """A million pixels in few bytes: what decoders take can be measured, and must be within the limit."""
    side, colour = 1024, (200, 100, 50)
    grey = np.full((side, side), 77, np.uint8)
    rgb = np.full((side, side, 3), colour, np.uint8)

    def saved(pixels, kind, **options):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind, **options)
        return out.getvalue()

    wide = grey.astype(np.uint16)
    for name, pixels, syntax, streams in (
        ("j2k", grey, JPEG_2000, [saved(grey, "JPEG2000")]),
        ("j2k_tiles", grey, JPEG_2000, [saved(grey, "JPEG2000", tile_size=(128, 128))]),
        ("j2k_rgb", rgb, JPEG_2000, [saved(rgb, "JPEG2000", mct=0)]),
        ("jpeg", rgb, JPEG, [saved(rgb, "JPEG", subsampling=0)]),
        ("jpeg_progressive", rgb, JPEG, [saved(rgb, "JPEG", progressive=True, subsampling=0)]),
        ("jls", grey, JPEG_LS, [bytes(jpeg_ls.encode_array(grey))]),
        ("rle", wide, RLE, [rle(wide)]),
    ):
        write(f"large/{name}.dcm", data_set(pixels, SOPInstanceUID=uid("large", name)), syntax, encapsulate(streams))
    data = data_set(grey, SOPInstanceUID=uid("large", "deflated"))
    data.PixelData = grey.tobytes()
    data["PixelData"].VR = "OB"
    write("large/deflated.dcm", data, DEFLATED)


def slices(folder, names, pixels, **each):
    """A series of plain files; each attribute has a value for every slice, or one for all."""
    series = uid("series", folder)
    for n, (name, values) in enumerate(zip(names, pixels)):
        own = {key: value[n] if isinstance(value, tuple) else value for key, value in each.items()}
        own = {key: value for key, value in own.items() if value is not None}
        own.setdefault("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
        data = data_set(values, sop_class=MR, SeriesInstanceUID=series, PixelSpacing=[1, 2], **own)
        data.SOPInstanceUID = own.get("SOPInstanceUID", uid(folder, n))
        data.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
        data["PixelData"].VR = "OW"
        write(f"{folder}/{name}", data)


def positions(*heights):
    return tuple([0, 0, z] for z in heights)


def flat(*values, dtype=np.int16):
    return [np.full((2, 3), value, dtype) for value in values]


def series():
    """Divisions and orders; `volumes` has the first values of the slices of each volume."""
    def volumes(name, *firsts, **more):
        EXPECTED[name] = {"volumes": firsts, **more}

    # Two phases whose names have no order, three slices of each, one missing.
    slices("phases", ["f3", "a9", "0c", "77", "b2"], flat(11, 1, 2, 12, 3), TemporalPositionIdentifier=(2, 1, 1, 2, 1),
           InstanceNumber=(5, 1, 3, 6, 2), ImagePositionPatient=positions(0, 0, 5, 10, 10))
    volumes("phases", [1, 2, 3], [11, 12])
    for name, key, values in (
        ("triggers", "TriggerTime", (31.5, 0, 30, 0)),
        ("echo_numbers", "EchoNumbers", (2, 1, 2, 1)),
        ("echo_times", "EchoTime", (30, 4.6, 30, 4.6)),
        ("acquisitions", "AcquisitionNumber", (10, 9, 10, 9)),
        ("times", "ContentTime", ("101500", "093000.5", "101501", "093001.5")),
        ("numbers", "InstanceNumber", (30, 4, 31, 5)),
    ):
        slices(name, ["a", "b", "c", "d"], flat(11, 1, 12, 2), ImagePositionPatient=positions(0, 0, 5, 5),
               **{key: values})
        volumes(name, [1, 2], [11, 12])
    slices("names", ["IM10", "IM2", "IM9", "IM1"], flat(11, 2, 1, 0), ImagePositionPatient=positions(5, 5, 0, 0))
    # IM1 0, IM2 2 are the first of each place, IM9 1 and IM10 11 the second.
    volumes("names", [0, 2], [1, 11], warning="order of their files' names")
    slices("no_places", ["IM10", "IM2", "IM1"], flat(3, 2, 1), ImageOrientationPatient=None)
    volumes("no_places", [1, 2, 3], warning="order of their files' names")
    slices("one_uid", ["a", "b", "c", "d"], flat(1, 2, 1, 4), InstanceNumber=(1, 2, 1, 3), SOPInstanceUID=uid("same"),
           ImagePositionPatient=positions(0, 5, 0, 5))
    # The third is a copy of the first; the fourth lies where the second does, with other pixels.
    volumes("one_uid", [1, 2], [4], warning="1 files are copies")


def windows():
    ramp = [np.arange(6, dtype=np.int16).reshape(2, 3) + 10 * n for n in range(3)]
    slices("windows_differ", ["a", "b", "c"], ramp, ImagePositionPatient=positions(0, 1, 2),
           WindowCenter=(3, 13, None), WindowWidth=(7, 5, None))
    # LINEAR: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    EXPECTED["windows_differ"] = {"volumes": [[0, 10, 20]], "windows": [],
                                  "slice_windows": [[-0.5, 5.5], [10.5, 14.5], None], "warning": "different windows"}
    slices("windows_agree", ["a", "b", "c"], ramp, ImagePositionPatient=positions(0, 1, 2), WindowCenter=(3, 3, None),
           WindowWidth=(7, 7, None))
    EXPECTED["windows_agree"] = {"volumes": [[0, 10, 20]], "windows": [[-0.5, 5.5]], "slice_windows": []}
    # 12 bits, HU: 4095 - v before, 4095 - 2048 - v after the rescale.
    values = [np.full((2, 3), v, np.uint16) for v in (100, 4095 - 200, 300)]
    slices("polarity_differs", ["a", "b", "c"], values, ImagePositionPatient=positions(0, 1, 2), BitsStored=12,
           HighBit=11, PhotometricInterpretation=("MONOCHROME2", "MONOCHROME1", "MONOCHROME2"), RescaleSlope=1,
           RescaleIntercept=-1024, WindowCenter=(-724, 2771, -724), WindowWidth=401)
    EXPECTED["polarity_differs"] = {
        "volumes": [[-924, -824, -724]], "inverted": False, "warning": "MONOCHROME1", "windows": [],
        "slice_windows": [[-924.5, -524.5], [-923.5, -523.5], [-924.5, -524.5]],
    }
    padded = np.array([[-2000, -2000, 0], [10, 20, -1999]], np.int16)
    native("padding.dcm", padded, padded * 2 - 5, more={"padding": [[-4005.0, -4003.0]]}, PixelPaddingValue=-2000,
           PixelPaddingRangeLimit=-1999, RescaleSlope=2, RescaleIntercept=-5)
    native("padding_implicit.dcm", padded, padded, IMPLICIT, more={"padding": [[-2000.0, -2000.0]]},
           PixelPaddingValue=-2000)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (jpeg_ls_colours, big_endian, modality_tables, palettes, doses, encodings, fragments, series, windows, large):
        make()
    text = json.dumps({"files": EXPECTED}, indent=None, separators=(",", ":"))
    (OUT / "expected.json").write_text(text.replace('},"', '},\n"') + "\n")
    size = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{len(EXPECTED)} in {OUT}, {size} bytes")


if __name__ == "__main__":
    main()
