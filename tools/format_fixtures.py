#!/usr/bin/env python3
"""Small files in every format that synthfm reads, written and read back by other programs.

    python -m venv venv
    venv/bin/pip install nibabel==5.4.2 SimpleITK==2.5.7 pynrrd==1.1.3 pydicom==3.0.2 highdicom==0.28.2 \
        tifffile==2026.3.3 pillow==13.0.0 pylibjpeg==2.1.0 pylibjpeg-openjpeg==2.6.0 pylibjpeg-libjpeg==2.5.0 pyjpegls==1.5.1
    venv/bin/python tools/format_fixtures.py crates/synthfm-image/tests/fixtures/formats

`expected.json` lists for each file the values that the other program reads (i fastest), the LPS affine, and what else
the reader must find. Volumes are anisotropic, oblique and flipped, with odd sizes.
"""

import json
import shutil
import sys
from io import BytesIO
from pathlib import Path

import highdicom as hd
import nibabel
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
import tifffile
from highdicom.sr.coding import CodedConcept
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

OUT = Path(sys.argv[1])
EXPECTED = {}
RNG = np.random.default_rng(7)
PREFIX = "2.25.77"
SHAPE = (7, 5, 4)  # i, j, k
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(degrees_x, degrees_y, degrees_z):
    a, b, c = np.radians([degrees_x, degrees_y, degrees_z])
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


def affine(directions, spacing, origin):
    out = np.eye(4)
    out[:3, :3] = directions * np.asarray(spacing)
    out[:3, 3] = origin
    return out


OBLIQUE = rotation(10, -20, 35)
FLIPPED = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SPACING = [0.7, 1.3, 3.5]
ORIGIN = [-20.25, 31.5, 7.125]


def expect(name, values, lps=None, **more):
    """`values` as [k, j, i] or [row, col(, channel)]."""
    values = np.asarray(values)
    entry = {"shape": list(values.shape), "values": [float(v) for v in values.ravel()]}
    if lps is not None:
        entry["affine"] = np.asarray(lps)[:3].tolist()
    entry.update(more)
    EXPECTED[name] = entry


def numbers(dtype, shape=SHAPE[::-1], low=None, high=None):
    info = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
    if info is None:
        return RNG.normal(0, 100, shape).astype(dtype)
    low = max(info.min, -3000) if low is None else low
    high = min(info.max, 3000) if high is None else high
    return RNG.integers(low, high, shape).astype(dtype)


# ---- arrays and volumes -------------------------------------------------------------------------------------------


def nifti_2():
    for name, matrix in [("oblique", OBLIQUE), ("flipped", FLIPPED)]:
        lps = affine(matrix, SPACING, ORIGIN)
        values = numbers(np.int16)
        image = nibabel.Nifti2Image(values.T, LPS_FROM_RAS @ lps)
        image.header.set_slope_inter(0.5, -10)
        path = f"nifti2_{name}.nii.gz"
        nibabel.save(image, OUT / path)
        back = nibabel.load(OUT / path)
        expect(path, back.get_fdata().T, LPS_FROM_RAS @ back.affine, format="NIfTI-2")


def nrrds():
    signs = {"left-posterior-superior": [1, 1, 1], "RAS": [-1, -1, 1], "left-anterior-superior": [1, -1, 1]}
    cases = [
        ("lps_gzip.nrrd", np.int16, "left-posterior-superior", "gzip", "little"),
        ("ras_raw_big.nrrd", np.float32, "RAS", "raw", "big"),
        ("las_ascii.nrrd", np.uint8, "left-anterior-superior", "ascii", "little"),
    ]
    for name, dtype, space, encoding, endian in cases:
        lps = affine(OBLIQUE if "lps" in name else FLIPPED, SPACING, ORIGIN)
        sign = np.array(signs[space])
        values = numbers(dtype)
        header = {
            "space": space,
            "space directions": (lps[:3, :3].T * sign),
            "space origin": lps[:3, 3] * sign,
            "encoding": encoding,
            "endian": endian,
            "kinds": ["domain"] * 3,
        }
        nrrd.write(str(OUT / name), values.T, header)
        back, _ = nrrd.read(str(OUT / name))
        expect(name, back.T, lps, format="NRRD")
    values = numbers(np.uint16)
    lps = affine(OBLIQUE, SPACING, ORIGIN)
    header = {"space": "left-posterior-superior", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3],
              "encoding": "gzip"}
    nrrd.write(str(OUT / "detached.nhdr"), values.T, header, detached_header=True)
    expect("detached.nhdr", values, lps, format="NRRD")
    values = numbers(np.uint8, (5, 7))
    nrrd.write(str(OUT / "picture.nrrd"), values.T, {"spacings": [0.5, 0.25], "encoding": "raw"})
    expect("picture.nrrd", values, spacing=[0.25, 0.5])
    image = sitk.GetImageFromArray(numbers(np.int16))
    image.SetSpacing(SPACING), image.SetOrigin(ORIGIN), image.SetDirection(OBLIQUE.ravel())
    sitk.WriteImage(image, str(OUT / "itk.nrrd"), useCompression=True)
    expect("itk.nrrd", sitk.GetArrayFromImage(image), affine(OBLIQUE, SPACING, ORIGIN))


def slicer_segmentation():
    """Two layers whose structures share values, as Slicer writes overlapping segments."""
    layers = np.zeros((2,) + SHAPE, np.uint8)
    layers[0, 1:4, 1:3, :] = 1
    layers[0, 5, :, 2] = 2
    layers[1, 3:6, 2:5, 1:3] = 1
    lps = affine(OBLIQUE, SPACING, ORIGIN)
    header = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([[np.nan] * 3, lps[:3, :3].T]),
        "space origin": lps[:3, 3],
        "kinds": ["list", "domain", "domain", "domain"],
        "encoding": "gzip",
    }
    for n, (layer, value, name, colour) in enumerate(
        [(0, 1, "liver", "1 0.5 0"), (0, 2, "rib", "0 0 1"), (1, 1, "left kidney", "0 1 0")]
    ):
        header |= {f"Segment{n}_ID": f"Segment_{n}", f"Segment{n}_Name": name, f"Segment{n}_Color": colour,
                   f"Segment{n}_LabelValue": str(value), f"Segment{n}_Layer": str(layer)}
    nrrd.write(str(OUT / "layers.seg.nrrd"), layers, header)
    merged = np.where(layers[1] == 1, 3, layers[0])
    overlap = int(((layers[1] == 1) & (layers[0] > 0)).sum())
    expect("layers.seg.nrrd", merged.T, lps, labels=True, names=["liver", "rib", "left kidney"],
           colours=[[255, 128, 0], [0, 0, 255], [0, 255, 0]], warning=f"overlap in {overlap} voxels")


def meta_images():
    for name, matrix, compress in [("oblique.mha", OBLIQUE, True), ("flipped.mhd", FLIPPED, False)]:
        image = sitk.GetImageFromArray(numbers(np.int16))
        image.SetSpacing(SPACING), image.SetOrigin(ORIGIN), image.SetDirection(matrix.ravel())
        sitk.WriteImage(image, str(OUT / name), useCompression=compress)
        back = sitk.ReadImage(str(OUT / name))
        lps = affine(np.reshape(back.GetDirection(), (3, 3)), back.GetSpacing(), back.GetOrigin())
        expect(name, sitk.GetArrayFromImage(back), lps, format="MetaImage")
    rgb = numbers(np.uint8, (5, 7, 3))
    sitk.WriteImage(sitk.GetImageFromArray(rgb, isVector=True), str(OUT / "colour.mha"))
    expect("colour.mha", rgb)


def pictures():
    for name, dtype, options in [
        ("u8_lzw.tif", np.uint8, {}),
        ("u16.tif", np.uint16, {"byteorder": ">"}),
        ("i16_deflate.tif", np.int16, {"compression": "zlib", "predictor": True}),
        ("u32.tif", np.uint32, {}),
        ("f32.tif", np.float32, {"compression": "zlib"}),
    ]:
        values = numbers(dtype, (5, 7))
        tifffile.imwrite(OUT / name, values, photometric="minisblack", **options)
        expect(name, tifffile.imread(OUT / name), format="TIFF")
    values = numbers(np.uint8, (5, 7))
    Image.fromarray(values).save(OUT / "u8_lzw.tif", compression="tiff_lzw")
    expect("u8_lzw.tif", values)
    pages = numbers(np.uint16)
    tifffile.imwrite(OUT / "pages.tif", pages, photometric="minisblack")
    expect("pages.tif", pages, np.eye(4))
    rgb = numbers(np.uint8, (5, 7, 3))
    tifffile.imwrite(OUT / "rgb.tif", rgb, photometric="rgb")
    expect("rgb.tif", rgb)
    Image.fromarray(rgb).save(OUT / "rgb.bmp")
    expect("rgb.bmp", rgb, format="BMP")
    Image.fromarray(values).save(OUT / "grey.bmp")
    expect("grey.bmp", values)
    bits = values > 120
    Image.fromarray(bits).save(OUT / "bits.bmp")
    expect("bits.bmp", bits * 255.0)
    y, x = np.mgrid[:24, :40]
    smooth = np.clip(100 + 2 * x + 30 * np.sin(y / 5), 0, 255).astype(np.uint8)
    colour = np.stack([smooth, 255 - smooth, (smooth // 2)], axis=-1)
    Image.fromarray(smooth).save(OUT / "grey.jpg", quality=95)
    Image.fromarray(colour).save(OUT / "colour.jpg", quality=95)
    Image.fromarray(colour).save(OUT / "progressive.jpg", quality=95, progressive=True)
    for name in ["grey.jpg", "colour.jpg", "progressive.jpg"]:
        # Decoders round their cosine transforms and colours differently.
        expect(name, np.asarray(Image.open(OUT / name)), tolerance=3, format="JPEG")


def archives():
    imgs, gts = numbers(np.uint8), numbers(np.uint8, low=0, high=3)
    np.savez_compressed(OUT / "medsam.npz", imgs=imgs, gts=gts, spacing=np.array(SPACING))
    expect("medsam.npz", imgs, np.eye(4), format="NPZ")
    np.savez(OUT / "only.npz", numbers=gts)
    expect("only.npz", gts, np.eye(4), labels=True)


# ---- DICOM --------------------------------------------------------------------------------------------------------


def instance(number, series, rows, columns, modality="CT", sop_class="1.2.840.10008.5.1.4.1.1.2"):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{PREFIX}.{series}.{number}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = f"{PREFIX}.9"
    d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    d.StudyInstanceUID, d.SeriesInstanceUID = f"{PREFIX}.1", f"{PREFIX}.{series}"
    d.FrameOfReferenceUID = f"{PREFIX}.2"
    d.PatientName, d.PatientID, d.PatientBirthDate, d.PatientSex = "Phantom^Test", "P1", "", "O"
    d.StudyDate, d.StudyTime, d.StudyID, d.AccessionNumber = "20240102", "030405", "1", ""
    d.ReferringPhysicianName, d.PositionReferenceIndicator = "", ""
    d.SeriesNumber, d.InstanceNumber = series, number
    d.Modality, d.Manufacturer, d.SeriesDescription = modality, "Nobody", f"series {series}"
    d.ImageType, d.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = rows, columns
    return d


def pixels(d, values, stored=None):
    d.BitsAllocated = 8 * values.dtype.itemsize
    d.BitsStored = stored or d.BitsAllocated
    d.HighBit = d.BitsStored - 1
    d.PixelRepresentation = int(values.dtype.kind == "i")
    # Signed values with fewer stored bits leave the upper ones clear.
    raw = values.astype(np.int64) & ((1 << d.BitsStored) - 1)
    d.PixelData = raw.astype(f"<u{values.dtype.itemsize}").tobytes()
    if len(d.PixelData) % 2:
        d.PixelData += b"\0"


def place(d, lps, k):
    step = lps[:3, 2] * k
    d.ImagePositionPatient = [float(f"{v:.10g}") for v in lps[:3, 3] + step]
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    d.PixelSpacing = [float(spacing[1]), float(spacing[0])]
    d.SliceThickness = float(spacing[2])
    directions = lps[:3, :3] / spacing
    d.ImageOrientationPatient = [float(f"{v:.12f}") for v in [*directions[:, 0], *directions[:, 1]]]


def save(d, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    d.save_as(path, enforce_file_format=True)


def stack(folder):
    """ITK's reading of a series, with the files in the order of their positions."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(OUT / folder)))
    image = reader.Execute()
    lps = affine(np.reshape(image.GetDirection(), (3, 3)), image.GetSpacing(), image.GetOrigin())
    return sitk.GetArrayFromImage(image), lps


def dicom_series():
    k_order = [2, 0, 3, 1]
    lps = affine(np.eye(3), SPACING, ORIGIN)
    values = numbers(np.int16, low=-1024, high=2000)
    for n, k in enumerate(k_order):
        d = instance(n + 1, 11, 5, 7)
        place(d, lps, k)
        d.RescaleSlope, d.RescaleIntercept, d.RescaleType = "2", "-24", "HU"
        d.WindowCenter, d.WindowWidth = [40, 300], [401, 1501]
        d.WindowCenterWidthExplanation = ["SOFT", "BONE"]
        pixels(d, values[k], stored=12)
        save(d, OUT / "dicom_axial" / f"{'cabd'[n]}.dcm")
    got, itk = stack("dicom_axial")
    expect("dicom_axial", got, itk, modality="CT", windows=[[-160.5, 239.5], [-450.5, 1049.5]], format="DICOM")

    # Implicit, without preamble, oblique; a localiser and another series in the same folder.
    directions = OBLIQUE @ np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]]).T
    lps = affine(directions, SPACING, ORIGIN)
    values = numbers(np.uint16, high=4000)
    for k in range(4):
        d = instance(k + 1, 12, 5, 7, "MR", "1.2.840.10008.5.1.4.1.1.4")
        d.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        place(d, lps, k)
        pixels(d, values[k])
        save(d, OUT / "dicom_oblique" / "sub" / f"{9 - k}")
    raw = (OUT / "dicom_oblique/sub/9").read_bytes()
    got, itk = stack("dicom_oblique/sub")
    data = pydicom.dcmread(OUT / "dicom_oblique/sub/9")
    bare = pydicom.filebase.DicomBytesIO()
    bare.is_little_endian, bare.is_implicit_VR = True, True
    pydicom.filewriter.write_dataset(bare, Dataset({e.tag: e for e in data}))
    assert len(bare.getvalue()) < len(raw)
    (OUT / "dicom_oblique/sub/9").write_bytes(bare.getvalue())
    for k in range(2):
        d = instance(k + 1, 13, 6, 6, "MR", "1.2.840.10008.5.1.4.1.1.4")
        place(d, affine(np.eye(3), SPACING, ORIGIN), k)
        pixels(d, numbers(np.uint16, (6, 6)))
        save(d, OUT / "dicom_oblique" / f"localiser_{k}.dcm")
    (OUT / "dicom_oblique" / "notes.txt").write_text("no DICOM file\n")
    expect("dicom_oblique", got, itk, modality="MR", warning="2 images are here", images=2)


def dicom_syntaxes():
    """One slice per transfer syntax, decoded by pydicom with pylibjpeg or by ITK."""
    y, x = np.mgrid[:33, :41]
    smooth = (900 + 12 * x - 15 * y + 200 * np.sin(x / 4) * np.cos(y / 3)).astype(np.int16)
    noisy = (smooth + RNG.integers(-40, 40, smooth.shape)).astype(np.int16)
    noisy[10:20, 5:30] = 700
    lps = affine(np.eye(3), SPACING, ORIGIN)

    def base(values, stored):
        d = instance(1, 20, *values.shape[:2])
        place(d, lps, 0)
        pixels(d, values, stored)
        return d

    def record(name, tolerance=0.0):
        d = pydicom.dcmread(OUT / name)
        more = {"tolerance": tolerance} if tolerance else {}
        expect(name, d.pixel_array[None] if d.SamplesPerPixel == 1 else d.pixel_array, None, **more)

    for name, syntax, values, stored, options in [
        ("rle16.dcm", pydicom.uid.RLELossless, noisy, 16, {}),
        ("jpegls_signed.dcm", pydicom.uid.JPEGLSLossless, noisy - 1000, 16, {}),
        ("jpegls12.dcm", pydicom.uid.JPEGLSLossless, noisy.astype(np.uint16), 12, {}),
        ("jpegls_near.dcm", pydicom.uid.JPEGLSNearLossless, noisy.astype(np.uint16), 12, {"jls_error": 3}),
        ("jpegls8.dcm", pydicom.uid.JPEGLSLossless, (noisy // 16).astype(np.uint8), 8, {}),
        ("j2k.dcm", pydicom.uid.JPEG2000Lossless, noisy.astype(np.uint16), 12, {}),
        ("j2k_signed.dcm", pydicom.uid.JPEG2000Lossless, noisy - 1000, 16, {}),
        ("j2k_lossy.dcm", pydicom.uid.JPEG2000, noisy.astype(np.uint16), 12, {"j2k_cr": [4]}),
    ]:
        d = base(values, stored)
        d.compress(syntax, generate_instance_uid=False, **options)
        save(d, OUT / name)
        record(name, tolerance=2.0 if "lossy" in name else 0.0)
    for name, syntax in [("big_endian.dcm", "1.2.840.10008.1.2.2"), ("deflated.dcm", "1.2.840.10008.1.2.1.99")]:
        d = base(noisy.astype(np.uint16), 12)
        d.file_meta.TransferSyntaxUID = UID(syntax)
        if "big" in name:
            d.PixelData = noisy.astype(">u2").tobytes()
            d["PixelData"].VR = "OW"
            pydicom.dcmwrite(OUT / name, d, force_encoding=True, little_endian=False,
                             implicit_vr=False)
        else:
            save(d, OUT / name)
        expect(name, noisy[None].astype(float))
    image = sitk.GetImageFromArray(noisy[None].astype(np.uint16))
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(OUT / "jpeg_lossless.dcm"))
    writer.Execute(image)
    assert pydicom.dcmread(OUT / "jpeg_lossless.dcm").file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    expect("jpeg_lossless.dcm", noisy[None].astype(float))
    for name, mode, photometric in [("jpeg_grey.dcm", "L", "MONOCHROME2"), ("jpeg_ybr.dcm", "RGB", "YBR_FULL_422")]:
        small = (noisy // 16).astype(np.uint8)
        colour = np.stack([small, 255 - small, small // 3], axis=-1)
        d = base(small, 8)
        picture = Image.fromarray(colour if mode == "RGB" else small)
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=95, subsampling=1)
        d.PhotometricInterpretation = photometric
        if mode == "RGB":
            d.SamplesPerPixel, d.PlanarConfiguration = 3, 0
            del d.ImagePositionPatient
        d.PixelData = encapsulate([buffer.getvalue()])
        d["PixelData"].is_undefined_length = True
        d.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        save(d, OUT / name)
        values = np.asarray(picture if mode == "L" else Image.open(buffer))
        if mode == "L":
            values = np.asarray(Image.open(buffer))[None]
        expect(name, values, tolerance=3)


def dicom_colours():
    rgb = numbers(np.uint8, (6, 9, 3))
    us = "1.2.840.10008.5.1.4.1.1.6.1"

    def colour(number, photometric, planar, data, samples=3):
        d = instance(number, 30, 6, 9, "US", us)
        del d.FrameOfReferenceUID
        d.SamplesPerPixel, d.PhotometricInterpretation = samples, photometric
        if samples == 3:
            d.PlanarConfiguration = planar
        d.BitsAllocated = d.BitsStored = 8
        d.HighBit, d.PixelRepresentation = 7, 0
        d.PixelData = data
        return d

    d = colour(1, "RGB", 1, np.moveaxis(rgb, -1, 0).tobytes())
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 1, 2
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 7, 5
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.025, 0.03
    d.SequenceOfUltrasoundRegions = Sequence([region])
    save(d, OUT / "us_planar.dcm")
    expect("us_planar.dcm", rgb, modality="US", spacing=[0.3, 0.25], regions=[[1, 2, 7, 5]])

    ybr = pydicom.pixels.convert_color_space(rgb, "RGB", "YBR_FULL")
    save(colour(2, "YBR_FULL", 0, ybr.tobytes()), OUT / "us_ybr.dcm")
    expect("us_ybr.dcm", pydicom.pixels.convert_color_space(ybr, "YBR_FULL", "RGB"), tolerance=1)

    palette = numbers(np.uint16, (3, 16), low=0, high=65535)
    index = numbers(np.uint8, (6, 9), low=0, high=16)
    d = colour(3, "PALETTE COLOR", 0, index.tobytes(), samples=1)
    for n, name in enumerate(["Red", "Green", "Blue"]):
        setattr(d, f"{name}PaletteColorLookupTableDescriptor", [16, 0, 16])
        setattr(d, f"{name}PaletteColorLookupTableData", palette[n].tobytes())
    save(d, OUT / "us_palette.dcm")
    expect("us_palette.dcm", np.moveaxis(palette[:, index] >> 8, 0, -1))

    d = instance(4, 31, 6, 9, "CR", "1.2.840.10008.5.1.4.1.1.1")
    del d.FrameOfReferenceUID
    d.PhotometricInterpretation = "MONOCHROME1"
    d.ImagerPixelSpacing = [0.2, 0.1]
    values = numbers(np.uint16, (6, 9), high=1000)
    pixels(d, values, stored=10)
    save(d, OUT / "cr_monochrome1.dcm")
    expect("cr_monochrome1.dcm", values, modality="CR", inverted=True, spacing=[0.2, 0.1], warning="at the detector")


def enhanced():
    """A multi-frame object made from the axial series by highdicom, with positions in functional groups."""
    files = [pydicom.dcmread(p) for p in sorted((OUT / "dicom_axial").glob("*.dcm"))]
    for d in files:
        d.AcquisitionNumber = 1
        d.ContentDate, d.ContentTime = "20240102", "030405"
        d.LossyImageCompression = "00"
        d.BurnedInAnnotation, d.VolumetricProperties = "NO", "VOLUME"
        d.Laterality, d.BodyPartExamined, d.KVP, d.PatientPosition = "", "ABDOMEN", "120", "HFS"
    multi = hd.legacy.LegacyConvertedEnhancedCTImage(
        files, f"{PREFIX}.40", 40, f"{PREFIX}.40.1", 1, transfer_syntax_uid=pydicom.uid.ExplicitVRLittleEndian
    )
    multi.save_as(OUT / "enhanced.dcm")
    axial = EXPECTED["dicom_axial"]
    EXPECTED["enhanced.dcm"] = {k: axial[k] for k in ["shape", "values", "affine", "modality"]}


def segmentation():
    """highdicom's DICOM-SEG of the axial series: two structures, in slices that differ."""
    files = [pydicom.dcmread(p) for p in sorted((OUT / "dicom_axial").glob("*.dcm"))]
    files.sort(key=lambda d: d.ImagePositionPatient[2])
    labels = np.zeros((4, 5, 7), np.uint8)
    labels[1:3, 1:4, 2:5] = 1
    labels[2:, 4, :] = 2
    code = CodedConcept("10200004", "SCT", "Liver")
    organ = CodedConcept("123037004", "SCT", "Anatomical Structure")
    algorithm = hd.AlgorithmIdentificationSequence("test", pydicom.sr.codedict.codes.DCM.ManualProcessing, "1")
    description = [
        hd.seg.SegmentDescription(n, name, organ, code, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm)
        for n, name in [(1, "Liver"), (2, "Spleen")]
    ]
    for kind in ["BINARY", "FRACTIONAL", "LABELMAP"]:
        values = labels
        if kind == "FRACTIONAL":
            values = np.stack([labels == 1, labels == 2], axis=-1).astype(np.float32) * 0.75
        seg = hd.seg.Segmentation(
            files, values, kind, description, f"{PREFIX}.50", 50, f"{PREFIX}.50.{len(kind)}", 1,
            "Nobody", "None", "1", "0", omit_empty_frames=True,
        )
        name = f"seg_{kind.lower()}.dcm"
        seg.save_as(OUT / name)
        # Slices without a frame at either end are not part of the volume.
        lps = affine(np.eye(3), SPACING, ORIGIN)
        lps[:3, 3] += lps[:3, 2]
        expect(name, labels[1:], lps, labels=True, names=["Liver", "Spleen"])


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for make in [nifti_2, nrrds, slicer_segmentation, meta_images, pictures, archives, dicom_series, dicom_syntaxes,
                 dicom_colours, enhanced, segmentation]:
        make()
    versions = {m.__name__: m.__version__ for m in [hd, nibabel, np, pydicom, tifffile]}
    (OUT / "expected.json").write_text(json.dumps({"versions": versions, "files": EXPECTED}) + "\n")
    print(f"{len(EXPECTED)} files")


main()
