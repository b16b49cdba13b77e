//! Views of a scene: the whole, or a window around one of its structures at a scale drawn before.

use rand::{Rng, RngExt};
use synthfm_image::{Image, LabelMap, Mask, Size, largest_component};
use synthfm_synth::Target;

use crate::config::ViewConfig;

/// Largest part of its box that a window may cut off its target on each axis.
const LARGEST_CUT: f64 = 0.25;

/// Cuts from scenes the views that a model of a given size is trained on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer {
    pub(super) config: ViewConfig,
    /// Smallest ratio of the shorter to the longer side of a window.
    pub(super) min_aspect: f32,
    /// Side of the model's input in pixels.
    pub(super) side: usize,
    /// Side of the logits' grid in cells.
    pub(super) cells: usize,
}

/// A part of a scene: rows and columns from `row` and `col` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    row: usize,
    col: usize,
    size: Size,
}

/// First row and column of a structure and one past its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    rows: [usize; 2],
    cols: [usize; 2],
}

/// A frame with the structures in it that can be asked about.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) frame: Frame,
    /// The structures with the octave of their side in the model's input; the one that the window was drawn around
    /// is the first.
    seen: Vec<(&'a Target, i32)>,
    /// Whether the first of `seen` is the one that the window was drawn around.
    has_focus: bool,
}

impl Frame {
    /// All of a scene.
    pub(super) const fn whole(size: Size) -> Self {
        Self {
            row: 0,
            col: 0,
            size,
        }
    }

    fn longest(&self) -> usize {
        self.size.height.max(self.size.width)
    }

    /// The part of a raster of width `width` that lies in the frame.
    fn cut<T: Copy>(&self, data: &[T], width: usize) -> Vec<T> {
        let rows = data.chunks_exact(width).skip(self.row);
        let rows = rows.take(self.size.height);
        rows.flat_map(|row| &row[self.col..][..self.size.width])
            .copied()
            .collect()
    }

    /// The frame's part of an image.
    pub(super) fn image(&self, image: &Image) -> Image {
        let data = self.cut(image.data(), image.size().width);
        Image::new(self.size, data).expect("a frame lies in its scene")
    }

    /// The frame's part of a structure: where the frame cuts it to pieces, the largest.
    pub(super) fn structure(&self, mask: &Mask) -> Mask {
        let data = self.cut(mask.data(), mask.size().width);
        let part = Mask::new(self.size, data).expect("a frame lies in its scene");
        if part.size() == mask.size() || part.area() == mask.area() {
            return part;
        }
        largest_component(&part).unwrap_or(part)
    }

    /// Every structure in the frame but `target`, which is cut to it.
    pub(super) fn others(&self, labels: &LabelMap, target: &Mask) -> Mask {
        let labels = self.cut(labels.data(), labels.size().width);
        let pairs = labels.iter().zip(target.data());
        let data = pairs.map(|(&label, &inside)| label != 0 && !inside);
        Mask::new(self.size, data.collect()).expect("a frame lies in its scene")
    }

    /// Pixels of a mask inside the frame.
    fn area_of(&self, mask: &Mask) -> usize {
        let rows = mask.data().chunks_exact(mask.size().width).skip(self.row);
        let rows = rows.take(self.size.height);
        let in_row = |row: &[bool]| {
            let part = &row[self.col..][..self.size.width];
            part.iter().filter(|&&inside| inside).count()
        };
        rows.map(in_row).sum()
    }
}

impl Extent {
    fn of(mask: &Mask) -> Option<Self> {
        let (mut rows, mut cols) = ([usize::MAX, 0], [usize::MAX, 0]);
        for (row, line) in mask.data().chunks_exact(mask.size().width).enumerate() {
            // Without an early end this is fast on the many rows that are empty.
            if !line.iter().fold(false, |any, &inside| any | inside) {
                continue;
            }
            let first = line.iter().position(|&inside| inside).unwrap_or(0);
            let last = line.iter().rposition(|&inside| inside).unwrap_or(0);
            rows = [rows[0].min(row), row + 1];
            cols = [cols[0].min(first), cols[1].max(last + 1)];
        }
        (rows[1] > 0).then_some(Self { rows, cols })
    }

    fn side(&self) -> f64 {
        let [rows, cols] = [self.rows, self.cols].map(|[from, to]| to - from);
        rows.max(cols) as f64
    }
}

/// The octave of a length: the whole part of its logarithm to base 2.
fn octave(length: f64) -> i32 {
    libm::floor(libm::log2(length.max(1e-9))) as i32
}

/// One of `items`, so that every octave among them is as likely as any other.
fn balanced<T>(items: &[T], octave: impl Fn(&T) -> i32, rng: &mut impl Rng) -> Option<usize> {
    let mut octaves: Vec<i32> = items.iter().map(&octave).collect();
    octaves.sort_unstable();
    octaves.dedup();
    if octaves.is_empty() {
        return None;
    }
    let drawn = octaves[rng.random_range(0..octaves.len())];
    let of_octave: Vec<usize> = (0..items.len())
        .filter(|&i| octave(&items[i]) == drawn)
        .collect();
    Some(of_octave[rng.random_range(0..of_octave.len())])
}

impl Viewer {
    /// A view of a scene of the given size, whose structures that can be asked about are `targets`: the whole scene with
    /// probability `whole`.
    pub(super) fn draw<'a>(
        &self,
        scene: Size,
        targets: &[&'a Target],
        whole: f32,
        rng: &mut impl Rng,
    ) -> View<'a> {
        let whole = rng.random::<f32>() < whole;
        let extents: Vec<(usize, Extent)> = (targets.iter().enumerate())
            .filter_map(|(i, target)| Some((i, Extent::of(&target.mask)?)))
            .collect();
        let window = if whole {
            None
        } else {
            self.window(scene, &extents, rng)
        };
        let (focus, frame) = match window {
            Some((focus, frame)) => (Some(focus), frame),
            None => (None, Frame::whole(scene)),
        };
        let octave_in_input =
            |extent: &Extent| octave(extent.side() * self.side as f64 / frame.longest() as f64);
        let mut seen: Vec<(usize, i32)> = extents
            .iter()
            .filter(|&&(i, _)| self.can_be_asked(&frame, &targets[i].mask))
            .map(|(i, extent)| (*i, octave_in_input(extent)))
            .collect();
        let place = seen.iter().position(|&(i, _)| Some(i) == focus);
        if let Some(place) = place {
            seen[..=place].rotate_right(1);
        }
        View {
            frame,
            seen: seen.into_iter().map(|(i, o)| (targets[i], o)).collect(),
            has_focus: place.is_some(),
        }
    }

    /// Whether enough of a structure is in a frame.
    fn can_be_asked(&self, frame: &Frame, mask: &Mask) -> bool {
        let (inside, all) = (frame.area_of(mask) as f64, mask.area() as f64);
        let cells_per_pixel = self.cells as f64 / frame.longest() as f64;
        inside >= f64::from(self.config.min_visible) * all
            && inside * cells_per_pixel * cells_per_pixel >= f64::from(self.config.min_cells)
            && inside > 0.0
    }

    /// A window and the target that it was drawn around; `None` without targets.
    fn window(
        &self,
        scene: Size,
        extents: &[(usize, Extent)],
        rng: &mut impl Rng,
    ) -> Option<(usize, Frame)> {
        let (low, high) = (self.smallest(), self.largest());
        let log = libm::log(low) + rng.random::<f64>() * (libm::log(high) - libm::log(low));
        let (place, side) = self.choose(scene, extents, libm::exp(log), rng)?;
        let (target, extent) = extents[place];
        let longest = scene.height.max(scene.width) as f64;
        let least = extent.side() * f64::from(self.config.closest);
        let longer = (extent.side() * self.side as f64 / side).max(least);
        let longer = libm::round(longer.min(longest)).max(1.0);
        Some((target, self.place(scene, extent, longer as usize, rng)))
    }

    /// Smallest side of a window's target in the model's input.
    fn smallest(&self) -> f64 {
        f64::from(self.config.min_side_px)
    }

    /// Largest side of a window's target in the model's input.
    fn largest(&self) -> f64 {
        (self.side as f64 / f64::from(self.config.closest)).max(self.smallest())
    }

    /// A target that can have the side `wanted` in the model's input, with that side; where none can, the one that comes
    /// nearest, with the side nearest to it.
    fn choose(
        &self,
        scene: Size,
        extents: &[(usize, Extent)],
        wanted: f64,
        rng: &mut impl Rng,
    ) -> Option<(usize, f64)> {
        let longest = scene.height.max(scene.width) as f64;
        let nearest = |extent: &Extent| {
            let low = extent.side() * self.side as f64 / longest;
            let high = extent.side() * f64::from(self.config.max_enlargement);
            wanted.clamp(low, high.min(self.largest()).max(low))
        };
        let sides: Vec<f64> = extents.iter().map(|(_, extent)| nearest(extent)).collect();
        let distance = |side: f64| libm::fabs(libm::log(side / wanted));
        let least = sides.iter().copied().map(distance).reduce(f64::min)?;
        let among: Vec<usize> = (0..sides.len())
            .filter(|&i| distance(sides[i]) <= least)
            .collect();
        let octave_in_scene = |&i: &usize| octave(extents[i].1.side());
        let chosen = among[balanced(&among, octave_in_scene, rng)?];
        Some((chosen, sides[chosen]))
    }

    /// A window whose longer side is `longer` pixels, with `extent` in it.
    fn place(&self, scene: Size, extent: Extent, longer: usize, rng: &mut impl Rng) -> Frame {
        let ratio = self.min_aspect + (1.0 - self.min_aspect) * rng.random::<f32>();
        let wide = rng.random::<bool>();
        let cut = rng.random::<f32>() < self.config.cut;
        // The longer side must fit the scene.
        let wide = (wide || longer > scene.height) && longer <= scene.width;
        let across = if wide { extent.rows } else { extent.cols };
        let shorter = f64::from(ratio) * longer as f64;
        let least = (across[1] - across[0]) as f64 * f64::from(self.config.closest);
        let shorter = libm::round(shorter.max(least)).min(longer as f64) as usize;
        let size = if wide {
            Size::new(shorter, longer)
        } else {
            Size::new(longer, shorter)
        };
        // The shorter side may reach over the border by as much as leaves a window no narrower than windows may be.
        let least = libm::ceil(f64::from(self.min_aspect) * longer as f64) as usize;
        let over = shorter.saturating_sub(least.max(1));
        let (over_rows, over_cols) = if wide { (over, 0) } else { (0, over) };
        let rows = (size.height, over_rows);
        let (row, height) = along(extent.rows, scene.height, rows, cut, rng);
        let cols = (size.width, over_cols);
        let (col, width) = along(extent.cols, scene.width, cols, cut, rng);
        Frame {
            row,
            col,
            size: Size::new(height, width),
        }
    }
}

/// First pixel and length of a window on one axis of a scene of `scene` pixels: somewhere around the structure, over
/// the border by at most `over` pixels, and then cut by it.
fn along(
    [from, to]: [usize; 2],
    scene: usize,
    (length, over): (usize, usize),
    cut: bool,
    rng: &mut impl Rng,
) -> (usize, usize) {
    let [from, to, length, scene, over] = [from, to, length, scene, over].map(|v| v as f64);
    let slack = if cut { LARGEST_CUT * (to - from) } else { 0.0 };
    let (first, last) = (to - length - slack, from + slack);
    // A crop around an answer has the structure near its middle; other views have it anywhere.
    let [place, other] = [rng.random::<f64>(), rng.random::<f64>()];
    let place = if rng.random::<bool>() {
        f64::midpoint(place, other)
    } else {
        place
    };
    let start = first + place * (last - first).max(0.0);
    // A window that is longer than the scene has all of it.
    let start = libm::round(start).clamp(-over.max(0.0), (scene - length + over).max(-over));
    let end = (start + length).min(scene);
    let start = start.max(0.0);
    (start as usize, (end - start).max(1.0) as usize)
}

impl<'a> View<'a> {
    /// Up to `count` different structures: the one that the window was drawn around, and others so that every octave of
    /// size in the view is equally likely.
    pub(super) fn pick(mut self, count: usize, rng: &mut impl Rng) -> Vec<&'a Target> {
        let mut picked = Vec::new();
        if self.has_focus && count > 0 {
            picked.push(self.seen.remove(0).0);
        }
        while picked.len() < count
            && let Some(i) = balanced(&self.seen, |&(_, octave)| octave, rng)
        {
            picked.push(self.seen.swap_remove(i).0);
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use synthfm_synth::TargetKind;

    use super::*;
    use synthfm_eval::clicks::seeded_rng;

    const VIEWER: Viewer = Viewer {
        config: ViewConfig {
            whole: 0.0,
            whole_one_click: None,
            min_side_px: 6.0,
            closest: 1.2,
            max_enlargement: 2.0,
            cut: 0.0,
            min_visible: 0.5,
            min_cells: 3.0,
            per_scene: 1,
        },
        min_aspect: 0.6,
        side: 128,
        cells: 64,
    };

    /// A rectangle of rows and columns.
    fn target(size: Size, rows: [usize; 2], cols: [usize; 2]) -> Target {
        let inside = |i: usize| {
            let (row, col) = (i / size.width, i % size.width);
            (rows[0]..rows[1]).contains(&row) && (cols[0]..cols[1]).contains(&col)
        };
        Target {
            id: 1,
            kind: TargetKind::Organ,
            mask: Mask::new(size, (0..size.area()).map(inside).collect()).unwrap(),
        }
    }

    #[test]
    fn windows_along_an_axis_by_hand() {
        let mut rng = seeded_rng(1, &["along"]);
        let mut lengths = Vec::new();
        for _ in 0..200 {
            // As long as the structure: nowhere else.
            assert_eq!(along([10, 20], 100, (10, 0), false, &mut rng), (10, 10));
            // A structure at the border of the scene, all of the window inside.
            assert_eq!(along([0, 12], 100, (20, 0), false, &mut rng), (0, 20));
            assert_eq!(along([88, 100], 100, (20, 0), false, &mut rng), (80, 20));
            // Over the border by up to 5 pixels, which are cut off: all of the structure stays.
            let (start, length) = along([0, 12], 100, (20, 5), false, &mut rng);
            assert!(start == 0 && (15..=20).contains(&length));
            lengths.push(length);
            // Longer than the scene: all of it.
            assert_eq!(along([5, 15], 60, (80, 20), false, &mut rng), (0, 60));
            // Off centre, with the structure inside.
            let (start, length) = along([50, 60], 100, (30, 0), false, &mut rng);
            assert!(length == 30 && (30..=50).contains(&start));
            // Up to a quarter may be cut off.
            let (start, length) = along([50, 70], 100, (20, 0), true, &mut rng);
            assert!(length == 20 && (45..=55).contains(&start));
        }
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths, [15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn a_frame_cuts_rasters() {
        let frame = Frame {
            row: 1,
            col: 2,
            size: Size::new(2, 2),
        };
        let size = Size::new(3, 5);
        let values: Vec<u16> = (0..15).collect();
        assert_eq!(frame.cut(&values, 5), [7, 8, 12, 13]);
        // A structure in two pieces of the frame: the larger one stays, and the rest counts as another.
        let labels = [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4, 0, 0];
        let labels = LabelMap::new(size, labels.to_vec()).unwrap();
        let ring = labels.mask_of(4);
        assert_eq!(
            (frame.area_of(&ring), frame.structure(&ring).area()),
            (2, 2)
        );
        let mut bent = Mask::zeros(Size::new(3, 5));
        for at in [0, 1, 2, 3, 4, 9, 10, 11] {
            bent.data_mut()[at] = true;
        }
        let frame = Frame {
            row: 1,
            col: 0,
            size: Size::new(2, 5),
        };
        let cut = frame.structure(&bent);
        assert_eq!(
            cut.data(),
            &[[false; 5], [true, true, false, false, false]].concat()[..]
        );
        let labels = LabelMap::new(size, bent.data().iter().map(|&v| u16::from(v)).collect());
        assert_eq!(frame.others(&labels.unwrap(), &cut).area(), 1);
    }

    #[test]
    fn a_window_has_the_size_that_was_drawn() {
        // 40 x 20 pixels in the corner of a scene that is higher than wide.
        let scene = Size::new(300, 200);
        let corner = target(scene, [260, 300], [180, 200]);
        let extent = Extent::of(&corner.mask).unwrap();
        assert_eq!((extent.rows, extent.cols), ([260, 300], [180, 200]));
        let mut rng = seeded_rng(2, &["window"]);
        for _ in 0..500 {
            // 20 pixels of an input of 128: a window of 256 pixels, which only the height has.
            let frame = VIEWER.place(scene, extent, 256, &mut rng);
            let Size { height, width } = frame.size;
            assert_eq!((height, frame.row), (256, 44));
            assert!(width >= 154 && frame.col + width == 200, "{frame:?}");
            // 64 pixels: a window of 80, in both directions.
            let frame = VIEWER.place(scene, extent, 80, &mut rng);
            assert_eq!(frame.longest(), 80);
            let Size { height, width } = frame.size;
            assert!(height.min(width) >= 48, "{frame:?}");
            assert!(frame.row <= 260 && frame.row + height == 300);
            assert!(frame.col <= 180 && frame.col + width == 200);
        }
    }

    #[test]
    fn every_octave_is_drawn_as_often() {
        let scene = Size::new(384, 300);
        let sides = (0..40).map(|i| (8.0 * 1.1_f64.powi(i)).min(299.0) as usize);
        let targets: Vec<Target> = sides
            .map(|side| target(scene, [10, 10 + side], [0, side.min(300)]))
            .collect();
        let targets: Vec<&Target> = targets.iter().collect();
        let mut rng = seeded_rng(3, &["octaves"]);
        let mut counts = [0_usize; 5];
        let draws = 2000;
        for _ in 0..draws {
            let view = VIEWER.draw(scene, &targets, VIEWER.config.whole, &mut rng);
            assert!(view.has_focus);
            let side = Extent::of(&view.seen[0].0.mask).unwrap().side();
            let enlargement = 128.0 / view.frame.longest() as f64;
            // Windows have whole pixels.
            assert!(enlargement < 2.05 && side * enlargement < 128.0 / 1.19);
            counts[libm::floor(libm::log2(side * enlargement / 5.95)) as usize] += 1;
        }
        // From 6 to 128 / 1.2 pixels: 4.15 octaves.
        for (octave, count) in counts.iter().enumerate() {
            let expected = if octave < 4 { 1.0 } else { 0.152 } / 4.152;
            let share = *count as f64 / f64::from(draws);
            assert!(
                (share - expected).abs() < 0.035,
                "{octave}: {share}, {expected}"
            );
        }
    }

    #[test]
    fn what_is_asked_about_can_be_seen() {
        let scene = Size::new(200, 260);
        let targets = [
            target(scene, [90, 110], [100, 120]),
            target(scene, [20, 180], [60, 200]),
            target(scene, [100, 104], [100, 103]),
            target(scene, [0, 8], [0, 8]),
        ];
        let targets: Vec<&Target> = targets.iter().collect();
        let viewer = Viewer {
            config: ViewConfig {
                cut: 0.5,
                whole: 0.2,
                ..VIEWER.config
            },
            ..VIEWER
        };
        let mut rng = seeded_rng(4, &["seen"]);
        let (mut whole, mut cut) = (0, 0);
        for _ in 0..600 {
            let view = viewer.draw(scene, &targets, viewer.config.whole, &mut rng);
            whole += usize::from(view.frame == Frame::whole(scene));
            let cells_per_pixel = 64.0 / view.frame.longest() as f64;
            for (target, octave) in &view.seen {
                let (all, part) = (
                    target.mask.area(),
                    view.frame.structure(&target.mask).area(),
                );
                cut += usize::from(part < all);
                assert!(2 * part >= all);
                assert!(part as f64 * cells_per_pixel * cells_per_pixel >= 3.0);
                let side = Extent::of(&target.mask).unwrap().side() * 2.0 * cells_per_pixel;
                assert_eq!(*octave, libm::floor(libm::log2(side)) as i32);
            }
            let (focus, frame) = (view.has_focus.then(|| view.seen[0].0.id), view.frame);
            let picked = view.pick(3, &mut rng);
            assert!(picked.len() <= 3);
            assert!(focus.is_none() || frame.area_of(&picked[0].mask) > 0);
        }
        // A fifth of 600, and the windows that reach all of the scene.
        assert!((90..200).contains(&whole), "{whole}");
        assert!(cut > 100, "{cut}");
    }
}
