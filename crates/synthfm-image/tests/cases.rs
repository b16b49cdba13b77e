//! Files as other programs write them, or leave them behind: each kind with its right value.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(clippy::float_cmp, reason = "stored values are exact")]

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use synthfm_image::{
    Error, ImageFile, LabelFile, OpenOptions, ReadOptions, Scan, Volume, open_scan,
    open_segmentation, read_labels, read_segmentation, volume_count,
};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/cases")
        .join(name)
}

fn open(path: &Path) -> Result<Scan, Error> {
    open_scan(path, &OpenOptions::default())
}

fn volume(scan: Scan) -> Volume {
    match scan.content {
        ImageFile::Volume(volume) => volume,
        ImageFile::Picture(picture) => panic!("a volume expected, got {}", picture.size()),
    }
}

/// Smallest and largest value.
fn range(values: &[f32]) -> (f32, f32) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    (
        low,
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
    )
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn meta_image_values_may_be_text_and_keys_in_any_order() {
    let text = volume(open(&case("text_values.mha")).unwrap());
    assert_eq!(text.geometry().shape(), [10, 12, 4]);
    assert_eq!(
        &text.data()[..12],
        [0., 3., 6., 9., 12., 15., 18., 21., 24., 27., 2., 5.]
    );
    assert_eq!(range(text.data()), (0.0, 90.0));
    assert_eq!(
        text.geometry().patient_from_voxel()[1],
        [0.0, 0.9, 0.0, 2.0]
    );
    let first = volume(open(&case("compressed_first.mha")).unwrap());
    assert_eq!(first, text);
    let LabelFile::Volume(labels) =
        read_labels(&case("text_values.mha"), &ReadOptions::default()).unwrap()
    else {
        panic!("a volume expected");
    };
    assert_eq!(labels.data()[..4], [0, 3, 6, 9]);
}

#[test]
fn text_values_beyond_their_type_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let size = "ObjectType = Image\nNDims = 2\nDimSize = 3 2\nBinaryData = False\n";
    let read = |kind: &str, values: &str| {
        let keys = format!("{size}ElementType = {kind}\n");
        let bytes = meta_image(&keys, "LOCAL", values.as_bytes());
        open(&written(folder.path(), "a.mha", &bytes)).map_err(|error| error.to_string())
    };
    assert!(read("MET_UCHAR", "0 1 2 3 4 255").is_ok());
    assert!(read("MET_FLOAT", "0 1 2 3 4 1e30").is_ok());
    for (kind, values, word) in [
        ("MET_UCHAR", "0 1 2 3 4 256", "256 among values"),
        ("MET_UCHAR", "0 1 2 3 4 -1", "0 to 255"),
        ("MET_SHORT", "0 1 2 3 4 40000", "-32768 to 32767"),
    ] {
        let error = read(kind, values).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    let header = "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 3 2\nencoding: text\n\n";
    let bytes = [header, "0 1 2 3 4 300"].concat();
    let error = open(&written(folder.path(), "a.nrrd", bytes.as_bytes())).unwrap_err();
    assert!(error.to_string().contains("300 among values"), "{error}");
}

/// A picture of two rows and three columns, `keys` in their order before `ElementDataFile`.
fn meta_image(keys: &str, data_file: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{keys}ElementDataFile = {data_file}\n");
    [header.as_bytes(), values].concat()
}

#[test]
fn meta_image_headers_end_with_the_data_file_and_begin_with_any_key() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        "ElementType = MET_UCHAR\n",
        "DimSize = 3 2\n",
        "NDims = 2\n",
        "ObjectType = Image\n",
        "Comment = anything at all\n",
    ];
    for first in 0..keys.len() {
        let mut order = keys.to_vec();
        order.rotate_left(first);
        let bytes = meta_image(&order.concat(), "LOCAL", &[1, 2, 3, 4, 5, 6]);
        let scan = open(&written(folder.path(), "a.mha", &bytes)).unwrap();
        let ImageFile::Picture(synthfm_image::Picture::Grey(image)) = scan.content else {
            panic!("a grey picture expected");
        };
        assert_eq!(image.data(), [1., 2., 3., 4., 5., 6.], "{order:?}");
    }
    // Text that only looks like a header stays unknown.
    let text = written(folder.path(), "a.txt", b"name = value\nother = value\n");
    assert!(open(&text).unwrap_err().to_string().contains("none of PNG"));
}

#[test]
fn meta_image_header_size_counts_from_the_start_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let picture = |keys: &str, values: &[u8]| -> Result<Vec<f32>, Error> {
        let keys = format!("NDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\n{keys}");
        let bytes = meta_image(&keys, "LOCAL", values);
        let scan = open(&written(folder.path(), "a.mha", &bytes))?;
        match scan.content {
            ImageFile::Picture(synthfm_image::Picture::Grey(image)) => Ok(image.into_data()),
            _ => panic!("a grey picture expected"),
        }
    };
    let values = [9, 9, 9, 1, 2, 3, 4, 5, 6];
    // The header below has 81 bytes; 84 leads to the 1.
    let header = "NDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\nHeaderSize = 00\nElementDataFile = LOCAL\n";
    let size = format!("HeaderSize = {}\n", header.len() + 3);
    assert_eq!(picture(&size, &values).unwrap(), [1., 2., 3., 4., 5., 6.]);
    assert_eq!(picture("HeaderSize = -1\n", &values).unwrap()[0], 1.0);
    assert_eq!(picture("", &values).unwrap()[..4], [9., 9., 9., 1.]);
    let text = picture("BinaryData = false\n", b"1 2\n3 4.5 6 7e1\n").unwrap();
    assert_eq!(text, [1., 2., 3., 4.5, 6., 70.]);
    let error = picture("BinaryData = False\n", b"1 2 x 4 5 6").unwrap_err();
    assert!(error.to_string().contains("\"x\""), "{error}");
    let error = picture("BinaryData = 0\n", b"1 2 3 4 5      ").unwrap_err();
    assert!(error.to_string().contains("5 of 6 values"), "{error}");
}

#[test]
fn lists_of_data_files_are_refused_with_that_word() {
    let error = open(&case("list.nhdr")).unwrap_err().to_string();
    assert!(error.contains("lists of data files"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let keys = "NDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\n";
    for name in ["LIST", "LIST 2", "slice%03d.raw 1 2 1"] {
        let path = written(folder.path(), "a.mhd", &meta_image(keys, name, b"a.raw\n"));
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("lists of data files"), "{name}: {error}");
    }
    std::fs::write(folder.path().join("list.raw"), [1; 6]).unwrap();
    let path = written(folder.path(), "a.mhd", &meta_image(keys, "list.raw", b""));
    assert!(open(&path).is_ok());
}

fn nrrd(fields: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("NRRD0004\n{fields}\n");
    [header.as_bytes(), values].concat()
}

#[test]
fn one_volume_of_a_series_is_chosen() {
    let of = |path: &Path, series: Option<&str>| {
        let options = OpenOptions {
            series: series.map(str::to_owned),
            ..OpenOptions::default()
        };
        open_scan(path, &options).map(volume)
    };
    for (name, count) in [("time_last.nrrd", 2), ("four_volumes.nii.gz", 3)] {
        let path = case(name);
        assert_eq!(volume_count(&path, &OpenOptions::default()).unwrap(), count);
        for series in [None, Some("0"), Some("4"), Some("x")] {
            let error = of(&path, series).unwrap_err().to_string();
            let said = format!("a series of {count} volumes");
            assert!(
                error.contains(&said) && error.contains("--series"),
                "{error}"
            );
        }
    }
    let single = case("text_values.mha");
    assert_eq!(volume_count(&single, &OpenOptions::default()).unwrap(), 1);
    let folder = tempfile::tempdir().unwrap();
    let fields = |sizes: &str, encoding: &str, directions: &str| {
        format!(
            "type: uint8\ndimension: 4\nsizes: {sizes}\nencoding: {encoding}\nspace: lps\nspace directions: {directions}\n"
        )
    };
    let values: Vec<u8> = (0..24).collect();
    let last = fields("3 2 2 2", "raw", "(1,0,0) (0,1,0) (0,0,1) none");
    let packed = fields("3 2 2 2", "gzip", "(1,0,0) (0,1,0) (0,0,1) none");
    let first = fields("2 3 2 2", "raw", "none (1,0,0) (0,1,0) (0,0,1)");
    let text = fields("3 2 2 2", "text", "(1,0,0) (0,1,0) (0,0,1) none");
    let words: Vec<String> = values.iter().map(u8::to_string).collect();
    for (bytes, second) in [
        (nrrd(&last, &values), 12),
        (nrrd(&packed, &gzip(&values)), 12),
        (nrrd(&text, words.join(" ").as_bytes()), 12),
        (nrrd(&first, &values), 1),
    ] {
        let path = written(folder.path(), "a.nrrd", &bytes);
        let volumes = ["1", "2"].map(|number| of(&path, Some(number)).unwrap());
        assert_eq!(volumes[0].geometry().shape(), [3, 2, 2]);
        assert_eq!(
            [volumes[0].data()[0], volumes[1].data()[0]],
            [0.0, second as f32]
        );
        assert_eq!(volumes[1].data()[11], 23.0);
        assert_eq!(volumes[0].data()[1], if second == 1 { 2.0 } else { 1.0 });
    }
}

#[test]
fn nrrd_text_needs_no_endian_and_lines_are_skipped_before_decompression() {
    let folder = tempfile::tempdir().unwrap();
    let of = |fields: &str, values: &[u8]| {
        let fields = format!("dimension: 2\nsizes: 3 2\n{fields}");
        open(&written(folder.path(), "a.nrrd", &nrrd(&fields, values)))
    };
    let text = of("type: short\nencoding: ascii\n", b"1 2 3\n-4, 5 600\n").unwrap();
    let ImageFile::Picture(synthfm_image::Picture::Grey(image)) = text.content else {
        panic!("a grey picture expected");
    };
    assert_eq!(image.data(), [1., 2., 3., -4., 5., 600.]);
    let skipped = [b"one\ntwo\n".to_vec(), gzip(b"xyz\x01\x02\x03\x04\x05\x06")].concat();
    let fields = "type: uchar\nencoding: gzip\nline skip: 2\nbyte skip: 3\n";
    let ImageFile::Picture(synthfm_image::Picture::Grey(image)) =
        of(fields, &skipped).unwrap().content
    else {
        panic!("a grey picture expected");
    };
    assert_eq!(image.data(), [1., 2., 3., 4., 5., 6.]);
    // A million lines that are not there, and a number of bytes that no file has.
    for (skip, word) in [
        ("line skip: 9223372036854775807", "line skip"),
        ("byte skip: 9223372036854775807", "bytes before the values"),
        ("byte skip: 4000", "truncated"),
    ] {
        let zeros = gzip(&vec![0; 1000]);
        let fields = format!("type: uchar\nencoding: gzip\n{skip}\n");
        let error = of(&fields, &zeros).unwrap_err().to_string();
        assert!(error.contains(word), "{skip}: {error}");
    }
}

#[test]
fn what_follows_gzip_data_is_left_out_with_a_note() {
    let path = case("gz_zero_padding.nii.gz");
    let padded = open(&path).unwrap();
    let note = "512 bytes after the end of the compressed data were left out";
    assert_eq!(padded.info.warnings, [note]);
    let bytes = std::fs::read(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clean = &bytes[..bytes.len() - 512];
    let expected = open(&written(folder.path(), "a.nii.gz", clean)).unwrap();
    assert!(expected.info.warnings.is_empty());
    assert_eq!(padded.content, expected.content);
    let rubbish = [clean, b"\x1f\x8brubbish".as_slice()].concat();
    let scan = open(&written(folder.path(), "a.nii.gz", &rubbish)).unwrap();
    assert_eq!(scan.content, expected.content);
    assert!(scan.info.warnings[0].starts_with("9 bytes"));
    // Labels have the note as well.
    let (_, notes) = read_segmentation(&path, &ReadOptions::default()).unwrap();
    assert_eq!(notes, [note]);
    // Several members are one file.
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(clean), &mut plain).unwrap();
    let members = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
    let scan = open(&written(folder.path(), "a.nii.gz", &members)).unwrap();
    assert_eq!(
        (scan.content, scan.info.warnings),
        (expected.content, vec![])
    );
}

#[test]
fn nifti_places_dimensions_and_colours() {
    let scan = open(&case("sform_zero_qform_good.nii.gz")).unwrap();
    assert!(scan.info.warnings[0].contains("qform"));
    let geometry = volume(scan).geometry().clone();
    assert_eq!(geometry.spacing_mm(), [1.0, 1.0, 3.0]);
    assert!(geometry.states_place());

    let scan = open(&case("rgb24.nii.gz")).unwrap();
    assert!(scan.info.warnings[0].contains("colour (RGB)"));
    let colours = volume(scan);
    assert_eq!(colours.geometry().shape(), [24, 28, 6]);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(case("rgb24.nii.gz")).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
    for (n, value) in [0, 1, 2000, 4031].map(|n| (n, colours.data()[n])) {
        let [red, green, blue] = [0, 1, 2].map(|c| f32::from(bytes[352 + 3 * n + c]));
        assert_eq!(value, (0.299 * red + 0.587 * green + 0.114 * blue).round());
    }
}

#[test]
fn nifti_without_a_place_keeps_its_spacing() {
    let folder = tempfile::tempdir().unwrap();
    // An sform of zeros, and no qform in its stead.
    let flat = [[0, 0, 1, 0].as_slice(), &[0; 72]].concat();
    let scan = open(&written(folder.path(), "a.nii", &nifti(252, &flat))).unwrap();
    assert!(
        scan.info.warnings[0].contains("the spacing alone"),
        "{:?}",
        scan.info.warnings
    );
    let geometry = volume(scan).geometry().clone();
    assert_eq!(geometry.shape(), [3, 4, 5]);
    assert!(!geometry.states_place());
}

#[test]
fn halves_of_a_pair_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&written(folder.path(), "a.img", &[0; 64])).unwrap_err();
    assert!(error.to_string().contains("in two files"), "{error}");
    let complex = [32, 0];
    let error = open(&written(folder.path(), "c.nii", &nifti(70, &complex))).unwrap_err();
    assert!(error.to_string().contains("complex64"), "{error}");
}

/// The fixture of 3 x 4 x 5 voxels with these bytes at a place of its header.
fn nifti(at: usize, raw: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sform_i16.nii");
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at..at + raw.len()].copy_from_slice(raw);
    bytes
}

#[test]
fn nifti_dimensions_may_end_in_zero_and_forms_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let good = open(&written(folder.path(), "a.nii", &nifti(0, &[]))).unwrap();
    // Four and five dimensions, of which the last are 0.
    for raw in [
        &[4, 0, 3, 0, 4, 0, 5, 0, 0, 0][..],
        &[5, 0, 3, 0, 4, 0, 5, 0, 0, 0, 0, 0],
    ] {
        let scan = open(&written(folder.path(), "a.nii", &nifti(40, raw))).unwrap();
        assert_eq!(scan.content, good.content);
        assert!(scan.info.warnings[0].contains("end in 0"));
    }
    let raw = [5, 0, 3, 0, 4, 0, 0, 0, 5, 0, 0, 0];
    let error = open(&written(folder.path(), "a.nii", &nifti(40, &raw))).unwrap_err();
    assert!(error.to_string().contains("positive"), "{error}");
    let neither = volume(open(&written(folder.path(), "a.nii", &nifti(252, &[0; 4]))).unwrap());
    assert!(!neither.geometry().states_place());
}

#[test]
fn half_precision_arrays_open() {
    let scan = open(&case("half.npy")).unwrap();
    let ImageFile::Picture(synthfm_image::Picture::Grey(image)) = scan.content else {
        panic!("a grey picture expected");
    };
    let bytes = std::fs::read(case("half.npy")).unwrap();
    assert_eq!(image.size().area(), 120);
    // Half precision holds these small integers with a bias of 15 and ten bits of fraction.
    for (n, &value) in image.data().iter().enumerate() {
        let bits = u16::from_le_bytes([bytes[128 + 2 * n], bytes[129 + 2 * n]]);
        let (exponent, fraction) = (i32::from(bits >> 10), f64::from(bits & 1023));
        let expected = match exponent {
            0 => fraction * 2f64.powi(-24),
            _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
        };
        assert_eq!(f64::from(value), expected);
    }
}

#[test]
fn labels_after_a_slope_are_integers_within_a_thousandth() {
    let folder = tempfile::tempdir().unwrap();
    let header = nifti(112, &0.1f32.to_le_bytes());
    let mut bytes = header[..352].to_vec();
    bytes.extend((0..60i16).flat_map(|n| (10 * n).to_le_bytes()));
    let path = written(folder.path(), "a.nii", &bytes);
    let LabelFile::Volume(labels) = read_labels(&path, &ReadOptions::default()).unwrap() else {
        panic!("a volume expected");
    };
    assert!(labels.data().iter().copied().eq(0..60));
    bytes[354] = 5;
    let path = written(folder.path(), "a.nii", &bytes);
    let error = read_labels(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("label 0.5"), "{error}");
}

#[test]
fn compressed_files_that_go_on_are_given_up() {
    let folder = tempfile::tempdir().unwrap();
    // 6 bytes are asked for; 40 MB of zeros follow.
    let endless = vec![0; 40 << 20];
    let fields = "type: uchar\ndimension: 2\nsizes: 3 2\nencoding: gzip\n";
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&endless).unwrap();
    let keys = "NDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\nCompressedData = True\n";
    let mut nifti = nifti(0, &[]);
    nifti.extend(&endless);
    for (name, bytes) in [
        ("a.nrrd", nrrd(fields, &gzip(&endless))),
        ("a.mha", meta_image(keys, "LOCAL", &zlib.finish().unwrap())),
        ("a.nii.gz", gzip(&nifti)),
    ] {
        let error = open(&written(folder.path(), name, &bytes)).unwrap_err();
        assert!(error.to_string().contains("follow the"), "{name}: {error}");
    }
}

#[test]
fn damaged_members_of_archives_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2)}\n";
    let mut array = b"\x93NUMPY\x01\0".to_vec();
    array.extend((header.len() as u16).to_le_bytes());
    array.extend(header.as_bytes());
    array.extend([11, 12, 13, 14, 15, 16]);
    let mut crc = flate2::Crc::new();
    crc.update(&array);
    let archive = |array: &[u8], name: &str| stored_zip(name, array, crc.sum());
    let good = written(folder.path(), "a.npz", &archive(&array, "image.npy"));
    assert!(open(&good).is_ok());
    let last = array.len() - 1;
    array[last] ^= 1;
    let path = written(folder.path(), "a.npz", &archive(&array, "image.npy"));
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
    let other = written(folder.path(), "a.zip", &archive(&array, "scan/a.dcm"));
    let error = open(&other).unwrap_err().to_string();
    assert!(
        error.contains("a ZIP archive") && error.contains("unpack"),
        "{error}"
    );
    let empty = written(
        folder.path(),
        "a.zip",
        &[b"PK\x05\x06".as_slice(), &[0; 18]].concat(),
    );
    let error = open(&empty).unwrap_err().to_string();
    assert!(error.contains("ZIP archive"), "{error}");
}

/// A ZIP archive of one stored member with this checksum.
fn stored_zip(name: &str, data: &[u8], crc: u32) -> Vec<u8> {
    let length = (data.len() as u32).to_le_bytes();
    let name_length = (name.len() as u16).to_le_bytes();
    let common = [
        &[20u8, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x50][..],
        &crc.to_le_bytes(),
        &length,
        &length,
        &name_length,
        &[0, 0],
    ]
    .concat();
    let mut bytes = [b"PK\x03\x04".as_slice(), &common, name.as_bytes(), data].concat();
    let directory = bytes.len() as u32;
    bytes.extend(
        [
            b"PK\x01\x02\x14\0".as_slice(),
            &common,
            &[0; 14],
            name.as_bytes(),
        ]
        .concat(),
    );
    let size = bytes.len() as u32 - directory;
    bytes.extend(
        [
            b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(),
            &size.to_le_bytes(),
        ]
        .concat(),
    );
    bytes.extend([&directory.to_le_bytes()[..], &[0, 0]].concat());
    bytes
}

#[test]
fn images_without_a_number_warn() {
    let folder = tempfile::tempdir().unwrap();
    let fields = "type: float\ndimension: 2\nsizes: 3 2\nencoding: text\n";
    for (values, warned) in [
        ("nan nan nan nan inf -inf", true),
        ("nan nan 1 nan nan nan", false),
    ] {
        let path = written(folder.path(), "a.nrrd", &nrrd(fields, values.as_bytes()));
        let warnings = open(&path).unwrap().info.warnings;
        assert_eq!(warnings.iter().any(|w| w.contains("finite number")), warned);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_standard_input_are_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.nii");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [&pipe, Path::new("-")] {
        let error = open(path).unwrap_err().to_string();
        assert!(error.contains("cannot be read twice"), "{error}");
        let labels = read_labels(path, &ReadOptions::default()).unwrap_err();
        assert!(
            labels.to_string().contains("cannot be read twice"),
            "{labels}"
        );
    }
    // As a data file of a header, too.
    let header = written(
        folder.path(),
        "a.nhdr",
        b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 2 2\nencoding: raw\ndata file: pipe.nii\n",
    );
    let error = open(&header).unwrap_err().to_string();
    assert!(error.contains("cannot be read twice"), "{error}");
}

#[cfg(unix)]
#[test]
fn data_files_stay_in_the_given_folder_with_links_resolved() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), [7; 64]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("etc")).unwrap();
    std::fs::write(folder.path().join("own"), [5; 64]).unwrap();
    std::os::unix::fs::symlink(folder.path().join("own"), folder.path().join("link")).unwrap();
    let header = |name: &str| {
        let fields = "type: uchar\ndimension: 2\nsizes: 8 8\nencoding: raw\n";
        let text = format!("NRRD0004\n{fields}data file: {name}\n");
        written(folder.path(), "a.nhdr", text.as_bytes())
    };
    let inside = OpenOptions {
        data_root: Some(folder.path().to_owned()),
        ..OpenOptions::default()
    };
    for name in ["own", "./own", "link"] {
        assert!(open_scan(&header(name), &inside).is_ok(), "{name}");
    }
    let path = header("etc/secret");
    let error = open_scan(&path, &inside).unwrap_err().to_string();
    assert!(error.contains("a link leads out"), "{error}");
    assert!(open_segmentation(&path, &inside).is_err());
    let keys = "NDims = 2\nDimSize = 8 8\nElementType = MET_UCHAR\n";
    let mhd = written(folder.path(), "a.mhd", &meta_image(keys, "etc/secret", b""));
    assert!(open_scan(&mhd, &inside).is_err());
    // Without a folder links are followed, as data sets of links need it.
    assert!(open(&path).is_ok());
}

#[test]
fn the_index_of_a_disc_and_series_of_labels_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = vec![0; 128];
    index.extend(b"DICM\x02\0\0\0UL\x04\0\0\0\0\0\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0");
    let error = open(&written(folder.path(), "DICOMDIR", &index)).unwrap_err();
    assert!(
        error.to_string().contains("a DICOMDIR, the index"),
        "{error}"
    );
    let four = case("four_volumes.nii.gz");
    let error = read_labels(&four, &ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("as labels; one volume is"), "{error}");
}
