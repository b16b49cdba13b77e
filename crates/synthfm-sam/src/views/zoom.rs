//! Which view answers: the whole image, a crop around the prompts, or one around an earlier mask.

use synthfm_image::{BoxXyxy, Image, Mask, Point2, RgbImage, Size};

use super::correct::wrong_clicks;
use super::policy::{Views, ZoomPolicy};
use super::window::Window;
use super::{SURE_LOGIT, sure_logits};
use crate::error::Result;
use crate::predictor::{EncodedImage, LowResMask, PredictedMask, Predictor, Prompts, View};
use crate::preprocess::InputTransform;

/// A crop's side is at least this many times the longer side of the box around the positive clicks.
const ROOM: f64 = 2.0;
/// Sides of crops around earlier masks are rounded up to a power of two with this exponent's step, and their centres to
/// this part of the side: small changes of a mask then keep the crop, and its embedding.
const SIDE_STEP: f64 = 0.5;
const CENTRE_STEP: f64 = 8.0;
/// A crop whose side is above this share of the image's longer side shows too little more than the whole image.
const NEARLY_WHOLE: f64 = 0.75;
/// Logits beyond this on either side are certain enough not to move a stable border.
const STABLE: f32 = 1.0;

/// What the model says in one view.
pub(super) struct Look {
    /// On the image's grid.
    pub(super) mask: Mask,
    pub(super) iou: f32,
    /// The crop; `None` for the whole image.
    pub(super) window: Option<Window>,
    /// Logits `[m, m]` of the view.
    low_res_logits: Vec<f32>,
    /// From the view to the model's input.
    transform: InputTransform,
    score: f64,
    /// Share of the view that the mask covers, 0 to 1.
    share: f64,
}

/// What all views of one question share.
struct Question<'a> {
    image: &'a EncodedImage,
    picture: &'a RgbImage,
    prompts: &'a Prompts,
    policy: ZoomPolicy,
    /// The mask prompt as logits on the image's grid.
    prior: Option<Image>,
}

impl Question<'_> {
    /// Whether views are looked at a second time, turned. A mask prompt says enough about the structure for one look.
    fn is_asked_twice(&self) -> bool {
        self.policy.turned != 0 && self.prior.is_none()
    }
}

impl Predictor {
    /// The view that answers, from what the model said about the whole image.
    pub(super) fn look_closely(
        &self,
        image: &EncodedImage,
        prompts: &Prompts,
        whole: PredictedMask,
    ) -> Result<Look> {
        let (Views::Zoom(policy), Some(picture)) = (self.views(), image.picture()) else {
            return Ok(self.whole_look(image, prompts, &whole));
        };
        let m = self.sam().config().low_res_side();
        let given = || prompts.mask_input.as_deref();
        let prior = match &prompts.earlier {
            Some(mask) => Some(sure_logits(mask)),
            None => given().map(|logits| image.transform.postprocess(logits, m)),
        };
        let question = Question {
            image,
            picture,
            prompts,
            policy,
            prior,
        };
        if let Some(earlier) = &prompts.earlier {
            let wrong = wrong_clicks(earlier, &prompts.points);
            if !wrong.is_empty() {
                let first = self.whole_look(image, prompts, &whole);
                return self.correct(&question, earlier, &wrong, first);
            }
        }
        let first = self.whole_look(image, prompts, &self.whole_twice(&question, whole)?);
        let found = self.descend(&question, first)?;
        self.refine(&question, found)
    }

    /// The answer about the whole image with that about the image turned.
    fn whole_twice(&self, question: &Question<'_>, whole: PredictedMask) -> Result<PredictedMask> {
        let Question { image, prompts, .. } = *question;
        if !question.is_asked_twice() {
            return Ok(whole);
        }
        let window = Window::whole(image.transform.original());
        // The map on the image's grid goes before another one comes.
        let PredictedMask {
            low_res_logits,
            iou,
            ..
        } = whole;
        let upright = LowResMask {
            logits: low_res_logits,
            iou,
        };
        let encode = || self.encode_as(question.picture, true);
        let LowResMask { logits, iou } =
            self.both_ways(question, window, prompts, upright, encode)?;
        let m = self.sam().config().low_res_side();
        Ok(PredictedMask {
            logits: image.transform.postprocess(&logits, m),
            iou,
            low_res_logits: logits,
        })
    }

    /// The mean of what the model says in a view, `upright`, and in the view turned by half a turn, which `encode` encodes
    /// where it is not kept.
    fn both_ways(
        &self,
        question: &Question<'_>,
        window: Window,
        prompts: &Prompts,
        upright: LowResMask,
        encode: impl FnOnce() -> Result<EncodedImage>,
    ) -> Result<LowResMask> {
        if !question.is_asked_twice() {
            return Ok(upright);
        }
        let view = View {
            window,
            turned: true,
        };
        let image = question.image.view(view, encode)?;
        let (m, transform) = (self.sam().config().low_res_side(), image.transform);
        let turned = self.decode_one(&image, &turned(prompts, &transform))?;
        let back = transform.turned_cells(&turned.logits, m);
        let both = upright.logits.iter().zip(back);
        Ok(LowResMask {
            logits: both.map(|(a, b)| f32::midpoint(*a, b)).collect(),
            iou: f32::midpoint(upright.iou, turned.iou),
        })
    }

    /// Crops around the prompts, as [`ZoomPolicy`] says.
    fn descend(&self, question: &Question<'_>, whole: Look) -> Result<Look> {
        let (policy, size) = (question.policy, question.image.transform.original());
        let share = whole.mask.area() as f64 / size.area() as f64;
        let alone = one_click(question.prompts);
        let (margin, patience) = if alone {
            (policy.margin_one_click, policy.patience_one_click)
        } else {
            (policy.margin_more, policy.patience_more)
        };
        // No score is above that of an estimate of 1.
        if share > policy.largest_share || whole.score + margin >= 0.0 {
            return Ok(whole);
        }
        let (mut found, mut failed) = (whole, 0);
        for window in windows(question.prompts, &found.mask, policy, size) {
            if failed >= patience {
                break;
            }
            let margin = if found.window.is_none() {
                margin
            } else {
                policy.margin_next
            };
            match self.look_at(question, window, question.prior.as_ref())? {
                Some(look)
                    if look.score > found.score + margin && look.share <= policy.fullest_share =>
                {
                    (found, failed) = (look, 0);
                }
                _ => failed += 1,
            }
        }
        Ok(found)
    }

    /// A crop around the answer so far, which it gets as a mask prompt.
    fn refine(&self, question: &Question<'_>, found: Look) -> Result<Look> {
        let (policy, transform) = (question.policy, &question.image.transform);
        if policy.refine_factor <= 0.0 {
            return Ok(found);
        }
        let Some(around) = found
            .mask
            .bounding_box()
            .map(|b| joined(b, anchor(question.prompts, &found.mask)))
        else {
            return Ok(found);
        };
        let size = transform.original();
        if in_input(longer_side(around), transform) >= policy.refine_below_px {
            return Ok(found);
        }
        let Some(window) = fitted(around, policy.refine_factor, policy, size) else {
            return Ok(found);
        };
        let prior = found.on_image(size, self.sam().config().low_res_side());
        let look = self.look_at(question, window, Some(&prior))?;
        let better = look.filter(|look| look.score > found.score + policy.margin_refine);
        Ok(better.unwrap_or(found))
    }

    /// The model's answer to clicks that correct `earlier`, in a crop around both.
    fn correct(
        &self,
        question: &Question<'_>,
        earlier: &Mask,
        wrong: &[(Point2, bool)],
        whole: Look,
    ) -> Result<Look> {
        let (policy, size) = (question.policy, question.image.transform.original());
        let of_clicks = wrong.iter().map(|&(p, _)| BoxXyxy { min: p, max: p });
        let around = earlier.bounding_box().into_iter().chain(of_clicks);
        let Some(around) = around.reduce(|a, b| joined(a, Some(b))) else {
            return Ok(whole);
        };
        if policy.correct_factor <= 0.0 {
            return Ok(whole);
        }
        let Some(window) = fitted(around, policy.correct_factor, policy, size) else {
            return Ok(whole);
        };
        let look = self.look_at(question, window, question.prior.as_ref())?;
        Ok(look.unwrap_or(whole))
    }

    /// The answer in a crop; `None` where the prompts do not fit into it.
    fn look_at(
        &self,
        question: &Question<'_>,
        window: Window,
        prior: Option<&Image>,
    ) -> Result<Option<Look>> {
        let Some(mut local) = window.prompts(question.prompts) else {
            return Ok(None);
        };
        let m = self.sam().config().low_res_side();
        let view = View {
            window,
            turned: false,
        };
        let crop = question.image.view(view, || {
            self.encode_or_recall(&window.cut(question.picture))
        })?;
        let cells = |prior: &Image| window.cells(prior, &crop.transform, m, -SURE_LOGIT);
        local.mask_input = prior.map(cells);
        if local.points.is_empty() && local.box_.is_none() && local.mask_input.is_none() {
            return Ok(None);
        }
        let upright = self.decode_one(&crop, &local)?;
        let LowResMask { logits, iou } =
            self.both_ways(question, window, &local, upright, || {
                self.encode_as(&window.cut(question.picture), true)
            })?;
        let score = score(&logits, iou, m, &crop.transform, question.policy);
        let answer = PredictedMask {
            logits: crop.transform.postprocess(&logits, m),
            iou,
            low_res_logits: logits,
        };
        let mut mask = Mask::zeros(question.image.transform.original());
        let part = self.own_mask(&answer, &local, &crop.transform);
        let share = part.area() as f64 / window.size.area() as f64;
        window.paste_mask(&part, &mut mask);
        Ok(Some(Look {
            mask,
            share,
            iou,
            window: Some(window),
            low_res_logits: answer.low_res_logits,
            transform: crop.transform,
            score,
        }))
    }

    /// The whole image's answer as a look.
    fn whole_look(&self, image: &EncodedImage, prompts: &Prompts, whole: &PredictedMask) -> Look {
        let m = self.sam().config().low_res_side();
        let policy = self.views().policy();
        let mask = self.own_mask(whole, prompts, &image.transform);
        Look {
            share: mask.area() as f64 / mask.size().area() as f64,
            mask,
            iou: whole.iou,
            window: None,
            low_res_logits: whole.low_res_logits.clone(),
            transform: image.transform,
            score: score(
                &whole.low_res_logits,
                whole.iou,
                m,
                &image.transform,
                policy,
            ),
        }
    }
}

impl Look {
    /// Its logits, `[m, m]`, on the image's grid, background outside the crop.
    fn on_image(&self, size: Size, m: usize) -> Image {
        let of_view = self.transform.postprocess(&self.low_res_logits, m);
        let Some(window) = self.window else {
            return of_view;
        };
        let mut logits = Image::zeros(size);
        logits.data_mut().fill(-SURE_LOGIT);
        window.paste(&of_view, &mut logits);
        logits
    }
}

/// Clicks and box of a view for the view turned by half a turn.
fn turned(prompts: &Prompts, transform: &InputTransform) -> Prompts {
    let Size { height, width } = transform.original();
    let (width, height) = (width as f64, height as f64);
    let inside = |p: Point2| Point2::new(p.x.clamp(0.0, width - 1.0), p.y.clamp(0.0, height - 1.0));
    let near = |p: Point2| {
        let (x, y) = (
            p.x.clamp(-width, 2.0 * width),
            p.y.clamp(-height, 2.0 * height),
        );
        Point2::new(x, y)
    };
    let points = prompts.points.iter();
    Prompts {
        points: points
            .map(|&(point, on_object)| (inside(transform.turned_point(point)), on_object))
            .collect(),
        box_: prompts.box_.map(|BoxXyxy { min, max }| BoxXyxy {
            min: near(transform.turned_point(max)),
            max: near(transform.turned_point(min)),
        }),
        mask_input: None,
        earlier: None,
    }
}

/// Whether the prompts are a single click, which may mean a part as well as the whole.
fn one_click(prompts: &Prompts) -> bool {
    prompts.points.len() == 1
        && prompts.box_.is_none()
        && prompts.mask_input.is_none()
        && prompts.earlier.is_none()
}

/// The crops to try, the coarsest first.
fn windows(prompts: &Prompts, answer: &Mask, policy: ZoomPolicy, size: Size) -> Vec<Window> {
    let Some(anchor) = anchor(prompts, answer) else {
        return Vec::new();
    };
    if prompts.box_.is_some() {
        let factor = policy.box_factor;
        let window = (factor > 0.0).then(|| fitted(anchor, factor, policy, size));
        return window.flatten().into_iter().collect();
    }
    let longer = size.height.max(size.width);
    let least = (policy.least_side_px as f64).max(ROOM * longer_side(anchor));
    let halvings = 1..=policy.halvings.min(usize::BITS as usize - 1);
    let sides = halvings.map(|halving| longer >> halving);
    let sides = sides.take_while(|&side| side > 0 && side as f64 >= least);
    sides
        .map(|side| Window::square(centre(anchor), side, size))
        .collect()
}

/// The box around the positive clicks and the box prompt; around the answer where there are none.
fn anchor(prompts: &Prompts, answer: &Mask) -> Option<BoxXyxy> {
    let clicks = prompts.points.iter().filter(|(_, on_object)| *on_object);
    let clicks = clicks.map(|&(p, _)| BoxXyxy { min: p, max: p });
    let given = prompts.box_.into_iter().chain(clicks);
    let given = given.reduce(|a, b| joined(a, Some(b)));
    given.or_else(|| answer.bounding_box())
}

/// The box around two boxes.
fn joined(a: BoxXyxy, b: Option<BoxXyxy>) -> BoxXyxy {
    let Some(b) = b else { return a };
    BoxXyxy {
        min: Point2::new(a.min.x.min(b.min.x), a.min.y.min(b.min.y)),
        max: Point2::new(a.max.x.max(b.max.x), a.max.y.max(b.max.y)),
    }
}

fn centre(b: BoxXyxy) -> Point2 {
    Point2::new(
        f64::midpoint(b.min.x, b.max.x),
        f64::midpoint(b.min.y, b.max.y),
    )
}

/// In pixels, both ends included.
fn longer_side(b: BoxXyxy) -> f64 {
    (b.max.x - b.min.x).max(b.max.y - b.min.y) + 1.0
}

/// A length of the image in pixels of the model's input.
fn in_input(length: f64, transform: &InputTransform) -> f64 {
    let Size { height, width } = transform.original();
    length * transform.side() as f64 / height.max(width) as f64
}

/// The crop of `factor` times the box, on a coarse grid of sides and centres; `None` where it is nearly the whole image.
fn fitted(around: BoxXyxy, factor: f64, policy: ZoomPolicy, size: Size) -> Option<Window> {
    let wanted = (factor * longer_side(around))
        .max(policy.least_side_px as f64)
        .max(1.0);
    let side = ((wanted.log2() / SIDE_STEP).ceil() * SIDE_STEP)
        .exp2()
        .round();
    if side > NEARLY_WHOLE * size.height.max(size.width) as f64 {
        return None;
    }
    let step = side / CENTRE_STEP;
    let middle = centre(around);
    let on_grid = |v: f64| (v / step).round() * step;
    let middle = Point2::new(on_grid(middle.x), on_grid(middle.y));
    Some(Window::square(middle, side as usize, size))
}

/// How good the model takes its answer to be: see [`ZoomPolicy`].
fn score(
    logits: &[f32],
    iou: f32,
    m: usize,
    transform: &InputTransform,
    policy: ZoomPolicy,
) -> f64 {
    const LEAST: f64 = 0.01;
    let shown = transform.shown_cells(m);
    let rows = logits.chunks_exact(m).take(shown.height);
    let shown = rows.flat_map(|row| &row[..shown.width]);
    let (mut inner, mut outer) = (0_usize, 0_usize);
    for &logit in shown {
        inner += usize::from(logit > STABLE);
        outer += usize::from(logit > -STABLE);
    }
    let stability = inner as f64 / outer.max(1) as f64;
    let ln = |value: f64| {
        if value.is_nan() {
            LEAST.ln()
        } else {
            value.max(LEAST).ln()
        }
    };
    ln(f64::from(iou).min(1.0)) + policy.stability_weight * ln(stability)
}
