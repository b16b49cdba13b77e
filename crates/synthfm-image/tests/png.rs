//! PNG of every colour type and bit depth, and round trips through our writers.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(clippy::float_cmp, reason = "files keep every bit")]

use std::path::Path;

use synthfm_image::{
    GreyDepth, Image, ImageFile, LabelFile, LabelMap, Mask, Picture, ReadOptions, RgbImage, Size,
    read_image, read_labels, write_grey_png, write_label_png, write_mask_png, write_rgb_png,
};

fn picture(path: &Path) -> Picture {
    match read_image(path, &ReadOptions::default()).unwrap() {
        ImageFile::Picture(picture) => picture,
        ImageFile::Volume(_) => panic!("{} is a volume", path.display()),
    }
}

fn label_map(path: &Path) -> LabelMap {
    match read_labels(path, &ReadOptions::default()).unwrap() {
        LabelFile::Map(map) => map,
        LabelFile::Volume(_) => panic!("{} is a volume", path.display()),
    }
}

/// Writes a PNG with the crate that also reads them, in forms that our writers do not have.
fn write_raw_png(
    path: &Path,
    size: Size,
    set: impl Fn(&mut png::Encoder<std::fs::File>),
    data: &[u8],
) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, size.width as u32, size.height as u32);
    set(&mut encoder);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(data)
        .unwrap();
}

#[test]
fn png_of_every_kind() {
    use png::{BitDepth, ColorType};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let size = Size::new(2, 3);
    let write = |color, depth, data: &[u8]| {
        write_raw_png(
            &path,
            size,
            |e| {
                e.set_color(color);
                e.set_depth(depth);
            },
            data,
        );
        picture(&path)
    };
    let grey = |values: [f32; 6]| Picture::Grey(Image::new(size, values.to_vec()).unwrap());
    let rgb = |values: &[u8]| Picture::Rgb(RgbImage::new(size, values.to_vec()).unwrap());

    let sixteen: Vec<u8> = [0u16, 1, 256, 40_000, 65_535, 7]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    assert_eq!(
        write(ColorType::Grayscale, BitDepth::Sixteen, &sixteen),
        grey([0.0, 1.0, 256.0, 40_000.0, 65_535.0, 7.0])
    );
    // Two rows of three samples, padded to a byte each.
    assert_eq!(
        write(
            ColorType::Grayscale,
            BitDepth::One,
            &[0b1010_0000, 0b0110_0000]
        ),
        grey([255.0, 0.0, 255.0, 0.0, 255.0, 255.0])
    );
    assert_eq!(label_map(&path).data(), [1, 0, 1, 0, 1, 1]);
    write(
        ColorType::Grayscale,
        BitDepth::Four,
        &[0x12, 0x30, 0x45, 0xf0],
    );
    assert_eq!(label_map(&path).data(), [1, 2, 3, 4, 5, 15]);
    let with_alpha = [1, 0, 2, 255, 3, 128, 4, 0, 5, 9, 6, 255];
    assert_eq!(
        write(ColorType::GrayscaleAlpha, BitDepth::Eight, &with_alpha),
        grey([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    );
    let colours: Vec<u8> = (0..18).map(|v| v * 14).collect();
    assert_eq!(
        write(ColorType::Rgb, BitDepth::Eight, &colours),
        rgb(&colours)
    );
    let rgba: Vec<u8> = colours
        .chunks(3)
        .flat_map(|p| [p[0], p[1], p[2], 9])
        .collect();
    assert_eq!(
        write(ColorType::Rgba, BitDepth::Eight, &rgba),
        rgb(&colours)
    );
    // 255 of 65535 is nearer to 1 of 255 than to 0.
    let wide: Vec<u8> = [0x00, 0xff].repeat(18);
    assert_eq!(
        write(ColorType::Rgb, BitDepth::Sixteen, &wide),
        rgb(&[1; 18])
    );
    let palette = vec![10, 20, 30, 40, 50, 60, 70, 80, 90];
    let set = |e: &mut png::Encoder<std::fs::File>| {
        e.set_color(ColorType::Indexed);
        e.set_depth(BitDepth::Two);
        e.set_palette(palette.clone());
        e.set_trns(vec![0, 255]);
    };
    write_raw_png(&path, size, set, &[0b0001_1000, 0b1001_0000]);
    let want = [
        10, 20, 30, 40, 50, 60, 70, 80, 90, 70, 80, 90, 40, 50, 60, 10, 20, 30,
    ];
    assert_eq!(picture(&path), rgb(&want));
    assert_eq!(label_map(&path).data(), [0, 1, 2, 2, 1, 0]);
}

#[test]
fn png_round_trips() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let size = Size::new(3, 5);
    let mask = Mask::new(size, (0..15).map(|v| v % 4 == 1).collect()).unwrap();
    write_mask_png(&path, &mask).unwrap();
    assert_eq!(label_map(&path).mask_of(255), mask);
    for step in [17, 4000] {
        let labels = LabelMap::new(size, (0..15).map(|v| v * step).collect()).unwrap();
        write_label_png(&path, &labels).unwrap();
        assert_eq!(label_map(&path), labels);
    }
    let colour = RgbImage::new(size, (0..45).map(|v| v * 5).collect()).unwrap();
    write_rgb_png(&path, &colour).unwrap();
    assert_eq!(picture(&path), Picture::Rgb(colour.clone()));
    assert!(
        read_labels(&path, &ReadOptions::default())
            .unwrap_err()
            .to_string()
            .contains("colour PNG")
    );

    let image = Image::new(size, (0..15).map(|v| v as f32 / 14.0).collect()).unwrap();
    for (depth, top) in [(GreyDepth::Eight, 255.0), (GreyDepth::Sixteen, 65_535.0)] {
        write_grey_png(&path, &image, 0.0..=1.0, depth).unwrap();
        let Picture::Grey(back) = picture(&path) else {
            panic!("a colour image");
        };
        for (got, want) in back.data().iter().zip(image.data()) {
            assert_eq!(*got, (want * top).round());
        }
    }
    for bad in [1.0..=1.0, 0.0..=f32::NAN, f32::NEG_INFINITY..=1.0] {
        assert!(write_grey_png(&path, &image, bad, GreyDepth::Eight).is_err());
    }
    let odd = Image::new(Size::new(1, 3), vec![f32::NAN, -9.0, 9.0]).unwrap();
    write_grey_png(&path, &odd, 0.0..=1.0, GreyDepth::Eight).unwrap();
    assert_eq!(label_map(&path).data(), [0, 0, 255]);
    assert!(write_mask_png(&path, &Mask::zeros(Size::new(0, 4))).is_err());
}
