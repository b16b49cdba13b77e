//! Clicks that correct the model's own answers while it trains, on the grid of its logits.

use burn::tensor::{Int, Tensor, TensorData};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use synthfm_image::{Mask, Size};
use synthfm_sam::{LABEL_PADDING, PointPrompts, PromptBatch};

use crate::config::{CorrectionConfig, CountedAnswers};
use crate::data::ObjectGroup;
use synthfm_eval::clicks::{Click, centre_correction, uniform_correction};

/// The corrections of one step; what they turn out to be depends on the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrections {
    /// Whether every answer has a loss, or the last alone.
    pub every: bool,
    rounds: Vec<Round>,
}

/// How one answer is corrected.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Round {
    show_logits: bool,
    /// Chance of a click in the middle of the error.
    centre: f32,
}

impl Corrections {
    /// Draws their number and kind, for one step.
    pub fn draw(config: CorrectionConfig, rng: &mut impl Rng) -> Self {
        let chance = |probability: f32, rng: &mut dyn Rng| rng.random::<f32>() < probability;
        let any = chance(config.probability, rng);
        let of_step = Round {
            show_logits: chance(config.show_logits, rng),
            centre: f32::from(u8::from(chance(config.centre, rng))),
        };
        let count = rng.random_range(1..=config.max_rounds);
        let every = config.loss == CountedAnswers::Every;
        let mut round = || {
            if !every {
                return of_step;
            }
            Round {
                show_logits: chance(config.show_logits, rng),
                centre: config.centre,
            }
        };
        Self {
            every,
            rounds: (0..if any { count } else { 0 }).map(|_| round()).collect(),
        }
    }

    /// A number of clicks in the middle of the error, each shown with the answer that it corrects; the last answer
    /// counts.
    pub fn central(rounds: usize) -> Self {
        let round = Round {
            show_logits: true,
            centre: 1.0,
        };
        Self {
            every: false,
            rounds: vec![round; rounds],
        }
    }

    /// Answers that are corrected before the last one.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The prompts of a group's next answer: one click more for each object, where the thresholded answer of this
    /// `round` is wrong, and the answer itself if the model is to see it. An object without anything to correct gets a
    /// padding point. The clicks lie where the group's random numbers say, which move on.
    ///
    /// # Shapes
    /// `logits` `[N, 1, m, m]` on a device without a record for gradients, `input_side` in pixels
    pub(crate) fn correct(
        &self,
        round: usize,
        prompts: PromptBatch,
        logits: Tensor<4>,
        group: &mut ObjectGroup,
        input_side: usize,
    ) -> PromptBatch {
        let [objects, _, m, _] = logits.dims();
        let device = logits.device();
        let Round {
            show_logits,
            centre,
        } = self.rounds[round];
        let answers: Vec<f32> = logits
            .clone()
            .into_data()
            .try_into_vec()
            .expect("logits are f32");
        let (mut coords, mut labels) = (Vec::new(), Vec::new());
        let targets = group.targets.chunks_exact(m * m);
        let pairs = answers.chunks_exact(m * m).zip(targets);
        for ((answer, target), rng) in pairs.zip(&mut group.rngs) {
            let centre = centre >= 1.0 || (centre > 0.0 && rng.random::<f32>() < centre);
            let (point, label) = match click(answer, target, centre, rng) {
                Some(click) => (
                    input_from_cell(click, m, input_side),
                    i64::from(click.positive),
                ),
                None => ([0.0; 2], LABEL_PADDING),
            };
            coords.extend(point);
            labels.push(label);
        }
        let coords = Tensor::from_data(TensorData::new(coords, [objects, 1, 2]), &device);
        let labels = TensorData::new(labels, [objects, 1]);
        let labels = Tensor::<2, Int>::from_data(labels, &device);
        let points = match prompts.points {
            Some(earlier) => PointPrompts {
                coords: Tensor::cat(vec![earlier.coords, coords], 1),
                labels: Tensor::cat(vec![earlier.labels, labels], 1),
            },
            None => PointPrompts { coords, labels },
        };
        PromptBatch {
            points: Some(points),
            boxes: prompts.boxes,
            masks: show_logits.then_some(logits),
        }
    }
}

/// A click in cells, from one object's answer on `m × m` of them.
fn click(answer: &[f32], target: &[f32], centre: bool, rng: &mut ChaCha8Rng) -> Option<Click> {
    let m = answer.len().isqrt();
    let mask = |data: Vec<bool>| Mask::new(Size::new(m, m), data).expect("m x m values");
    let truth = mask(target.iter().map(|&share| share > 0.5).collect());
    let prediction = mask(answer.iter().map(|&logit| logit > 0.0).collect());
    let click = if centre {
        centre_correction(&truth, &prediction, &[])
    } else {
        uniform_correction(&truth, &prediction, rng)
    };
    click.expect("both masks have m x m cells")
}

/// Centre of the clicked cell in pixels of the input, where 0 is the centre of the first pixel.
fn input_from_cell(click: Click, m: usize, input_side: usize) -> [f32; 2] {
    let pixels_per_cell = input_side as f64 / m as f64;
    [click.point.x, click.point.y].map(|cell| ((cell + 0.5) * pixels_per_cell - 0.5) as f32)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::data::PromptKind;
    use synthfm_eval::clicks::seeded_rng;

    const SIDE: usize = 32;
    const M: usize = 16;
    const PIXELS_PER_CELL: f32 = (SIDE / M) as f32;

    fn corrections(centre: bool, show_logits: bool) -> Corrections {
        let config = CorrectionConfig {
            probability: 1.0,
            max_rounds: 1,
            show_logits: f32::from(u8::from(show_logits)),
            centre: f32::from(u8::from(centre)),
            ..CorrectionConfig::default()
        };
        Corrections::draw(config, &mut seeded_rng(3, &["test"]))
    }

    fn group(targets: &[Vec<f32>], salt: &str) -> ObjectGroup {
        let rng = |object: usize| seeded_rng(3, &["object", &object.to_string(), salt]);
        ObjectGroup {
            targets: targets.concat(),
            rngs: (0..targets.len()).map(rng).collect(),
            ..ObjectGroup::empty(PromptKind::clicks(0, 0).form(false))
        }
    }

    /// 1 in the block of rows and columns, 0 elsewhere.
    fn block(rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Vec<f32> {
        let inside = |i: usize| rows.contains(&(i / M)) && cols.contains(&(i % M));
        (0..M * M).map(|i| f32::from(u8::from(inside(i)))).collect()
    }

    fn logits(answers: &[Vec<f32>]) -> Tensor<4> {
        let values: Vec<f32> = answers.concat().iter().map(|v| v * 8.0 - 4.0).collect();
        Tensor::from_data(
            TensorData::new(values, [answers.len(), 1, M, M]),
            &Device::flex(),
        )
    }

    fn points(prompts: &PromptBatch) -> (Vec<f32>, Vec<i64>) {
        let points = prompts.points.as_ref().expect("a click was added");
        let coords = points.coords.clone().into_data();
        let labels = points.labels.clone().into_data();
        (
            coords.try_into_vec().expect("f32"),
            labels.iter::<i64>().collect(),
        )
    }

    #[test]
    fn clicks_fall_where_the_answer_is_wrong() {
        // Missed: rows 2-4, columns 9-11, whose middle cell (3, 10) is input pixels 20-21, 6-7. Extra: one row of
        // cells less deep than the middle of the miss.
        let targets = [block(2..5, 9..12), block(2..5, 9..12)];
        let answers = [block(0..0, 0..0), block(1..6, 8..13)];
        let prompts = corrections(true, false).correct(
            0,
            PromptBatch::default(),
            logits(&answers),
            &mut group(&targets, ""),
            SIDE,
        );
        let (coords, labels) = points(&prompts);
        assert_eq!(coords[..2], [20.5, 6.5]);
        assert_eq!(labels, [1, 0]);
        assert!(prompts.masks.is_none() && prompts.boxes.is_none());
        for salt in 0..20 {
            let prompts = corrections(false, false).correct(
                0,
                PromptBatch::default(),
                logits(&answers),
                &mut group(&targets, &salt.to_string()),
                SIDE,
            );
            let (coords, labels) = points(&prompts);
            assert_eq!(labels, [1, 0]);
            let cell = |v: f32| ((v + 0.5) / PIXELS_PER_CELL) as usize;
            assert!((9..12).contains(&cell(coords[0])) && (2..5).contains(&cell(coords[1])));
            let (x, y) = (cell(coords[2]), cell(coords[3]));
            assert!((8..13).contains(&x) && (1..6).contains(&y));
            assert!(!((9..12).contains(&x) && (2..5).contains(&y)));
        }
    }

    #[test]
    fn earlier_prompts_stay_and_the_answer_may_be_shown() {
        let device = Device::flex();
        let before = PromptBatch {
            boxes: Some(Tensor::ones([1, 4], &device)),
            ..PromptBatch::from_points(
                Tensor::zeros([1, 2, 2], &device),
                Tensor::<2, Int>::ones([1, 2], &device),
            )
        };
        let answers = [block(2..5, 9..12)];
        let mut group = group(&answers, "");
        let corrections = corrections(true, true);
        let after = corrections.correct(0, before, logits(&answers), &mut group, SIDE);
        let (coords, labels) = points(&after);
        // Nothing to correct: the third point is padding.
        assert_eq!((coords.len(), labels), (6, vec![1, 1, LABEL_PADDING]));
        assert_eq!(after.boxes.expect("the box").dims(), [1, 4]);
        assert_eq!(after.masks.expect("the answer").dims(), [1, 1, M, M]);
    }

    #[test]
    fn probability_zero_corrects_nothing() {
        for step in 0..50 {
            let mut rng = seeded_rng(step, &[]);
            let corrections = Corrections::draw(CorrectionConfig::default(), &mut rng);
            assert_eq!(corrections.rounds(), 0);
        }
    }

    #[test]
    fn every_round_draws_for_itself() {
        let config = CorrectionConfig {
            probability: 0.75,
            max_rounds: 3,
            show_logits: 0.5,
            centre: 0.4,
            loss: CountedAnswers::Every,
        };
        let (mut counts, mut shown, mut mixed) = ([0; 4], 0, 0);
        for step in 0..2000 {
            let corrections = Corrections::draw(config, &mut seeded_rng(step, &["every"]));
            assert!(corrections.every);
            counts[corrections.rounds()] += 1;
            let shows = corrections.rounds.iter().filter(|round| round.show_logits);
            let shows = shows.count();
            shown += shows;
            mixed += usize::from(shows > 0 && shows < corrections.rounds());
            assert!(
                corrections
                    .rounds
                    .iter()
                    .all(|r| r.centre.to_bits() == 0.4_f32.to_bits())
            );
        }
        // One to four answers, each as often: 500 of 2000 with a standard deviation of 19.
        assert!(counts.iter().all(|c| (425..575).contains(c)), "{counts:?}");
        // 1500 steps with two rounds on average, half of them shown; one shown and one hidden in 1/2 of the pairs and
        // 3/4 of the triples.
        assert!((1350..1650).contains(&shown), "{shown}");
        assert!((530..720).contains(&mixed), "{mixed}");
    }
}
