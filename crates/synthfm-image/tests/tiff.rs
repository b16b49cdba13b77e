//! TIFF files: every kind of sample and compression against an independent encoder, and what microscopes, scanners and
//! cameras write.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(clippy::float_cmp, reason = "stored values are exact")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use synthfm_image::{
    Error, ImageFile, LabelFile, OpenOptions, Picture, ReadOptions, Scan, open_scan,
    picture_orientation, read_labels, volume_count,
};
use tiff::encoder::colortype::{
    ColorType, Gray8, Gray16, Gray32, Gray32Float, Gray64Float, GrayI16, RGB8,
};
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, Predictor, TiffEncoder, TiffValue};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/cases")
        .join(name)
}

fn open(path: &Path) -> Result<Scan, Error> {
    open_scan(path, &OpenOptions::default())
}

fn opened(bytes: &[u8]) -> Result<Scan, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    open(file.path())
}

fn labels(bytes: &[u8]) -> Result<LabelFile, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read_labels(file.path(), &ReadOptions::default())
}

fn grey(scan: Scan) -> Vec<f32> {
    match scan.content {
        ImageFile::Picture(Picture::Grey(image)) => image.into_data(),
        ImageFile::Volume(volume) => volume.data().to_vec(),
        ImageFile::Picture(Picture::Rgb(_)) => panic!("grey values expected"),
    }
}

/// A tag with a type and its values, for [`file`].
type Tag<'a> = (u16, u16, &'a [u64]);

/// A little-endian file: each page has its tags (types 2: text, 3: 16 bits, 4: 32 bits) and the bytes of its strips,
/// whose places and lengths are added.
fn file(pages: &[(&[Tag], &[&[u8]])]) -> Vec<u8> {
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    let mut link = 4;
    for (tags, strips) in pages {
        let mut places = Vec::new();
        for strip in *strips {
            places.push(bytes.len() as u64);
            bytes.extend_from_slice(strip);
        }
        let lengths: Vec<u64> = strips.iter().map(|strip| strip.len() as u64).collect();
        let mut all: Vec<Tag> = tags.to_vec();
        all.push((273, 4, &places));
        if !all.iter().any(|tag| tag.0 == 279) {
            all.push((279, 4, &lengths));
        }
        all.sort_by_key(|tag| tag.0);
        let mut entries = (all.len() as u16).to_le_bytes().to_vec();
        for (tag, kind, values) in all {
            let size = match kind {
                2 => 1,
                3 => 2,
                _ => 4,
            };
            let raw: Vec<u8> = values
                .iter()
                .flat_map(|v| v.to_le_bytes()[..size].to_vec())
                .collect();
            entries.extend(tag.to_le_bytes());
            entries.extend(kind.to_le_bytes());
            entries.extend((values.len() as u32).to_le_bytes());
            if raw.len() <= 4 {
                entries.extend(&raw);
                entries.resize(entries.len() + 4 - raw.len(), 0);
            } else {
                entries.extend((bytes.len() as u32).to_le_bytes());
                bytes.extend(&raw);
            }
        }
        let start = bytes.len() as u32;
        bytes[link..link + 4].copy_from_slice(&start.to_le_bytes());
        bytes.extend(entries);
        link = bytes.len();
        bytes.extend([0; 4]);
    }
    bytes
}

fn encoded<C: ColorType>(
    size: (u32, u32),
    data: &[C::Inner],
    compression: Compression,
    predictor: Predictor,
) -> Vec<u8>
where
    [C::Inner]: TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes)
        .unwrap()
        .with_compression(compression)
        .with_predictor(predictor);
    encoder.write_image::<C>(size.0, size.1, data).unwrap();
    bytes.into_inner()
}

#[test]
#[expect(clippy::cast_lossless, reason = "one macro for all types")]
fn every_type_and_compression_equals_what_was_encoded() {
    // Large enough for LZW codes of 12 bits and a full table.
    let (width, height) = (211u32, 307u32);
    let count = (width * height) as usize;
    let noise = |n: usize| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let value = |n: usize| {
        if n % 1000 < 700 {
            noise(n)
        } else {
            n as u64 / 37
        }
    };
    for (name, compression) in [
        ("none", Compression::Uncompressed),
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(DeflateLevel::Fast)),
        ("packbits", Compression::Packbits),
    ] {
        macro_rules! check {
            ($colour:ty, $inner:ty, $predictors:expr) => {
                let data: Vec<$inner> = (0..count).map(|n| value(n) as $inner).collect();
                for predictor in $predictors {
                    let bytes = encoded::<$colour>((width, height), &data, compression, predictor);
                    let got = grey(opened(&bytes).unwrap());
                    let expected = data.iter().map(|&v| v as f32);
                    assert!(got.into_iter().eq(expected), "{name} {predictor:?}");
                }
            };
        }
        check!(Gray8, u8, [Predictor::None, Predictor::Horizontal]);
        check!(Gray16, u16, [Predictor::None, Predictor::Horizontal]);
        check!(GrayI16, i16, [Predictor::None, Predictor::Horizontal]);
        check!(Gray32, u32, [Predictor::None, Predictor::Horizontal]);
        check!(Gray32Float, f32, [Predictor::None]);
        check!(Gray64Float, f64, [Predictor::None]);
    }
    let colours: Vec<u8> = (0..3 * count).map(|n| value(n) as u8).collect();
    let bytes = encoded::<RGB8>(
        (width, height),
        &colours,
        Compression::Lzw,
        Predictor::Horizontal,
    );
    let ImageFile::Picture(Picture::Rgb(image)) = opened(&bytes).unwrap().content else {
        panic!("a colour picture expected");
    };
    assert_eq!(image.data(), colours);
}

#[test]
fn floating_point_differences_are_taken_back() {
    // Two numbers in a row: 1.5 = 3fc00000, -2.0 = c0000000. Bytes by significance, then differences.
    let planes = [0x3f, 0xc0, 0xc0, 0x00, 0, 0, 0, 0u8];
    let mut differences = planes;
    for n in 1..8 {
        differences[n] = planes[n].wrapping_sub(planes[n - 1]);
    }
    let tags: &[Tag] = &[
        (256, 4, &[2]),
        (257, 4, &[1]),
        (258, 3, &[32]),
        (262, 3, &[1]),
        (317, 3, &[3]),
        (339, 3, &[3]),
    ];
    let bytes = file(&[(tags, &[&differences])]);
    assert_eq!(grey(opened(&bytes).unwrap()), [1.5, -2.0]);
}

#[test]
fn imagej_stacks_have_the_pages_that_they_state() {
    let path = case("imagej_one_directory.tif");
    let bytes = std::fs::read(&path).unwrap();
    let ImageFile::Volume(volume) = open(&path).unwrap().content else {
        panic!("a volume expected");
    };
    assert_eq!(volume.geometry().shape(), [12, 10, 4]);
    let stored = bytes[336..].chunks_exact(2);
    let stored = stored.map(|raw| f32::from(u16::from_le_bytes([raw[0], raw[1]])));
    assert!(volume.data().iter().copied().eq(stored));
    let cut = &bytes[..bytes.len() - 1];
    let error = opened(cut).unwrap_err().to_string();
    assert!(error.contains("ends early"), "{error}");

    let path = case("imagej_two_channels.tif");
    let bytes = std::fs::read(&path).unwrap();
    let page = |n: usize| {
        let start = [352, 592, 832, 1072, 1312, 1552, 1792, 2032][n];
        let stored = bytes[start..start + 240].chunks_exact(2);
        stored.map(|raw| f32::from(u16::from_le_bytes([raw[0], raw[1]])))
    };
    assert_eq!(volume_count(&path, &OpenOptions::default()).unwrap(), 2);
    for (series, first) in [(None, 0), (Some("1"), 0), (Some("2"), 1)] {
        let options = OpenOptions {
            series: series.map(str::to_owned),
            ..OpenOptions::default()
        };
        let scan = open_scan(&path, &options).unwrap();
        assert!(scan.info.warnings[0].contains("2 channels, 4 slices"));
        let expected = (0..4).flat_map(|slice| page(2 * slice + first));
        assert!(grey(scan).into_iter().eq(expected), "{series:?}");
    }
    let options = OpenOptions {
        series: Some("3".to_owned()),
        ..OpenOptions::default()
    };
    let error = open_scan(&path, &options).unwrap_err().to_string();
    assert!(error.contains("1 to 2"), "{error}");
    assert!(read_labels(&path, &ReadOptions::default()).is_err());
}

#[test]
fn few_bits_open_as_grey_and_as_labels() {
    let path = case("one_bit.tif");
    let bytes = std::fs::read(&path).unwrap();
    let values = grey(open(&path).unwrap());
    // Ten rows of two bytes from 110 on; the last four bits are padding.
    for (n, &value) in values.iter().enumerate() {
        let bit = bytes[110 + n / 12 * 2 + n % 12 / 8] >> (7 - n % 12 % 8) & 1;
        assert_eq!(value, 255.0 * f32::from(bit), "{n}");
    }
    let LabelFile::Map(map) = read_labels(&path, &ReadOptions::default()).unwrap() else {
        panic!("a picture expected");
    };
    assert!(
        map.data()
            .iter()
            .zip(&values)
            .all(|(&l, &v)| f32::from(l) * 255.0 == v)
    );
    let tags = |bits, photometric| {
        vec![
            (256, 4, vec![3]),
            (257, 4, vec![2]),
            (258, 3, vec![bits]),
            (262, 3, vec![photometric]),
        ]
    };
    for (bits, photometric, strip, expected) in [
        (
            2,
            1,
            &[0b0001_1000, 0b1101_0000][..],
            [0., 85., 170., 255., 85., 0.],
        ),
        (
            4,
            1,
            &[0x0f, 0x10, 0x23, 0x40],
            [0., 255., 17., 34., 51., 68.],
        ),
        (
            1,
            0,
            &[0b0100_0000, 0b1110_0000],
            [255., 0., 255., 0., 0., 0.],
        ),
        (
            8,
            0,
            &[0, 1, 2, 3, 4, 255],
            [255., 254., 253., 252., 251., 0.],
        ),
    ] {
        let tags = tags(bits, photometric);
        let tags: Vec<Tag> = tags
            .iter()
            .map(|(tag, kind, v)| (*tag, *kind, &v[..]))
            .collect();
        assert_eq!(grey(opened(&file(&[(&tags, &[strip])])).unwrap()), expected);
    }
}

#[test]
fn palettes_and_planes_are_colours() {
    // Indices 0, 2, 1 of two bits; red, green and blue of four colours.
    let map = [0, 0xffff, 0x8080, 0, 0, 0, 0xffff, 0, 0, 0, 0, 0xffff];
    let tags: &[Tag] = &[
        (256, 4, &[3]),
        (257, 4, &[1]),
        (258, 3, &[2]),
        (262, 3, &[3]),
        (320, 3, &map),
    ];
    let bytes = file(&[(tags, &[&[0b0010_0100]])]);
    let ImageFile::Picture(Picture::Rgb(image)) = opened(&bytes).unwrap().content else {
        panic!("a colour picture expected");
    };
    assert_eq!(image.data(), [0, 0, 0, 128, 255, 0, 255, 0, 0]);
    let LabelFile::Map(indices) = labels(&bytes).unwrap() else {
        panic!("a picture expected");
    };
    assert_eq!(indices.data(), [0, 2, 1]);

    // Two rows of two pixels: all red samples, then the green, the blue and the transparency.
    let planes: [&[u8]; 4] = [&[1, 2, 3, 4], &[5, 6, 7, 8], &[9, 10, 11, 12], &[0; 4]];
    let tags: &[Tag] = &[
        (256, 4, &[2]),
        (257, 4, &[2]),
        (258, 3, &[8, 8, 8, 8]),
        (262, 3, &[2]),
        (277, 3, &[4]),
        (284, 3, &[2]),
        (338, 3, &[2]),
    ];
    let ImageFile::Picture(Picture::Rgb(image)) =
        opened(&file(&[(tags, &planes)])).unwrap().content
    else {
        panic!("a colour picture expected");
    };
    assert_eq!(image.data(), [1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12]);
}

#[test]
fn thumbnails_are_left_out_wherever_they_are() {
    let scan = open(&case("thumbnail_page.tif")).unwrap();
    assert!(scan.info.warnings[0].contains("1 pages of reduced size"));
    assert_eq!(grey(scan).len(), 120);
    let page = |side: &'static [u64], kind: &'static [u64]| -> Vec<Tag<'static>> {
        vec![
            (254, 4, kind),
            (256, 4, side),
            (257, 4, side),
            (258, 3, &[8]),
            (262, 3, &[1]),
        ]
    };
    let (small, large) = (page(&[1], &[1]), page(&[2], &[0]));
    let first = file(&[(&small, &[&[9]]), (&large, &[&[1, 2, 3, 4]])]);
    assert_eq!(grey(opened(&first).unwrap()), [1., 2., 3., 4.]);
    // A thumbnail alone is a picture.
    assert_eq!(grey(opened(&file(&[(&small, &[&[9]])])).unwrap()), [9.0]);
}

#[test]
fn strips_that_end_early_are_told() {
    let tags: &[Tag] = &[
        (256, 4, &[2]),
        (257, 4, &[4]),
        (258, 3, &[8]),
        (262, 3, &[1]),
        (278, 4, &[2]),
    ];
    let good = file(&[(tags, &[&[1, 2, 3, 4], &[5, 6, 7, 8]])]);
    assert_eq!(
        grey(opened(&good).unwrap()),
        [1., 2., 3., 4., 5., 6., 7., 8.]
    );
    for strips in [[&[1, 2, 3][..], &[5, 6, 7, 8]], [&[1, 2, 3, 4], &[5, 6, 7]]] {
        let error = opened(&file(&[(tags, &strips)])).unwrap_err().to_string();
        assert!(error.contains("ends early: 3 of 4 bytes"), "{error}");
    }
    let error = opened(&file(&[(tags, &[&[1, 2, 3, 4]])]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("too few strips"), "{error}");
    let long: &[Tag] = &[tags, &[(279, 4, &[4, 4000])]].concat();
    let error = opened(&file(&[(long, &[&[1, 2, 3, 4], &[5, 6, 7, 8]])])).unwrap_err();
    assert!(
        error.to_string().contains("after the file's end"),
        "{error}"
    );
    // Compressed strips: the data of the encoder, cut; the length says so.
    let data: Vec<u8> = (0..64 * 64).map(|n| (n * n / 7) as u8).collect();
    for (name, compression) in [
        ("lzw", Compression::Lzw),
        ("deflate", Compression::Deflate(DeflateLevel::Fast)),
        ("packbits", Compression::Packbits),
    ] {
        let whole = encoded::<Gray8>((64, 64), &data, compression, Predictor::None);
        let mut decoder = tiff::decoder::Decoder::new(Cursor::new(&whole)).unwrap();
        let code = decoder.get_tag_u32(tiff::tags::Tag::Compression).unwrap();
        let rows = decoder.get_tag_u32(tiff::tags::Tag::RowsPerStrip).unwrap();
        let tag = |tag| decoder.get_tag_u64_vec(tag).unwrap();
        let (places, lengths) = {
            let mut tag = tag;
            (
                tag(tiff::tags::Tag::StripOffsets),
                tag(tiff::tags::Tag::StripByteCounts),
            )
        };
        let strips: Vec<&[u8]> = places
            .iter()
            .zip(&lengths)
            .map(|(&at, &length)| &whole[at as usize..(at + length) as usize])
            .collect();
        let (code, rows) = ([u64::from(code)], [u64::from(rows)]);
        let tags: &[Tag] = &[
            (256, 4, &[64]),
            (257, 4, &[64]),
            (258, 3, &[8]),
            (259, 4, &code),
            (262, 3, &[1]),
            (278, 4, &rows),
        ];
        assert!(opened(&file(&[(tags, &strips)])).is_ok());
        let mut cut = strips.clone();
        cut[0] = &cut[0][..cut[0].len() / 2];
        let error = opened(&file(&[(tags, &cut)])).unwrap_err().to_string();
        assert!(error.contains("strip 0: it ends early"), "{name}: {error}");
    }
}

#[test]
fn exif_orientations_are_applied_to_pictures_and_labels() {
    let path = case("exif_upside_down.jpg");
    let scan = open(&path).unwrap();
    assert!(scan.info.warnings[0].contains("EXIF orientation 3"));
    let upright = grey(scan);
    assert!(
        picture_orientation(&path, &ReadOptions::default())
            .unwrap()
            .is_some()
    );
    // The same without the marker of the metadata.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"Exif").unwrap();
    bytes[at] = b'X';
    let mut stored = grey(opened(&bytes).unwrap());
    stored.reverse();
    assert_eq!(upright, stored);

    let tags: &[Tag] = &[
        (256, 4, &[3]),
        (257, 4, &[2]),
        (258, 3, &[8]),
        (262, 3, &[1]),
        (274, 3, &[6]),
    ];
    let bytes = file(&[(tags, &[&[1, 2, 3, 4, 5, 6]])]);
    assert_eq!(grey(opened(&bytes).unwrap()), [4., 1., 5., 2., 6., 3.]);
    let LabelFile::Map(map) = labels(&bytes).unwrap() else {
        panic!("a picture expected");
    };
    assert_eq!(
        (map.size().height, map.data()),
        (3, &[4, 1, 5, 2, 6, 3][..])
    );

    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0";
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 3, 2);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_chunk(png::chunk::ChunkType(*b"eXIf"), exif)
        .unwrap();
    writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
    drop(writer);
    assert_eq!(grey(opened(&png).unwrap()), [3., 6., 2., 5., 1., 4.]);
    let LabelFile::Map(map) = labels(&png).unwrap() else {
        panic!("a picture expected");
    };
    assert_eq!(map.data(), [3, 6, 2, 5, 1, 4]);
}
