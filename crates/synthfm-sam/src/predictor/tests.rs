use super::*;
use crate::testing::{Recorded, assert_close, sam_tiny};
use synthfm_image::{BoxXyxy, Size};

fn predictor(io: &Recorded) -> Predictor {
    let shape = io.shape("image");
    let bytes = io.values("image").into_iter().map(|v| v as u8).collect();
    let image = RgbImage::new(Size::new(shape[0], shape[1]), bytes).unwrap();
    let mut predictor = Predictor::new(&sam_tiny(), &Device::flex());
    predictor.set_image(&image).unwrap();
    predictor
}

#[test]
fn images_beyond_the_memory_for_answers_are_refused() {
    let bound = |bytes| Predictor::new(&sam_tiny(), &Device::flex()).with_max_memory(bytes);
    // 80 MB, and 64 MiB are always allowed.
    let image = RgbImage::zeros(Size::new(2000, 2000));
    let error = bound(9 << 20).set_image(&image).unwrap_err();
    assert!(
        matches!(
            error,
            Error::ImageMemory {
                bytes: 80_000_000,
                ..
            }
        ),
        "{error}"
    );
    bound(11 << 20).set_image(&image).unwrap();
    // More than there can be.
    let size = Size::new(1 << 30, 1 << 30);
    let predictor = Predictor::new(&sam_tiny(), &Device::flex());
    let error = predictor.check_memory(size).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}

/// The recorded prompt `name`, in pixels of the image.
fn recorded_prompt(io: &Recorded, name: &str) -> Prompts {
    let names = io.names();
    let get = |field: &str| {
        let key = format!("{name}.{field}");
        names.contains(&key).then(|| io.values(&key))
    };
    let coords = get("point_coords").unwrap_or_default();
    let labels = get("point_labels").unwrap_or_default();
    Prompts {
        points: coords
            .chunks_exact(2)
            .zip(labels)
            .map(|(xy, label)| (Point2::new(xy[0].into(), xy[1].into()), label > 0.5))
            .collect(),
        box_: get("box").map(|b| box_of(&b)),
        ..Prompts::default()
    }
}

fn box_of(corners: &[f32]) -> BoxXyxy {
    let at = |i: usize| Point2::new(corners[i].into(), corners[i + 1].into());
    BoxXyxy {
        min: at(0),
        max: at(2),
    }
}

fn assert_recorded(io: &Recorded, tag: &str, prediction: &Prediction) {
    let all = |field: fn(&PredictedMask) -> &[f32]| {
        let parts = prediction.masks.iter().map(field);
        parts.collect::<Vec<_>>().concat()
    };
    io.assert_close(&format!("{tag}.logits"), &all(|m| m.logits.data()));
    io.assert_close(&format!("{tag}.low_res"), &all(|m| &m.low_res_logits));
    let iou: Vec<f32> = prediction.masks.iter().map(|m| m.iou).collect();
    io.assert_close(&format!("{tag}.iou"), &iou);
}

const RECORDED: [&str; 5] = [
    "one_point",
    "three_positive",
    "one_positive_two_negative",
    "box",
    "box_and_points",
];

#[test]
fn image_to_masks_matches_meta() {
    let io = Recorded::open();
    let predictor = predictor(&io);
    for name in RECORDED {
        let prompts = recorded_prompt(&io, name);
        let single = predictor.predict(&prompts, MaskOutput::Single).unwrap();
        assert_eq!(single.masks.len(), 1);
        assert_recorded(&io, &format!("{name}.single"), &single);
        let multi = predictor.predict(&prompts, MaskOutput::Multi).unwrap();
        assert_eq!(multi.masks.len(), 3);
        assert_recorded(&io, &format!("{name}.multi"), &multi);
    }
}

#[test]
fn a_mask_prompt_matches_meta() {
    let io = Recorded::open();
    let prompts = Prompts {
        mask_input: Some(io.values("point_and_mask.mask_input")),
        ..recorded_prompt(&io, "one_point")
    };
    let got = predictor(&io)
        .predict(&prompts, MaskOutput::Single)
        .unwrap();
    assert_recorded(&io, "point_and_mask.single", &got);
}

#[test]
fn two_boxes_match_meta() {
    let io = Recorded::open();
    let corners = io.values("two_boxes.boxes");
    let prompts: Vec<Prompts> = corners
        .chunks_exact(4)
        .map(|b| Prompts {
            box_: Some(box_of(b)),
            ..Prompts::default()
        })
        .collect();
    let got = predictor(&io)
        .predict_many(&prompts, MaskOutput::Multi)
        .unwrap();
    let together = Prediction {
        masks: got.into_iter().flat_map(|p| p.masks).collect(),
    };
    assert_recorded(&io, "two_boxes.multi", &together);
}

#[test]
fn many_prompts_of_different_kinds_equal_one_by_one() {
    let io = Recorded::open();
    let predictor = predictor(&io);
    let prompts: Vec<Prompts> = RECORDED
        .iter()
        .cycle()
        .take(MAX_OBJECTS_PER_CALL * 2)
        .map(|name| recorded_prompt(&io, name))
        .collect();
    let together = predictor
        .predict_many(&prompts, MaskOutput::Single)
        .unwrap();
    assert_eq!(together.len(), prompts.len());
    for (prompt, got) in prompts.iter().zip(&together).take(RECORDED.len()) {
        let alone = predictor.predict(prompt, MaskOutput::Single).unwrap();
        let (got, alone) = (&got.masks[0], &alone.masks[0]);
        assert_close("object", got.logits.data(), alone.logits.data());
    }
}

/// Every kind of prompt on the 75 x 100 image, three times and mixed.
fn mixed_prompts(side: usize) -> Vec<Prompts> {
    let mask = |i: usize| {
        let value = |at: usize| ((at % side + i) as f32 / 5.0).sin() * 6.0;
        (0..side * side).map(value).collect()
    };
    let kind = |i: usize| {
        let x = 10.0 + 3.0 * i as f64;
        let points = [(Point2::new(x, 20.0), true), (Point2::new(x, 60.5), false)];
        let with_box = i % 2 == 1;
        Prompts {
            points: points[..[1, 0, 2, 1, 0, 2][i % 6]].to_vec(),
            box_: with_box.then(|| box_of(&[5.0, 6.0 + i as f32, 70.0, 66.0])),
            mask_input: (i % 3 == 1).then(|| mask(i)),
            earlier: None,
        }
    };
    (0..18).map(kind).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / b.iter().fold(1.0, |m: f32, v| m.max(v.abs()))
}

#[test]
fn each_of_many_equals_one_by_one() {
    let image = RgbImage::new(
        Size::new(75, 100),
        (0..3 * 7500).map(|i| (i % 241) as u8).collect(),
    );
    let image = image.unwrap();
    let config = crate::SamConfig {
        alternatives: true,
        ..crate::testing::small_config()
    };
    let small = crate::testing::sam_small().with_config(config);
    let tiny = sam_tiny();
    for sam in [&tiny, &small] {
        let mut predictor = Predictor::new(sam, &Device::flex());
        predictor.set_image(&image).unwrap();
        let prompts = mixed_prompts(sam.config().low_res_side());
        for output in [MaskOutput::Single, MaskOutput::Multi] {
            let mut seen = vec![0; prompts.len()];
            let check = |i: usize, got: Result<Prediction>| {
                seen[i] += 1;
                let (got, alone) = (got.unwrap(), predictor.predict(&prompts[i], output));
                let alone = alone.unwrap();
                assert_eq!(got.masks.len(), alone.masks.len());
                for (a, b) in got.masks.iter().zip(&alone.masks) {
                    let logits = largest_difference(a.logits.data(), b.logits.data());
                    let low = largest_difference(&a.low_res_logits, &b.low_res_logits);
                    assert!(logits.max(low).max((a.iou - b.iou).abs()) < 1e-5, "{i}");
                }
                ControlFlow::Continue(())
            };
            predictor.predict_each(&prompts, output, check).unwrap();
            assert_eq!(seen, [1; 18]);
        }
    }
}

/// For either encoder and every kind of prompt, within what single precision in another order of sums and a
/// driver's `exp` make.
#[cfg(feature = "gpu")]
#[test]
fn gpus_give_the_cpus_masks() {
    use crate::testing::{gpus, sam_small_on, sam_tiny_on};
    let pixels = (0..3 * 7500).map(|i| (i * i % 241) as u8).collect();
    let image = RgbImage::new(Size::new(75, 100), pixels).unwrap();
    let answers = |sam: &Sam, device: &Device, output| {
        let mut predictor = Predictor::new(sam, device);
        predictor.set_image(&image).unwrap();
        let prompts = mixed_prompts(sam.config().low_res_side());
        predictor.decode(&prompts, output).unwrap()
    };
    for device in gpus() {
        for model in [sam_tiny_on, sam_small_on] {
            for output in [MaskOutput::Single, MaskOutput::Multi] {
                let [got, expected] = [&device, &Device::flex()]
                    .map(|device| answers(&model(device), device, output));
                let masks = got.iter().flatten().zip(expected.iter().flatten());
                for (got, expected) in masks {
                    assert_close("logits", &got.logits, &expected.logits);
                    assert!((got.iou - expected.iou).abs() < 1e-4);
                }
            }
        }
    }
}

#[test]
fn bad_prompts_do_not_stop_the_others_but_the_caller_can() {
    let io = Recorded::open();
    let predictor = predictor(&io);
    let good = recorded_prompt(&io, "box");
    let prompts = [good.clone(), Prompts::default(), good.clone(), good];
    let mut seen = Vec::new();
    let note = |i, answer: Result<Prediction>| {
        seen.push((i, answer.is_ok()));
        ControlFlow::Continue(())
    };
    predictor
        .predict_each(&prompts, MaskOutput::Single, note)
        .unwrap();
    assert_eq!(seen, [(1, false), (0, true), (2, true), (3, true)]);
    let mut count = 0;
    let stop = |_, _| {
        count += 1;
        ControlFlow::Break(())
    };
    predictor
        .predict_each(&prompts, MaskOutput::Single, stop)
        .unwrap();
    assert_eq!(count, 1);
    let error = predictor.predict_many(&prompts, MaskOutput::Single);
    assert!(matches!(error, Err(Error::EmptyPrompt)));
}

#[test]
fn masks_are_positive_logits() {
    let logits = Image::new(Size::new(1, 3), vec![-0.1, 0.0, 0.1]).unwrap();
    let mask = PredictedMask {
        logits,
        iou: 0.5,
        low_res_logits: Vec::new(),
    };
    assert_eq!(mask.mask().data(), [false, false, true]);
}

#[test]
fn only_our_own_models_masks_are_tidied() {
    // A ring of 24 pixels around one, and a stray pixel.
    let inside = |row: usize, col: usize| match (row, col) {
        (2, 2) => false,
        (5, 6) => true,
        _ => row < 5 && col < 5,
    };
    let logits = (0..42).map(|i| if inside(i / 7, i % 7) { 1.0 } else { -1.0 });
    let answer = PredictedMask {
        logits: Image::new(Size::new(6, 7), logits.collect()).unwrap(),
        iou: 0.5,
        low_res_logits: Vec::new(),
    };
    let prompts = |negative: bool| Prompts {
        points: vec![
            (Point2::new(1.0, 1.0), true),
            (Point2::new(if negative { 2.0 } else { 6.0 }, 2.0), false),
        ],
        ..Prompts::default()
    };
    let meta = Predictor::new(&sam_tiny(), &Device::flex());
    assert_eq!(meta.mask(&answer, &prompts(false)), answer.mask());
    let ours = Predictor::new(&crate::testing::sam_small(), &Device::flex());
    let area = |negative| ours.mask(&answer, &prompts(negative)).area();
    assert_eq!(
        [answer.mask().area(), area(false), area(true)],
        [25, 25, 24]
    );
    assert!(!ours.mask(&answer, &prompts(false)).at(5, 6));
}

#[test]
fn bad_prompts_are_refused_by_name() {
    let io = Recorded::open();
    let predictor = predictor(&io);
    let message = |prompts: &Prompts| {
        let error = predictor.predict(prompts, MaskOutput::Single).unwrap_err();
        error.to_string()
    };
    assert!(message(&Prompts::default()).contains("empty"));
    // 75 rows, 100 columns: x = 99 is inside, y = 99 is not.
    for (x, y) in [(10.0, 99.0), (100.0, 10.0), (-1.0, 10.0), (f64::NAN, 3.0)] {
        let text = message(&Prompts {
            points: vec![(Point2::new(99.0, 74.0), true), (Point2::new(x, y), false)],
            ..Prompts::default()
        });
        assert!(text.contains(&format!("point ({x}, {y})")), "{text}");
        assert!(text.contains("75x100"), "{text}");
    }
    for corners in [
        [50.0, 10.0, 40.0, 20.0],
        [200.0, 10.0, 220.0, 20.0],
        [0.0, f32::NAN, 4.0, 5.0],
        [-1e30, 0.0, 4.0, 5.0],
    ] {
        let text = message(&Prompts {
            box_: Some(box_of(&corners)),
            ..Prompts::default()
        });
        assert!(text.starts_with("box ("), "{text}");
    }
    let text = message(&Prompts {
        mask_input: Some(vec![0.0; 5]),
        ..Prompts::default()
    });
    assert!(text.contains("32 x 32"), "{text}");
    let fresh = Predictor::new(&sam_tiny(), &Device::flex());
    let click = recorded_prompt(&io, "one_point");
    let error = fresh.predict(&click, MaskOutput::Single).unwrap_err();
    assert!(matches!(error, Error::NoImage));
}
