//! How a camera was held (EXIF 2.3, tag `Orientation`), and pictures turned so that they are upright.

use super::Picture;
use super::tiff::TiffFile;
use crate::{Image, LabelMap, Result, RgbImage, Size};

/// EXIF's and TIFF's tag.
pub(super) const ORIENTATION_TAG: u16 = 274;

/// The turn and mirroring that make a stored picture upright; never the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    /// The meaning of a tag's value; `None` for upright pictures and for numbers without a meaning.
    pub(super) fn of_tag(value: u64) -> Option<Self> {
        match value {
            2..=8 => Some(Self(value as u8)),
            _ => None,
        }
    }

    /// The orientation in EXIF metadata.
    pub(super) fn of_exif(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
        let directory = TiffFile::of(bytes)?.first()?;
        Self::of_tag(directory.number(ORIENTATION_TAG)?)
    }

    /// Rows and columns of the upright picture.
    pub const fn upright_size(self, stored: Size) -> Size {
        if self.0 >= 5 {
            Size::new(stored.width, stored.height)
        } else {
            stored
        }
    }

    /// A remark for the user on a picture that was turned.
    pub(super) fn note(self) -> String {
        format!(
            "the picture was turned upright, as its EXIF orientation {} says",
            self.0
        )
    }

    /// Labels on the stored grid, turned as the picture is.
    pub fn upright_labels(self, stored: &LabelMap) -> Result<LabelMap> {
        let (data, size) = self.upright(stored.data(), stored.size(), 1);
        LabelMap::new(size, data)
    }

    pub(super) fn upright_picture(self, stored: &Picture) -> Result<Picture> {
        Ok(match stored {
            Picture::Grey(image) => {
                let (data, size) = self.upright(image.data(), image.size(), 1);
                Picture::Grey(Image::new(size, data)?)
            }
            Picture::Rgb(image) => {
                let (data, size) = self.upright(image.data(), image.size(), 3);
                Picture::Rgb(RgbImage::new(size, data)?)
            }
        })
    }

    fn upright<T: Copy>(self, stored: &[T], size: Size, channels: usize) -> (Vec<T>, Size) {
        let Size { height, width } = size;
        let upright = self.upright_size(size);
        let mut data = Vec::with_capacity(stored.len());
        for row in 0..upright.height {
            for col in 0..upright.width {
                let (row, col) = match self.0 {
                    2 => (row, width - 1 - col),
                    3 => (height - 1 - row, width - 1 - col),
                    4 => (height - 1 - row, col),
                    5 => (col, row),
                    6 => (height - 1 - col, row),
                    7 => (height - 1 - col, width - 1 - row),
                    8 => (col, width - 1 - row),
                    _ => (row, col),
                };
                let at = (row * width + col) * channels;
                data.extend_from_slice(&stored[at..at + channels]);
            }
        }
        (data, upright)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letter F as Pillow's `exif_transpose` shows it for each orientation of
    /// `[[1, 2, 3], [4, 5, 6]]`.
    #[test]
    fn pictures_are_turned_as_exif_says() {
        let stored = LabelMap::new(Size::new(2, 3), vec![1, 2, 3, 4, 5, 6]).unwrap();
        for (tag, size, expected) in [
            (2, Size::new(2, 3), [3, 2, 1, 6, 5, 4]),
            (3, Size::new(2, 3), [6, 5, 4, 3, 2, 1]),
            (4, Size::new(2, 3), [4, 5, 6, 1, 2, 3]),
            (5, Size::new(3, 2), [1, 4, 2, 5, 3, 6]),
            (6, Size::new(3, 2), [4, 1, 5, 2, 6, 3]),
            (7, Size::new(3, 2), [6, 3, 5, 2, 4, 1]),
            (8, Size::new(3, 2), [3, 6, 2, 5, 1, 4]),
        ] {
            let orientation = Orientation::of_tag(tag).unwrap();
            let upright = orientation.upright_labels(&stored).unwrap();
            assert_eq!(
                (upright.size(), upright.data()),
                (size, &expected[..]),
                "{tag}"
            );
        }
        assert!(
            [0, 1, 9, 300]
                .into_iter()
                .all(|tag| Orientation::of_tag(tag).is_none())
        );
    }

    #[test]
    fn exif_is_read_in_both_byte_orders_and_damage_is_no_orientation() {
        let little = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        for bytes in [&little[..], &big[..]] {
            assert_eq!(Orientation::of_exif(bytes), Some(Orientation(6)));
            for cut in 0..bytes.len() - 8 {
                assert_eq!(Orientation::of_exif(&bytes[..cut]), None);
            }
        }
    }
}
