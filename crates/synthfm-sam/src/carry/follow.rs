//! A mask that follows what it covers from one slice to the next.

use synthfm_image::{BoxXyxy, Mask, RgbImage, Size, dilate};

use super::flow::{Grid, displacement};
use super::policy::{CarryEnd, CarryPolicy};

/// Bins of grey values.
const BINS: usize = 32;
/// Standard deviation of the blur of a histogram, in bins, and what is added to every bin.
const BIN_BLUR: f64 = 1.5;
const BIN_FLOOR: f64 = 0.3;
/// Pixels around a mask that are its surroundings.
const RING_PX: f32 = 3.0;
/// Grey values are divided by this, so that a step of a usual edge is about 1.
const GREY_UNIT: f32 = 40.0;
/// Room around a mask: this share of its longer side, and at least so many pixels.
const ROOM: f64 = 0.5;
const LEAST_ROOM_PX: usize = 8;
/// Shares below this are nothing.
const FAINT: f32 = 1.0 / 256.0;

/// A mask with soft edges: shares from 0 to 1 in a window of a slice, 0 outside.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SoftMask {
    size: Size,
    top: usize,
    left: usize,
    window: Grid,
}

impl SoftMask {
    fn of(mask: &Mask) -> Option<Self> {
        let window = Span::around(mask.bounding_box()?, 0, mask.size());
        let share = |at: usize| f32::from(u8::from(mask.data()[at]));
        Some(window.cut(mask.size(), share))
    }

    /// The share at a pixel of the slice.
    pub(super) fn at(&self, row: usize, col: usize) -> f32 {
        let inside = row
            .checked_sub(self.top)
            .zip(col.checked_sub(self.left))
            .filter(|&(row, col)| row < self.window.size.height && col < self.window.size.width);
        inside.map_or(0.0, |(row, col)| {
            self.window.data[self.window.size.index(row, col)]
        })
    }

    /// Where the share is above one half.
    pub(super) fn mask(&self) -> Mask {
        let mut mask = Mask::zeros(self.size);
        for (at, &share) in self.window.data.iter().enumerate() {
            let width = self.window.size.width;
            let (row, col) = (self.top + at / width, self.left + at % width);
            mask.data_mut()[self.size.index(row, col)] = share > 0.5;
        }
        mask
    }
}

/// Rows and columns of a window.
#[derive(Debug, Clone, Copy)]
struct Span {
    top: usize,
    left: usize,
    size: Size,
}

impl Span {
    /// A box of whole pixels with room on every side, inside a slice.
    fn around(b: BoxXyxy, room: usize, size: Size) -> Self {
        let start = |v: f64| (v as usize).saturating_sub(room);
        let end = |v: f64, n: usize| (v as usize + 1 + room).min(n);
        let (top, left) = (start(b.min.y), start(b.min.x));
        let (bottom, right) = (end(b.max.y, size.height), end(b.max.x, size.width));
        Self {
            top,
            left,
            size: Size::new(bottom - top, right - left),
        }
    }

    fn grid(self, size: Size, value: impl Fn(usize) -> f32) -> Grid {
        let rows = self.top..self.top + self.size.height;
        let cols = self.left..self.left + self.size.width;
        let all = rows.flat_map(|row| cols.clone().map(move |col| size.index(row, col)));
        Grid {
            size: self.size,
            data: all.map(value).collect(),
        }
    }

    fn cut(self, size: Size, value: impl Fn(usize) -> f32) -> SoftMask {
        SoftMask {
            size,
            top: self.top,
            left: self.left,
            window: self.grid(size, value),
        }
    }
}

/// Grey values of a slice, 0 to 255.
#[derive(Debug, Clone)]
struct Greys {
    size: Size,
    data: Vec<u8>,
}

impl Greys {
    fn of(picture: &RgbImage) -> Self {
        let pixels = picture.data().chunks_exact(3);
        let mean = |rgb: &[u8]| (rgb.iter().map(|&v| u16::from(v)).sum::<u16>() / 3) as u8;
        Self {
            size: picture.size(),
            data: pixels.map(mean).collect(),
        }
    }

    fn grid(&self, span: Span) -> Grid {
        span.grid(self.size, |at| f32::from(self.data[at]) / GREY_UNIT)
    }
}

/// How much more often each grey value is found in a structure than around it: the logarithm of the ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Likeness([f32; BINS]);

impl Likeness {
    fn of(greys: &Greys, mask: &Mask) -> Self {
        let around = dilate(mask, RING_PX);
        let (mut inside, mut ring) = ([0.0_f64; BINS], [0.0_f64; BINS]);
        let pixels = greys.data.iter().zip(mask.data().iter().zip(around.data()));
        for (&grey, (&is_inside, &is_near)) in pixels {
            if is_inside {
                inside[bin(grey)] += 1.0;
            } else if is_near {
                ring[bin(grey)] += 1.0;
            }
        }
        let (inside, ring) = (shares(&inside), shares(&ring));
        Self(std::array::from_fn(|at| {
            libm::log(inside[at] / ring[at]) as f32
        }))
    }

    /// The mean over a mask.
    fn mean(&self, greys: &Greys, mask: &Mask) -> f32 {
        let pixels = greys.data.iter().zip(mask.data());
        let own = pixels.filter(|&(_, &inside)| inside);
        let (mut sum, mut count) = (0.0, 0_usize);
        for (&grey, _) in own {
            sum += f64::from(self.0[bin(grey)]);
            count += 1;
        }
        (sum / count.max(1) as f64) as f32
    }
}

const fn bin(grey: u8) -> usize {
    grey as usize * BINS / 256
}

/// Counts as blurred shares that add up to 1, none of them 0.
fn shares(counts: &[f64; BINS]) -> [f64; BINS] {
    let weight = |apart: usize| libm::exp(-0.5 * (apart as f64 / BIN_BLUR).powi(2));
    let blurred: [f64; BINS] = std::array::from_fn(|at| {
        let near = (0..BINS).map(|other| (counts[other], weight(at.abs_diff(other))));
        let (sum, weights) = near.fold((0.0, 0.0), |(sum, all), (n, w)| (sum + n * w, all + w));
        sum / weights + BIN_FLOOR
    });
    let total: f64 = blurred.iter().sum();
    blurred.map(|share| share / total)
}

/// A structure that is followed from slice to slice, each by the displacement of what is seen in and around the mask.
///
/// It needs no model: on most volumes a mask that moves with the image is nearer to the structure than an answer to prompts that
/// were made of the last one.
#[derive(Debug, Clone)]
pub struct Follower {
    policy: CarryPolicy,
    likeness: Likeness,
    greys: Greys,
    soft: SoftMask,
    mask: Mask,
}

impl Follower {
    /// Begins with a slice and the structure on it; `None` where there is too little of it, or sizes differ.
    pub fn start(picture: &RgbImage, mask: &Mask, policy: &CarryPolicy) -> Option<Self> {
        if picture.size() != mask.size() || mask.area() < policy.least_area_px.max(1) {
            return None;
        }
        let greys = Greys::of(picture);
        Some(Self {
            policy: *policy,
            likeness: Likeness::of(&greys, mask),
            greys,
            soft: SoftMask::of(mask)?,
            mask: mask.clone(),
        })
    }

    /// The structure on the next slice, from which it goes on.
    ///
    /// # Errors
    /// Where the structure seems to have ended; the follower stays where it was.
    pub fn step(&mut self, picture: &RgbImage) -> Result<&Mask, CarryEnd> {
        let size = self.mask.size();
        let around = self.mask.bounding_box();
        let around = around.filter(|_| picture.size() == size);
        let around = around.ok_or(CarryEnd::Vanished)?;
        let greys = Greys::of(picture);
        let longer = (around.max.x - around.min.x).max(around.max.y - around.min.y) + 1.0;
        let room = ((ROOM * longer) as usize).max(LEAST_ROOM_PX);
        let span = Span::around(around, room, size);
        let side = span.size.height.max(span.size.width);
        let block = side.div_ceil(self.policy.longest_side.max(8));
        let [down, along] = displacement(
            &greys.grid(span),
            &self.greys.grid(span),
            block,
            self.policy.smoothing,
            self.policy.steps,
        );
        let old = span.grid(size, |at| self.soft.at(at / size.width, at % size.width));
        let mut moved = Grid::zeros(span.size);
        for (at, share) in moved.data.iter_mut().enumerate() {
            let (row, col) = (at / span.size.width, at % span.size.width);
            let place = [row as f32 + down.data[at], col as f32 + along.data[at]];
            let found = old.inside_at(place[0], place[1]);
            *share = if found < FAINT { 0.0 } else { found };
        }
        let soft = SoftMask {
            size,
            top: span.top,
            left: span.left,
            window: moved,
        };
        let mask = soft.mask();
        if mask.area() < self.policy.least_area_px.max(1) {
            return Err(CarryEnd::Vanished);
        }
        if f64::from(self.likeness.mean(&greys, &mask)) < self.policy.least_likeness {
            return Err(CarryEnd::Unlike);
        }
        (self.greys, self.soft, self.mask) = (greys, soft, mask);
        Ok(&self.mask)
    }

    /// Where it is now, with soft edges.
    pub(super) const fn soft(&self) -> &SoftMask {
        &self.soft
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(48, 60);

    /// A bright disc on a dark, slightly striped ground.
    fn slice([y, x]: [f64; 2], radius: f64, grey: u8) -> (RgbImage, Mask) {
        let inside = |at: usize| {
            let (row, col) = ((at / SIZE.width) as f64, (at % SIZE.width) as f64);
            (row - y).hypot(col - x) <= radius
        };
        let value = |at: usize| {
            let ground = 50 + (at % SIZE.width % 5) as u8;
            if inside(at) { grey } else { ground }
        };
        let bytes = (0..SIZE.area()).flat_map(|at| [value(at); 3]).collect();
        let mask = Mask::new(SIZE, (0..SIZE.area()).map(inside).collect()).unwrap();
        (RgbImage::new(SIZE, bytes).unwrap(), mask)
    }

    fn dice(a: &Mask, b: &Mask) -> f64 {
        let both = a.data().iter().zip(b.data()).filter(|&(&a, &b)| a && b);
        2.0 * both.count() as f64 / (a.area() + b.area()) as f64
    }

    #[test]
    fn a_disc_that_moves_and_grows_is_followed() {
        let (picture, mask) = slice([20.0, 20.0], 6.0, 150);
        let mut follower = Follower::start(&picture, &mask, &CarryPolicy::default()).unwrap();
        for n in 1..=10 {
            let n = f64::from(n);
            let (picture, truth) = slice([20.0 + 0.8 * n, 20.0 + 1.5 * n], 6.0 + 0.3 * n, 150);
            let found = follower.step(&picture).unwrap().clone();
            assert!(dice(&found, &truth) > 0.9, "{n}: {}", dice(&found, &truth));
        }
    }

    #[test]
    fn a_structure_that_is_gone_ends() {
        let policy = CarryPolicy::default();
        let (picture, mask) = slice([20.0, 20.0], 6.0, 150);
        let mut follower = Follower::start(&picture, &mask, &policy).unwrap();
        let (empty, _) = slice([20.0, 20.0], 0.0, 52);
        let end = follower.step(&empty).unwrap_err();
        assert!(
            matches!(end, CarryEnd::Unlike | CarryEnd::Vanished),
            "{end}"
        );
        // It stays where it was, and finds the structure on another slice.
        assert!(dice(follower.step(&picture).unwrap(), &mask) > 0.97);
        let other = RgbImage::zeros(Size::new(3, 4));
        assert_eq!(follower.step(&other).unwrap_err(), CarryEnd::Vanished);
        assert!(Follower::start(&picture, &Mask::zeros(SIZE), &policy).is_none());
        assert!(Follower::start(&other, &mask, &policy).is_none());
    }

    #[test]
    fn the_same_slice_keeps_the_mask() {
        let (picture, mask) = slice([3.0, 56.0], 7.0, 140);
        let mut follower = Follower::start(&picture, &mask, &CarryPolicy::default()).unwrap();
        for _ in 0..4 {
            assert_eq!(*follower.step(&picture).unwrap(), mask);
        }
        // Coarse steps, on blocks of several pixels, too.
        let policy: CarryPolicy = "auto,longest_side=8".parse().unwrap();
        let mut follower = Follower::start(&picture, &mask, &policy).unwrap();
        assert_eq!(*follower.step(&picture).unwrap(), mask);
    }
}
