//! Training batches: synthetic samples with simulated prompts, in the model's input frame.
//!
//! A batch is a function of (config, step) alone. Worker threads prepare it ahead of the trainer, in the parts that the
//! configuration splits it into, and hand them over in order, so their number never changes a run.

mod group;
mod kinds;
mod loader;
mod targets;
mod views;

use std::ops::Range;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use synthfm_image::RgbImage;
use synthfm_sam::{InputTransform, SamConfig};
use synthfm_synth::{GeneratorConfig, Sample, Target, generate};

use crate::config::{CorrectionConfig, TrainConfig};
use crate::corrections::Corrections;
use crate::validation::HELD_OUT;
use group::Shown;
use synthfm_eval::clicks::seeded_rng;
use targets::{pick, without_parts};
use views::{Frame, Viewer};

pub use group::ObjectGroup;
pub(crate) use kinds::PromptKind;
pub use loader::Loader;

/// Smallest side of a generated sample.
const MIN_SIDE: usize = 128;
/// Samples tried for one place in a batch until one has a structure.
const TRIES: u64 = 8;
/// Samples tried for each place in a batch of [`BatchMaker::full_batch`].
const FULL_TRIES: u64 = 100;
/// Distance between the indices of those samples: no run reaches the next one.
const RETRY_STRIDE: u64 = 1 << 40;

/// `B` images with `N` prompted objects on them, as plain row-major arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised, padded images: `[B, 3, S, S]`.
    pub images: Vec<f32>,
    /// The objects, those together whose prompts can be decoded together.
    pub groups: Vec<ObjectGroup>,
    /// How the prompts go on from the model's answers.
    pub corrections: Corrections,
    /// The images before their preparation, where embeddings may be kept: `[B]`; otherwise empty.
    pub pictures: Vec<RgbImage>,
}

impl Batch {
    fn empty(corrections: Corrections) -> Self {
        Self {
            images: Vec::new(),
            groups: Vec::new(),
            corrections,
            pictures: Vec::new(),
        }
    }

    /// Number of objects `N`.
    pub fn objects(&self) -> usize {
        self.groups.iter().map(ObjectGroup::len).sum()
    }

    /// The group of a form, made where there is none.
    fn group(&mut self, form: kinds::Form) -> &mut ObjectGroup {
        let at = self.groups.iter().position(|group| group.form == form);
        let at = at.unwrap_or_else(|| {
            self.groups.push(ObjectGroup::empty(form));
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }
}

/// A view of a sample in a batch.
#[derive(Debug, Clone, Copy)]
struct Visit {
    index: u64,
    /// Number of the view among those of its sample.
    view: u64,
    /// How often it was shown before.
    earlier: u64,
    keep_picture: bool,
}

/// The sample that was rendered last, with its index and whether it is one for single clicks: the next image may show it
/// too.
type Rendered = Option<((u64, bool), Sample)>;

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

    /// Batches for the process `rank` of `size` that share each of them.
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
        let (mut batch, kind) = self.empty_batch(step);
        let images = part * size / parts..(part + 1) * size / parts;
        let mut rendered = None;
        for (place, image) in images.enumerate() {
            let visit = self.visit(step * size as u64 + image as u64);
            let kind = if self.config.prompts.per_image {
                self.kind_of(visit)
            } else {
                kind
            };
            self.push_image(&mut batch, place, visit, kind, &mut rendered);
        }
        batch
    }

    /// The first `batch_size` samples from index `first` on that each have `objects_per_image` objects, as one batch
    /// with one kind of prompt: for measurements, in which every batch has to cost the same. `None` where 100 samples
    /// for each place hold too few.
    pub fn full_batch(&self, first: u64) -> Option<Batch> {
        let size = self.config.batch_size;
        let (mut batch, kind) = self.empty_batch(first);
        let (mut place, mut rendered) = (0, None);
        for index in first..first + FULL_TRIES * size as u64 {
            let visit = Visit {
                index,
                view: 0,
                earlier: 0,
                keep_picture: false,
            };
            let (mut alone, _) = self.empty_batch(first);
            self.push_image(&mut alone, 0, visit, kind, &mut rendered);
            if alone.objects() == self.config.objects_per_image {
                self.push_image(&mut batch, place, visit, kind, &mut rendered);
                place += 1;
            }
            if place == size {
                return Some(batch);
            }
        }
        None
    }

    /// The batch of a step before any image, and the kind of prompt that its objects get.
    fn empty_batch(&self, step: u64) -> (Batch, PromptKind) {
        let (seed, name) = (self.config.seed, step.to_string());
        let prompts = &self.config.prompts;
        let kind = PromptKind::draw(prompts, &mut seeded_rng(seed, &["step", &name]));
        let mut rng = seeded_rng(seed, &["corrections", &name]);
        let corrections = Corrections::draw(prompts.corrections, &mut rng);
        (Batch::empty(corrections), kind)
    }

    /// What the `image`th image of a run shows.
    fn visit(&self, image: u64) -> Visit {
        let reuse = &self.config.reuse;
        let (image, earlier) = reuse.visit(image, self.config.images_per_epoch);
        let views = self.config.views.views_per_scene();
        Visit {
            index: self.config.first_index + image / views,
            view: image % views,
            earlier,
            keep_picture: reuse.is_on(),
        }
    }

    /// The kind of prompts of an image that has one of its own.
    fn kind_of(&self, visit: Visit) -> PromptKind {
        let path = [visit.index, visit.view, visit.earlier].map(|number| number.to_string());
        let [index, view, visit] = &path;
        let mut rng = seeded_rng(self.config.seed, &["kind", index, view, visit]);
        PromptKind::draw(&self.config.prompts, &mut rng)
    }

    /// One of the held-out samples with prompts of one kind, and no corrections.
    pub(crate) fn held_out(&self, image: u64, kind: PromptKind) -> Batch {
        let mut rng = seeded_rng(self.config.seed, &["held out"]);
        let mut batch = Batch::empty(Corrections::draw(CorrectionConfig::default(), &mut rng));
        let visit = Visit {
            index: HELD_OUT + image,
            view: 0,
            earlier: 0,
            keep_picture: false,
        };
        self.push_image(&mut batch, 0, visit, kind, &mut None);
        batch
    }

    /// The sizes of the model.
    pub(crate) fn model(&self) -> &SamConfig {
        &self.model
    }

    fn push_image(
        &self,
        batch: &mut Batch,
        image: usize,
        visit: Visit,
        kind: PromptKind,
        rendered: &mut Rendered,
    ) {
        let seed = self.config.seed;
        let path = [visit.index, visit.view, visit.earlier].map(|number| number.to_string());
        let [index, view, visits] = path.each_ref().map(String::as_str);
        let mut rng = seeded_rng(seed, &["sample", index]);
        let single_click = match &self.config.single_click_generator {
            Some(generator) if kind == PromptKind::clicks(1, 0) => Some(generator),
            _ => None,
        };
        let generator = single_click.unwrap_or(&self.config.generator);
        let generator = self.sample_config(generator, &mut rng);
        let of = (visit.index, single_click.is_some());
        if rendered.as_ref().is_none_or(|(last, _)| *last != of) {
            let sample = sample_with_structures(&generator, seed, visit.index);
            *rendered = Some((of, sample));
        }
        let (_, sample) = rendered.as_ref().expect("it was just rendered");
        if visit.view > 0 {
            rng = seeded_rng(seed, &["sample", index, "view", view]);
        }
        let (frame, picked) = if self.config.views.is_on() && single_click.is_none() {
            // The same view at each visit, of other structures.
            let mut view_rng = seeded_rng(seed, &["view", index, view]);
            self.reseed(visit, &mut rng);
            self.pick_in_view(sample, kind, &mut view_rng, &mut rng)
        } else {
            self.reseed(visit, &mut rng);
            let nested = self.config.nested_targets;
            let candidates = without_parts(&sample.targets, nested, &mut rng);
            let picked = pick(candidates, self.config.objects_per_image, &mut rng);
            (Frame::whole(sample.image.size()), picked)
        };
        let transform = self.push_picture(batch, sample, &frame, visit.keep_picture);
        for (object, target) in picked.into_iter().enumerate() {
            let object = object.to_string();
            let mut path = vec!["corrections of", index, visits, &object];
            if visit.view > 0 {
                path.extend(["view", view]);
            }
            let mask = frame.structure(&target.mask);
            let shown = Shown {
                image,
                others: &frame.others(&sample.label_map, &mask),
                mask: &mask,
                transform: &transform,
                cells: self.model.low_res_side(),
            };
            let group = batch.group(kind.form(self.config.prompts.per_image));
            let corrections = seeded_rng(seed, &path);
            group.push(&shown, kind, &self.config.prompts, &mut rng, corrections);
        }
    }

    /// Other random numbers at each visit of a view.
    fn reseed(&self, visit: Visit, rng: &mut ChaCha8Rng) {
        if visit.earlier > 0 {
            let path = [visit.index, visit.earlier, visit.view].map(|number| number.to_string());
            let [index, visits, view] = path.each_ref().map(String::as_str);
            let mut path = vec!["sample", index, "visit", visits];
            if visit.view > 0 {
                path.extend(["view", view]);
            }
            *rng = seeded_rng(self.config.seed, &path);
        }
    }

    /// A view of a sample, which `view_rng` draws, and the structures that are asked about, which `rng` draws.
    fn pick_in_view<'a>(
        &self,
        sample: &'a Sample,
        kind: PromptKind,
        view_rng: &mut ChaCha8Rng,
        rng: &mut ChaCha8Rng,
    ) -> (Frame, Vec<&'a Target>) {
        let viewer = Viewer {
            config: self.config.views,
            min_aspect: self.config.min_aspect,
            side: self.model.image_size,
            cells: self.model.low_res_side(),
        };
        let candidates = without_parts(&sample.targets, self.config.nested_targets, view_rng);
        let whole = self
            .config
            .views
            .whole_for(kind == PromptKind::clicks(1, 0));
        let view = viewer.draw(sample.image.size(), &candidates, whole, view_rng);
        let frame = view.frame;
        (frame, view.pick(self.config.objects_per_image, rng))
    }

    /// Adds what the frame shows of a sample.
    fn push_picture(
        &self,
        batch: &mut Batch,
        sample: &Sample,
        frame: &Frame,
        keep: bool,
    ) -> InputTransform {
        let picture = frame.image(&sample.image).to_rgb8(0.0, 1.0);
        let transform =
            InputTransform::new(picture.size(), &self.model).expect("frames are not empty");
        let input = transform.preprocess(&picture, &self.model);
        batch.images.extend(input);
        if keep {
            batch.pictures.push(picture);
        }
        transform
    }

    /// A generator's configuration with one side shortened.
    fn sample_config(&self, generator: &GeneratorConfig, rng: &mut impl Rng) -> GeneratorConfig {
        let mut config = generator.clone();
        let ratio = self.config.min_aspect + (1.0 - self.config.min_aspect) * rng.random::<f32>();
        let side = if rng.random::<bool>() {
            &mut config.size.height
        } else {
            &mut config.size.width
        };
        *side = ((*side as f32 * ratio).round() as usize).max(MIN_SIDE);
        config
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

#[cfg(test)]
mod tests {
    use synthfm_synth::LooksConfig;

    use super::*;

    /// Images of single clicks show whole scenes, and others windows, where the configuration says so.
    #[test]
    fn single_clicks_have_views_of_their_own() {
        let mut config =
            TrainConfig::from_toml(include_str!("../../../../configs/tiny.toml")).unwrap();
        config.views.whole = 0.0;
        config.views.whole_one_click = Some(1.0);
        let maker = BatchMaker::new(config.clone(), config.model.resolve());
        let frame = |kind, index| {
            let sample = sample_with_structures(&config.generator, config.seed, index);
            let mut rng = seeded_rng(config.seed, &["test"]);
            let (frame, _) = maker.pick_in_view(&sample, kind, &mut rng.clone(), &mut rng);
            frame == Frame::whole(sample.image.size())
        };
        for index in 0..5 {
            assert!(frame(PromptKind::clicks(1, 0), index));
        }
        let windows = (0..5).filter(|&index| !frame(PromptKind::bounding_box(), index));
        assert!(windows.count() >= 3);
    }

    /// Single clicks are asked on whole images of their own generator, and other prompts on windows of the usual scenes.
    #[test]
    fn single_clicks_have_a_generator_of_their_own() {
        let mut config =
            TrainConfig::from_toml(include_str!("../../../../configs/tiny.toml")).unwrap();
        config.views.whole = 0.0;
        let plain = BatchMaker::new(config.clone(), config.model.resolve());
        let mut generator = config.generator.clone();
        generator.looks = LooksConfig {
            free: 0.0,
            ct: 0.0,
            mr: 0.0,
            ultrasound: 1.0,
            xray: 0.0,
            microscopy: 0.0,
        };
        config.single_click_generator = Some(generator.clone());
        let maker = BatchMaker::new(config.clone(), config.model.resolve());
        let alone = BatchMaker::new(
            TrainConfig {
                generator,
                views: crate::ViewConfig::default(),
                ..config
            },
            plain.model.clone(),
        );
        let image = |maker: &BatchMaker, kind, rendered: &mut Rendered| {
            let visit = maker.visit(3);
            let (mut batch, _) = maker.empty_batch(0);
            maker.push_image(&mut batch, 0, visit, kind, rendered);
            batch
        };
        let (click, bounding_box) = (PromptKind::clicks(1, 0), PromptKind::bounding_box());
        // One place for the scene rendered last, as in a batch: the next image must not take another generator's.
        let mut rendered = None;
        let boxed = image(&maker, bounding_box, &mut rendered);
        let clicked = image(&maker, click, &mut rendered);
        assert_eq!(boxed, image(&maker, bounding_box, &mut rendered));
        assert_eq!(boxed, image(&plain, bounding_box, &mut None));
        assert_eq!(clicked, image(&alone, click, &mut None));
        assert_ne!(clicked.images, image(&plain, click, &mut None).images);
    }

    #[test]
    fn every_image_of_a_full_batch_has_all_its_objects() {
        let config = TrainConfig {
            batch_size: 3,
            objects_per_image: 2,
            ..TrainConfig::from_toml(include_str!("../../../../configs/tiny.toml")).unwrap()
        };
        let model = config.model.resolve();
        let maker = BatchMaker::new(config.clone(), model.clone());
        let batch = maker.full_batch(7).unwrap();
        let [group] = &batch.groups[..] else {
            panic!("one kind of prompt is one group");
        };
        assert_eq!(group.image_of_object, [0, 0, 1, 1, 2, 2]);
        assert_eq!(group.targets.len(), 6 * model.low_res_side().pow(2));
        assert_eq!(batch.images.len(), 3 * 3 * model.image_size.pow(2));
        assert_eq!(Some(batch), maker.full_batch(7));
        let crowded = TrainConfig {
            batch_size: 1,
            objects_per_image: 10_000,
            ..config
        };
        assert_eq!(BatchMaker::new(crowded, model).full_batch(7), None);
    }
}
