//! Objects of a batch whose prompts have the same form.

use rand_chacha::ChaCha8Rng;
use synthfm_image::{BoxXyxy, Mask, Point2};
use synthfm_sam::{InputTransform, LABEL_PADDING};

use super::kinds::{Form, MaskPrompt, PromptKind};
use crate::config::PromptConfig;
use synthfm_eval::clicks::{Click, jittered_box, neighbour_mask, rough_mask};

/// `N` prompted objects for one call of the decoder, as plain row-major arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectGroup {
    /// For each object, the image it is on: `[N]`.
    pub image_of_object: Vec<usize>,
    /// Clicks (x, y) in the input frame: `[N, P, 2]`; empty without clicks.
    pub points: Vec<f32>,
    /// 1, 0, or -1 for padding: `[N, P]`.
    pub labels: Vec<i64>,
    /// Boxes in the input frame: `[N, 4]`; empty without boxes.
    pub boxes: Vec<f32>,
    /// Mask prompts as logits: `[N, m, m]`; empty without mask prompts.
    pub masks: Vec<f32>,
    /// Share of each logit cell that the structure covers: `[N, m, m]`.
    pub targets: Vec<f32>,
    /// Longer side of each structure's box in pixels of the input: `[N]`.
    pub sides: Vec<f32>,
    /// One for each object, so that its corrections do not depend on the others.
    pub(crate) rngs: Vec<ChaCha8Rng>,
    pub(crate) form: Form,
}

/// A structure as an image of the batch shows it.
pub(super) struct Shown<'a> {
    /// The image's place in the batch.
    pub(super) image: usize,
    pub(super) mask: &'a Mask,
    /// Every other structure.
    pub(super) others: &'a Mask,
    pub(super) transform: &'a InputTransform,
    /// Cells along a side of the logits' grid.
    pub(super) cells: usize,
}

impl ObjectGroup {
    /// A group without objects so far.
    pub(crate) fn empty(form: Form) -> Self {
        Self {
            image_of_object: Vec::new(),
            points: Vec::new(),
            labels: Vec::new(),
            boxes: Vec::new(),
            masks: Vec::new(),
            targets: Vec::new(),
            sides: Vec::new(),
            rngs: Vec::new(),
            form,
        }
    }

    /// Number of objects `N`.
    pub fn len(&self) -> usize {
        self.image_of_object.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each object has one click and nothing else.
    pub fn is_single_click(&self) -> bool {
        let Form {
            points,
            with_box,
            with_mask,
        } = self.form;
        points == 1 && !with_box && !with_mask
    }

    /// Adds an object with prompts of a kind, drawn by `rng`; its corrections will be drawn by `corrections`.
    pub(super) fn push(
        &mut self,
        shown: &Shown<'_>,
        kind: PromptKind,
        config: &PromptConfig,
        rng: &mut ChaCha8Rng,
        corrections: ChaCha8Rng,
    ) {
        let &Shown {
            image,
            mask,
            others,
            transform,
            cells,
        } = shown;
        if kind.with_box {
            let BoxXyxy { min, max } =
                jittered_box(mask, config.jitter, rng).expect("targets are not empty");
            for corner in [min, max] {
                let corner = transform.input_from_pixel(corner);
                self.boxes.extend([corner.x as f32, corner.y as f32]);
            }
        }
        let clicks = kind.draw_clicks(mask, others, config.centre_first, rng);
        self.push_clicks(&clicks, transform);
        let target = transform.coverage(mask, cells);
        if let Some(prompt) = kind.mask {
            let cells_per_pixel = cells as f64 / transform.side() as f64;
            let cell = |pixel: f64| (pixel + 0.5) * cells_per_pixel - 0.5;
            let first = clicks.first().filter(|click| click.positive);
            let first = first.map(|click| {
                let point = transform.input_from_pixel(click.point);
                [cell(point.x), cell(point.y)]
            });
            let others = transform.coverage(others, cells);
            self.masks.extend(match prompt {
                MaskPrompt::Rough => rough_mask(&target, &others, cells, first, rng),
                MaskPrompt::Neighbour => neighbour_mask(&target, &others, cells, first, rng),
            });
        }
        self.targets.extend(target);
        self.sides.push(side_in_input(mask, transform));
        self.image_of_object.push(image);
        self.rngs.push(corrections);
    }

    /// An object's clicks, filled up to the group's number of points.
    fn push_clicks(&mut self, clicks: &[Click], transform: &InputTransform) {
        for click in clicks {
            let point = transform.input_from_pixel(click.point);
            self.points.extend([point.x as f32, point.y as f32]);
            self.labels.push(i64::from(click.positive));
        }
        for _ in clicks.len()..self.form.points {
            self.points.extend([0.0, 0.0]);
            self.labels.push(LABEL_PADDING);
        }
    }
}

/// Longer side of a mask's box in pixels of the input; 0 for an empty mask.
fn side_in_input(mask: &Mask, transform: &InputTransform) -> f32 {
    let Some(BoxXyxy { min, max }) = mask.bounding_box() else {
        return 0.0;
    };
    let last = Point2::new(max.x - min.x + 1.0, max.y - min.y + 1.0);
    let Point2 { x, y } = transform.input_from_pixel(last);
    x.max(y) as f32
}
