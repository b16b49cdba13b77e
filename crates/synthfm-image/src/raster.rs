//! Two-dimensional rasters. Each constructor checks that the data fit the size.

use crate::{BoxXyxy, Error, Point2, Result, Size};

fn check(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        Ok(())
    } else {
        Err(Error::Shape {
            what,
            expected,
            got,
        })
    }
}

macro_rules! raster {
    ($(#[$doc:meta])* $name:ident, $value:ty, $zero:expr, $channels:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            size: Size,
            data: Vec<$value>,
        }

        impl $name {
            /// Wraps row-major data. Fails if their number does not fit `size`.
            pub fn new(size: Size, data: Vec<$value>) -> Result<Self> {
                check(stringify!($name), size.area() * $channels, data.len())?;
                Ok(Self { size, data })
            }

            /// All zeros.
            pub fn zeros(size: Size) -> Self {
                Self { size, data: vec![$zero; size.area() * $channels] }
            }

            /// Rows and columns.
            pub const fn size(&self) -> Size {
                self.size
            }

            /// The values, row-major.
            pub fn data(&self) -> &[$value] {
                &self.data
            }

            /// The values, row-major, to change in place.
            pub fn data_mut(&mut self) -> &mut [$value] {
                &mut self.data
            }

            /// The values, row-major, without a copy.
            pub fn into_data(self) -> Vec<$value> {
                self.data
            }
        }
    };
}

raster!(
    /// A grey image `[H, W]` of `f32` in the unit of its source (synthetic images: `[0, 1]`).
    Image, f32, 0.0, 1
);
raster!(
    /// An 8-bit colour image `[H, W, 3]`, interleaved RGB: what SAM's preprocessing takes.
    RgbImage, u8, 0, 3
);
raster!(
    /// A binary mask `[H, W]`; `true` is foreground.
    Mask, bool, false, 1
);
raster!(
    /// Labels `[H, W]`; 0 is background.
    LabelMap, u16, 0, 1
);

impl Image {
    /// Value at `[row, col]`.
    pub fn at(&self, row: usize, col: usize) -> f32 {
        self.data[self.size.index(row, col)]
    }

    /// Maps `[low, high]` linearly to 0..=255 (rounded, clipped; NaN becomes 0), three equal channels.
    pub fn to_rgb8(&self, low: f32, high: f32) -> RgbImage {
        let scale = if high > low {
            255.0 / (high - low)
        } else {
            0.0
        };
        let grey = |v: f32| ((v - low) * scale).clamp(0.0, 255.0).round() as u8;
        let mut data = Vec::with_capacity(self.data.len() * 3);
        data.extend(self.data.iter().flat_map(|&v| [grey(v); 3]));
        RgbImage {
            size: self.size,
            data,
        }
    }
}

impl Mask {
    /// Value at `[row, col]`.
    pub fn at(&self, row: usize, col: usize) -> bool {
        self.data[self.size.index(row, col)]
    }

    /// Number of foreground pixels.
    pub fn area(&self) -> usize {
        self.data.iter().filter(|&&v| v).count()
    }

    /// Mean position of the foreground, or `None` if there is none. It may lie outside the mask.
    pub fn centroid(&self) -> Option<Point2> {
        let (mut rows, mut cols, mut count) = (0.0, 0.0, 0usize);
        for (row, line) in self.data.chunks_exact(self.size.width.max(1)).enumerate() {
            for (col, _) in line.iter().enumerate().filter(|&(_, &v)| v) {
                rows += row as f64;
                cols += col as f64;
                count += 1;
            }
        }
        (count > 0).then(|| Point2::new(cols / count as f64, rows / count as f64))
    }

    /// The smallest box around the foreground, or `None` if there is none.
    pub fn bounding_box(&self) -> Option<BoxXyxy> {
        let (mut rows, mut cols) = ((usize::MAX, 0), (usize::MAX, 0));
        for (row, line) in self.data.chunks_exact(self.size.width.max(1)).enumerate() {
            for (col, _) in line.iter().enumerate().filter(|&(_, &v)| v) {
                rows = (rows.0.min(row), rows.1.max(row));
                cols = (cols.0.min(col), cols.1.max(col));
            }
        }
        (rows.0 != usize::MAX).then(|| BoxXyxy {
            min: Point2::from_row_col(rows.0, cols.0),
            max: Point2::from_row_col(rows.1, cols.1),
        })
    }
}

impl LabelMap {
    /// Value at `[row, col]`.
    pub fn at(&self, row: usize, col: usize) -> u16 {
        self.data[self.size.index(row, col)]
    }

    /// The pixels that carry `label`.
    pub fn mask_of(&self, label: u16) -> Mask {
        Mask {
            size: self.size,
            data: self.data.iter().map(|&v| v == label).collect(),
        }
    }

    /// The labels that occur, background left out, in ascending order.
    pub fn labels(&self) -> Vec<u16> {
        labels_of(&self.data)
    }
}

/// The labels in `data`, background left out, in ascending order.
pub(crate) fn labels_of(data: &[u16]) -> Vec<u16> {
    let mut seen = vec![false; usize::from(u16::MAX) + 1];
    for &v in data {
        seen[usize::from(v)] = true;
    }
    (1..=u16::MAX).filter(|&v| seen[usize::from(v)]).collect()
}
