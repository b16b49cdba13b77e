//! Training batches: synthetic samples with simulated prompts, in the model's input frame.
//!
//! A batch is a function of (config, step) alone. Worker threads prepare it ahead of the trainer, in the parts that the
//! configuration splits it into, and hand them over in order, so their number never changes a run.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use synthfm_image::{BoxXyxy, Mask, RgbImage, Size};
use synthfm_sam::{InputTransform, SamConfig};
use synthfm_synth::{GeneratorConfig, Sample, Target, TargetKind, generate};

use crate::clicks::{
    Click, Negatives, Positives, jittered_box, negative_clicks, positive_clicks, seeded_rng,
    training_negatives,
};
use crate::config::{CorrectionConfig, PromptConfig, TrainConfig};
use crate::corrections::Corrections;
use crate::validation::HELD_BACK;

/// Smallest side of a generated sample.
const MIN_SIDE: usize = 128;
/// Batches that a worker prepares ahead.
const AHEAD: usize = 2;
/// Samples tried for one place in a batch until one has a structure.
const TRIES: u64 = 8;
/// Distance between the indices of those samples: no run reaches the next one.
const RETRY_STRIDE: u64 = 1 << 40;

/// `B` images with `N` prompted objects on them, as plain row-major arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised, padded images: `[B, 3, S, S]`.
    pub images: Vec<f32>,
    /// For each object, the image it is on: `[N]`.
    pub image_of_object: Vec<usize>,
    /// Clicks (x, y) in the input frame: `[N, P, 2]`; empty without clicks.
    pub points: Vec<f32>,
    /// 1, 0, or -1 for padding: `[N, P]`.
    pub labels: Vec<i64>,
    /// Boxes in the input frame: `[N, 4]`; empty without boxes.
    pub boxes: Vec<f32>,
    /// Share of each logit cell that the structure covers: `[N, m, m]`.
    pub targets: Vec<f32>,
    /// How the prompts go on from the model's answers.
    pub corrections: Corrections,
    /// The images before their preparation, where embeddings may be kept: `[B]`; otherwise empty.
    pub pictures: Vec<RgbImage>,
}

impl Batch {
    fn empty(corrections: Corrections) -> Self {
        Self {
            images: Vec::new(),
            image_of_object: Vec::new(),
            points: Vec::new(),
            labels: Vec::new(),
            boxes: Vec::new(),
            targets: Vec::new(),
            corrections,
            pictures: Vec::new(),
        }
    }
}

/// The kind of prompt that all objects of one step get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptKind {
    pub(crate) positives: usize,
    pub(crate) negatives: usize,
    pub(crate) with_box: bool,
}

impl PromptKind {
    fn draw(config: &PromptConfig, rng: &mut impl Rng) -> Self {
        let PromptConfig {
            single_click,
            clicks,
            bounding_box,
            box_and_clicks,
            ..
        } = *config;
        let mut u = rng.random::<f32>() * (single_click + clicks + bounding_box + box_and_clicks);
        let positives = 1 + rng.random_range(0..config.max_positives);
        let negatives = rng.random_range(0..=config.max_negatives);
        let kinds = [
            (single_click, 1, 0, false),
            (clicks, positives, negatives, false),
            (bounding_box, 0, 0, true),
        ];
        for (weight, positives, negatives, with_box) in kinds {
            if u < weight {
                return Self {
                    positives,
                    negatives,
                    with_box,
                };
            }
            u -= weight;
        }
        Self {
            positives,
            negatives,
            with_box: true,
        }
    }
}

/// A sample in a batch.
#[derive(Debug, Clone, Copy)]
struct Shown {
    index: u64,
    /// How often it was shown before.
    visit: u64,
    keep_picture: bool,
}

/// Prepares the batches of a run.
#[derive(Debug, Clone)]
pub struct BatchMaker {
    config: TrainConfig,
    model: SamConfig,
    /// Number of this process and of all that share each batch.
    share: [usize; 2],
}

impl BatchMaker {
    /// Batches for `config` and a model of the given sizes.
    pub fn new(config: TrainConfig, model: SamConfig) -> Self {
        Self {
            config,
            model,
            share: [0, 1],
        }
    }

    /// The same for the process `rank` of `size` that share each batch.
    #[must_use]
    pub fn with_share(self, rank: usize, size: usize) -> Self {
        let share = [rank, size];
        Self { share, ..self }
    }

    /// The parts of a batch that fall to this process, and the number of all.
    fn parts(&self) -> (Range<usize>, usize) {
        let ([rank, size], own) = (self.share, self.config.accumulate);
        (rank * own..(rank + 1) * own, size * own)
    }

    /// The batch of one step.
    pub fn batch(&self, step: u64) -> Batch {
        self.part(step, 0, 1)
    }

    /// The `part`th of the `parts` that a step's batch is split into: its images, as even as can be, with the prompts
    /// that they have in the whole batch.
    pub fn part(&self, step: u64, part: usize, parts: usize) -> Batch {
        let size = self.config.batch_size;
        let prompts = &self.config.prompts;
        let name = step.to_string();
        let mut rng = seeded_rng(self.config.seed, &["step", &name]);
        let kind = PromptKind::draw(prompts, &mut rng);
        let mut rng = seeded_rng(self.config.seed, &["corrections", &name]);
        let mut batch = Batch::empty(Corrections::draw(prompts.corrections, &mut rng));
        let images = part * size / parts..(part + 1) * size / parts;
        for (place, image) in images.enumerate() {
            let image = step * size as u64 + image as u64;
            let reuse = &self.config.reuse;
            let (index, visit) = reuse.visit(image, self.config.images_per_epoch);
            let shown = Shown {
                index: self.config.first_index + index,
                visit,
                keep_picture: reuse.is_on(),
            };
            self.push_image(&mut batch, place, shown, kind);
        }
        batch
    }

    /// One of the held-back samples with prompts of one kind, and no corrections.
    pub(crate) fn held_back(&self, image: u64, kind: PromptKind) -> Batch {
        let mut rng = seeded_rng(self.config.seed, &["held back"]);
        let mut batch = Batch::empty(Corrections::draw(CorrectionConfig::default(), &mut rng));
        let shown = Shown {
            index: HELD_BACK + image,
            visit: 0,
            keep_picture: false,
        };
        self.push_image(&mut batch, 0, shown, kind);
        batch
    }

    /// The sizes of the model.
    pub(crate) fn model(&self) -> &SamConfig {
        &self.model
    }

    fn push_image(&self, batch: &mut Batch, image: usize, shown: Shown, kind: PromptKind) {
        let (seed, index) = (self.config.seed, shown.index);
        let name = index.to_string();
        let mut rng = seeded_rng(seed, &["sample", &name]);
        let generator = self.sample_config(&mut rng);
        let sample = sample_with_structures(&generator, seed, index);
        let transform =
            InputTransform::new(sample.image.size(), &self.model).expect("samples are not empty");
        let picture = sample.image.to_rgb8(0.0, 1.0);
        batch
            .images
            .extend(transform.preprocess(&picture, &self.model));
        if shown.keep_picture {
            batch.pictures.push(picture);
        }
        let visit = shown.visit.to_string();
        if shown.visit > 0 {
            rng = seeded_rng(seed, &["sample", &name, "visit", &visit]);
        }
        let candidates = without_parts(&sample.targets, self.config.nested_targets, &mut rng);
        let picked = pick(candidates, self.config.objects_per_image, &mut rng);
        for (object, target) in picked.into_iter().enumerate() {
            let path = ["corrections of", &name, &visit, &object.to_string()];
            batch.corrections.push_object(seeded_rng(seed, &path));
            batch.image_of_object.push(image);
            let others = others(&sample, target);
            self.push_prompt(batch, &target.mask, &others, &transform, kind, &mut rng);
            batch.targets.extend(coverage(
                &target.mask,
                self.model.image_size,
                self.model.low_res_side(),
            ));
        }
    }

    /// The generator's configuration with one side shortened.
    fn sample_config(&self, rng: &mut impl Rng) -> GeneratorConfig {
        let mut config = self.config.generator.clone();
        let ratio = self.config.min_aspect + (1.0 - self.config.min_aspect) * rng.random::<f32>();
        let side = if rng.random::<bool>() {
            &mut config.size.height
        } else {
            &mut config.size.width
        };
        *side = ((*side as f32 * ratio).round() as usize).max(MIN_SIDE);
        config
    }

    fn push_prompt(
        &self,
        batch: &mut Batch,
        mask: &Mask,
        others: &Mask,
        transform: &InputTransform,
        kind: PromptKind,
        rng: &mut ChaCha8Rng,
    ) {
        if kind.with_box {
            let jitter = self.config.prompts.jitter;
            let BoxXyxy { min, max } =
                jittered_box(mask, jitter, rng).expect("targets are not empty");
            for corner in [min, max] {
                let corner = transform.input_from_pixel(corner);
                batch.boxes.extend([corner.x as f32, corner.y as f32]);
            }
        }
        let clicks = draw_clicks(mask, others, kind, self.config.prompts.centre_first, rng);
        let total = kind.positives + kind.negatives;
        for click in &clicks {
            let point = transform.input_from_pixel(click.point);
            batch.points.extend([point.x as f32, point.y as f32]);
            batch.labels.push(i64::from(click.positive));
        }
        for _ in clicks.len()..total {
            batch.points.extend([0.0, 0.0]);
            batch.labels.push(-1);
        }
    }
}

/// The first of a few samples that has a structure.
fn sample_with_structures(generator: &GeneratorConfig, seed: u64, index: u64) -> Sample {
    let mut sample = generate(generator, seed, index);
    for retry in 1..TRIES {
        if !sample.targets.is_empty() {
            break;
        }
        sample = generate(generator, seed, index + retry * RETRY_STRIDE);
    }
    sample
}

/// All targets, but each that lies inside another one only with probability `nested`.
fn without_parts<'a>(targets: &'a [Target], nested: f32, rng: &mut impl Rng) -> Vec<&'a Target> {
    if nested >= 1.0 {
        return targets.iter().collect();
    }
    let pixels: Vec<Vec<usize>> = targets.iter().map(|t| some_pixels(&t.mask)).collect();
    let areas: Vec<usize> = targets.iter().map(|t| t.mask.area()).collect();
    let lies_in = |part: usize, whole: usize| {
        let data = targets[whole].mask.data();
        let inside = pixels[part].iter().filter(|&&pixel| data[pixel]).count();
        areas[part] < areas[whole] && 10 * inside >= 9 * pixels[part].len()
    };
    let is_part = |i: usize| (0..targets.len()).any(|whole| lies_in(i, whole));
    let candidates = targets.iter().enumerate().filter(|&(i, target)| {
        target.kind == TargetKind::Cell || !is_part(i) || rng.random::<f32>() < nested
    });
    candidates.map(|(_, target)| target).collect()
}

/// Up to about a hundred pixels of a mask, spread over it.
fn some_pixels(mask: &Mask) -> Vec<usize> {
    let step = (mask.area() / 64).max(1);
    let inside = mask
        .data()
        .iter()
        .enumerate()
        .filter(|(_, inside)| **inside);
    inside.map(|(pixel, _)| pixel).step_by(step).collect()
}

/// Up to `count` different targets, in random order.
fn pick<'a>(mut rest: Vec<&'a Target>, count: usize, rng: &mut impl Rng) -> Vec<&'a Target> {
    let mut picked = Vec::new();
    while picked.len() < count && !rest.is_empty() {
        picked.push(rest.swap_remove(rng.random_range(0..rest.len())));
    }
    picked
}

/// Every structure but `target`.
fn others(sample: &Sample, target: &Target) -> Mask {
    let labels = sample.label_map.data().iter();
    let data = labels
        .zip(target.mask.data())
        .map(|(&label, &inside)| label != 0 && !inside)
        .collect();
    Mask::new(target.mask.size(), data).expect("masks are as large as their label map")
}

fn draw_clicks(
    mask: &Mask,
    others: &Mask,
    kind: PromptKind,
    centre_first: f32,
    rng: &mut ChaCha8Rng,
) -> Vec<Click> {
    let centre = rng.random::<f32>() < centre_first;
    let placement = if centre {
        Positives::CentreFirst
    } else {
        Positives::Uniform
    };
    let mut clicks = positive_clicks(mask, kind.positives, placement, rng);
    if kind.negatives > 0 && !clicks.is_empty() {
        let far = rng.random::<f32>() < 0.25;
        clicks.extend(if far {
            negative_clicks(mask, kind.negatives, Negatives::Far, clicks[0].point, rng)
        } else {
            training_negatives(mask, others, kind.negatives, rng)
        });
    }
    clicks
}

/// Share of each of `m × m` cells of the input frame (side `input_side`) that `mask` covers, after the
/// resize of the longest side. Cells of the padding are 0.
pub fn coverage(mask: &Mask, input_side: usize, m: usize) -> Vec<f32> {
    let Size { height, width } = mask.size();
    let scale = input_side as f64 / height.max(width) as f64;
    let cells_per_pixel = |side: usize| {
        let resized = (side as f64 * scale + 0.5).floor();
        resized / side as f64 * m as f64 / input_side as f64
    };
    let (rows, cols) = (
        overlaps(height, cells_per_pixel(height), m),
        overlaps(width, cells_per_pixel(width), m),
    );
    let mut out = vec![0.0_f32; m * m];
    let mut line = vec![0.0_f32; m];
    for (y, pixels) in mask.data().chunks_exact(width).enumerate() {
        line.fill(0.0);
        for (x, _) in pixels.iter().enumerate().filter(|&(_, &v)| v) {
            cols[x]
                .iter()
                .for_each(|&(cell, share)| line[cell] += share);
        }
        for &(cell, share) in &rows[y] {
            out[cell * m..][..m]
                .iter_mut()
                .zip(&line)
                .for_each(|(o, l)| *o += share * l);
        }
    }
    out
}

/// For each of `pixels` pixels, the cells that it overlaps and by how much of the cell.
fn overlaps(pixels: usize, cells_per_pixel: f64, cells: usize) -> Vec<Vec<(usize, f32)>> {
    let one = |pixel: usize| {
        let (from, to) = (
            pixel as f64 * cells_per_pixel,
            (pixel + 1) as f64 * cells_per_pixel,
        );
        let range = from as usize..(to.ceil() as usize).min(cells);
        range
            .map(|cell| (cell, to.min((cell + 1) as f64) - from.max(cell as f64)))
            .filter(|&(_, share)| share > 1e-9)
            .map(|(cell, share)| (cell, share as f32))
            .collect()
    };
    (0..pixels).map(one).collect()
}

/// The batches of the steps from `first` on, part by part, prepared by `workers` threads and handed over in order.
pub struct Loader {
    queues: Vec<Receiver<Batch>>,
    next: usize,
    /// Parts that are made and not yet handed over.
    ready: Arc<AtomicUsize>,
}

impl Loader {
    /// Starts the workers. They end by themselves once the loader is dropped or `last` is reached.
    pub fn start(maker: &BatchMaker, first: u64, last: u64, workers: usize) -> Self {
        let workers = workers.max(1);
        let (own, parts) = maker.parts();
        let count = own.len() as u64;
        let ready = Arc::new(AtomicUsize::new(0));
        let queues = (0..workers as u64)
            .map(|worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (maker, ready) = (maker.clone(), Arc::clone(&ready));
                let own = own.clone();
                thread::spawn(move || {
                    for at in (first * count + worker..last * count).step_by(workers) {
                        let (step, part) = (at / count, own.start + (at % count) as usize);
                        let batch = maker.part(step, part, parts);
                        ready.fetch_add(1, Ordering::Relaxed);
                        if sender.send(batch).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        Self {
            queues,
            next: 0,
            ready,
        }
    }

    /// Parts that lie ready: at most three for each worker.
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// The next part; `None` after the last, or if a worker died.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let batch = self.queues[self.next].recv().ok()?;
        self.next = (self.next + 1) % self.queues.len();
        self.ready.fetch_sub(1, Ordering::Relaxed);
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_structure_can_be_left_out() {
        let target = |kind, rows: Range<usize>, columns: Range<usize>| {
            let inside = |i: usize| rows.contains(&(i / 40)) && columns.contains(&(i % 40));
            let data = (0..30 * 40).map(inside).collect();
            let mask = Mask::new(Size::new(30, 40), data).unwrap();
            Target { id: 1, kind, mask }
        };
        let targets = [
            target(TargetKind::Organ, 2..28, 3..30),
            target(TargetKind::Lesion, 5..15, 6..20),
            target(TargetKind::Cell, 20..25, 10..15),
            // A third of it lies outside.
            target(TargetKind::Lesion, 5..15, 21..35),
        ];
        let kept = |nested: f32, salt: &str| -> Vec<usize> {
            let candidates = without_parts(&targets, nested, &mut seeded_rng(5, &[salt]));
            let at = |kept: &&Target| targets.iter().position(|t| std::ptr::eq(t, *kept)).unwrap();
            candidates.iter().map(at).collect()
        };
        assert_eq!(kept(1.0, "a"), [0, 1, 2, 3]);
        assert_eq!(kept(0.0, "a"), [0, 2, 3]);
        let times = (0..400).filter(|i| kept(0.25, &i.to_string()).len() == 4);
        assert!((70..130).contains(&times.count()));
    }

    #[test]
    fn coverage_of_a_non_square_mask() {
        // 2 × 4 pixels into an input of side 8 and 4 × 4 cells: one pixel is one cell, two rows of padding.
        let mask = Mask::new(
            Size::new(2, 4),
            vec![false, true, true, false, false, false, true, false],
        );
        let out = coverage(&mask.expect("eight pixels"), 8, 4);
        assert_eq!(out[..8], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert!(out[8..].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn coverage_is_fractional_and_keeps_the_area() {
        let size = Size::new(96, 128);
        let data = (0..size.area())
            .map(|i| (i / 128 + i % 128) % 7 < 3)
            .collect();
        let mask = Mask::new(size, data).expect("as many pixels as the size");
        let out = coverage(&mask, 64, 16); // one cell is 8 × 8 pixels
        let total: f32 = out.iter().sum();
        assert!((total * 64.0 - mask.area() as f32).abs() < 0.05, "{total}");
        assert!(
            out[12 * 16..].iter().all(|&v| v == 0.0),
            "rows beyond the image are padding"
        );
        assert!(out.iter().any(|&v| v > 0.1 && v < 0.9));
    }
}
