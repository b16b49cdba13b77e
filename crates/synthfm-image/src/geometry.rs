//! Sizes, points and boxes in the pixel grid of one image.

/// Rows and columns of a raster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl Size {
    /// A size of `height` rows and `width` columns.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// Number of pixels.
    pub const fn area(self) -> usize {
        self.height * self.width
    }

    /// Index of `[row, col]` in row-major order.
    pub const fn index(self, row: usize, col: usize) -> usize {
        row * self.width + col
    }

    /// Whether the pixel nearest to `point` lies inside.
    pub fn contains(self, point: Point2) -> bool {
        let Point2 { x, y } = point;
        x >= -0.5 && y >= -0.5 && x < self.width as f64 - 0.5 && y < self.height as f64 - 0.5
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} (height x width)", self.height, self.width)
    }
}

/// A point in pixels: x to the right, y down, `(0, 0)` at the centre of the top-left pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point2 {
    /// Column coordinate.
    pub x: f64,
    /// Row coordinate.
    pub y: f64,
}

impl Point2 {
    /// The point `(x, y)`.
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// The centre of the pixel at `[row, col]`.
    pub const fn from_row_col(row: usize, col: usize) -> Self {
        Self {
            x: col as f64,
            y: row as f64,
        }
    }

    /// `[row, col]` of the pixel nearest to this point, if it lies inside `size`.
    pub fn row_col(self, size: Size) -> Option<(usize, usize)> {
        size.contains(self).then(|| {
            let (row, col) = ((self.y + 0.5).floor(), (self.x + 0.5).floor());
            (row as usize, col as usize)
        })
    }
}

/// A box between two opposite corners, both on pixel centres and both inside the box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxXyxy {
    /// Top-left corner.
    pub min: Point2,
    /// Bottom-right corner.
    pub max: Point2,
}
