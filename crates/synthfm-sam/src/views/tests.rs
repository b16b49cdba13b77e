use std::ops::{ControlFlow, Range};

use burn::tensor::Device;
use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage, Size};

use super::{Answer, Views};
use crate::error::Error;
use crate::mask_decoder::MaskOutput;
use crate::predictor::{Predictor, Prompts};
use crate::testing::{sam_small, sam_tiny, small_config};
use crate::{Sam, SamConfig};

/// A picture with something in it.
fn picture(size: Size) -> RgbImage {
    let value = |i: usize| ((i * i) % 251) as u8;
    RgbImage::new(size, (0..3 * size.area()).map(value).collect()).unwrap()
}

fn predictor(sam: &Sam, size: Size, views: &str) -> Predictor {
    let predictor = Predictor::new(sam, &Device::flex());
    let mut predictor = predictor.with_views(views.parse().unwrap());
    predictor.set_image(&picture(size)).unwrap();
    predictor
}

fn click(x: f64, y: f64, on_object: bool) -> Prompts {
    Prompts {
        points: vec![(Point2::new(x, y), on_object)],
        ..Prompts::default()
    }
}

fn around(x0: f64, y0: f64, x1: f64, y1: f64) -> Prompts {
    Prompts {
        box_: Some(BoxXyxy {
            min: Point2::new(x0, y0),
            max: Point2::new(x1, y1),
        }),
        ..Prompts::default()
    }
}

fn answer(predictor: &Predictor, prompts: &Prompts) -> Answer {
    predictor.answer(prompts, MaskOutput::Single).unwrap()
}

fn assert_honoured(mask: &Mask, prompts: &Prompts) {
    for &(point, on_object) in &prompts.points {
        let (row, col) = point.row_col(mask.size()).unwrap();
        assert_eq!(mask.at(row, col), on_object, "{point:?}");
    }
}

fn square(size: Size, rows: Range<usize>, cols: Range<usize>) -> Mask {
    let inside = |i: usize| rows.contains(&(i / size.width)) && cols.contains(&(i % size.width));
    Mask::new(size, (0..size.area()).map(inside).collect()).unwrap()
}

/// The finest crop answers.
const EAGER: &str =
    "auto,margin_one_click=-99,margin_more=-99,margin_next=-99,largest_share=1,fullest_share=1";

#[test]
fn sams_models_answer_as_metas_code_does() {
    let size = Size::new(75, 100);
    let predictor = predictor(&sam_tiny(), size, EAGER);
    for prompts in [click(40.0, 30.0, true), around(10.0, 12.0, 50.0, 60.0)] {
        for output in [MaskOutput::Single, MaskOutput::Multi] {
            let expected = predictor.predict(&prompts, output).unwrap();
            let best = expected.best().unwrap();
            let got = predictor.answer(&prompts, output).unwrap();
            assert_eq!(
                (got.mask, got.iou, got.window),
                (best.mask(), best.iou, None)
            );
            assert_eq!(got.low_res_logits, best.low_res_logits);
        }
    }
}

#[test]
fn an_answer_does_not_depend_on_what_was_asked_before() {
    let size = Size::new(150, 210);
    let sam = sam_small();
    let prompts = [
        click(200.0, 4.0, true),
        around(30.0, 40.0, 44.0, 50.0),
        Prompts {
            points: vec![
                (Point2::new(60.0, 70.0), true),
                (Point2::new(80.0, 70.0), false),
            ],
            ..Prompts::default()
        },
    ];
    let shared = predictor(&sam, size, EAGER);
    let mut crops = 0;
    for prompts in prompts.iter().chain(&prompts) {
        let got = answer(&shared, prompts);
        assert_eq!(got, answer(&predictor(&sam, size, EAGER), prompts));
        assert_honoured(&got.mask, prompts);
        crops += usize::from(got.window.is_some());
        let earlier = Prompts {
            earlier: Some(square(size, 60..80, 70..90)),
            points: vec![
                (Point2::new(100.0, 100.0), true),
                (Point2::new(60.0, 70.0), false),
            ],
            ..Prompts::default()
        };
        let corrected = answer(&shared, &earlier);
        assert_eq!(corrected, answer(&predictor(&sam, size, EAGER), &earlier));
        assert_honoured(&corrected.mask, &earlier);
        assert!(corrected.window.is_some());
    }
    assert_eq!(crops, 6, "crops answer");
}

#[test]
fn many_answers_equal_one_by_one() {
    let predictor = predictor(&sam_small(), Size::new(90, 64), EAGER);
    let prompts: Vec<Prompts> = (0..5)
        .map(|i| click(9.0 * f64::from(i), 80.0, true))
        .collect();
    let mut seen = 0;
    let check = |i: usize, got: Result<Answer, Error>| {
        seen += 1;
        assert_eq!(got.unwrap().mask, answer(&predictor, &prompts[i]).mask);
        ControlFlow::Continue(())
    };
    predictor
        .answer_each(&prompts, MaskOutput::Single, check)
        .unwrap();
    assert_eq!(seen, 5);
}

#[test]
fn odd_images_and_prompts_are_answered() {
    let sam = sam_small();
    for size in [(1, 300), (300, 1), (1, 1), (7, 5), (33, 31)] {
        let size = Size::new(size.0, size.1);
        let predictor = predictor(&sam, size, EAGER);
        let (x, y) = (size.width as f64 - 1.0, size.height as f64 - 1.0);
        let mask = Mask::zeros(size);
        for prompts in [
            click(0.0, 0.0, true),
            click(x, y, true),
            click(x, y, false),
            around(x, y, x, y),
            around(-0.4 * x, -0.4 * y, 1.4 * x, 1.4 * y),
            Prompts {
                points: vec![
                    (Point2::new(0.0, 0.0), true),
                    (Point2::new(x, y), size.area() == 1),
                ],
                ..around(0.0, 0.0, x, y)
            },
            Prompts {
                earlier: Some(mask.clone()),
                ..click(x, y, true)
            },
            Prompts {
                earlier: Some(mask),
                ..Prompts::default()
            },
        ] {
            let got = answer(&predictor, &prompts);
            assert_eq!(got.mask.size(), size);
            assert_honoured(&got.mask, &prompts);
        }
    }
}

#[test]
fn a_correction_keeps_the_rest() {
    let size = Size::new(120, 160);
    let predictor = predictor(&sam_small(), size, "auto,correct_reach=2");
    let earlier = square(size, 20..60, 30..70);
    // Three pixels beside the mask: nothing further than six from the click may change.
    let at = Point2::new(73.0, 40.0);
    let prompts = Prompts {
        points: vec![(Point2::new(50.0, 40.0), true), (at, true)],
        earlier: Some(earlier.clone()),
        ..Prompts::default()
    };
    let got = answer(&predictor, &prompts);
    assert_honoured(&got.mask, &prompts);
    for (i, (is, was)) in got.mask.data().iter().zip(earlier.data()).enumerate() {
        let (y, x) = ((i / 160) as f64, (i % 160) as f64);
        assert!(is == was || (y - at.y).hypot(x - at.x) <= 8.0, "({x}, {y})");
        assert!(!was || *is, "a positive click takes nothing away");
    }
}

#[test]
fn without_the_pixels_the_whole_image_answers() {
    let size = Size::new(150, 210);
    let sam = sam_small();
    let eager = predictor(&sam, size, EAGER);
    let whole = predictor(&sam, size, "whole");
    let mut bare = eager.clone();
    bare.set_encoded_image(eager.image().unwrap().clone().bare());
    let prompts = around(30.0, 40.0, 44.0, 50.0);
    assert_eq!(answer(&bare, &prompts), answer(&whole, &prompts));
}

#[test]
fn the_embeddings_of_crops_are_counted_and_bounded() {
    let predictor = predictor(&sam_small(), Size::new(150, 210), EAGER);
    let image = predictor.image().unwrap();
    let one = image.clone().bare().bytes();
    for i in 0..12 {
        answer(&predictor, &click(10.0 + 11.0 * f64::from(i), 60.0, true));
    }
    let pixels = 3 * 150 * 210;
    // The whole image's embedding and nine views', each with at most twice as much computed from it.
    assert!(image.bytes() > 9 * one + pixels && image.bytes() <= 10 * 3 * one + pixels);
}

/// The pixels of a raster in reverse: turned by half a turn.
fn reversed<T: Copy>(data: &[T]) -> Vec<T> {
    data.iter().rev().copied().collect()
}

#[test]
fn a_turned_image_gets_the_turned_answer() {
    // A side of 64 pixels is the model's own: prompts and cells have exact places both ways.
    let size = Size::new(48, 64);
    let image = picture(size);
    let pixels: &[[u8; 3]] = image.data().as_chunks().0;
    let turned = RgbImage::new(size, reversed(pixels).concat()).unwrap();
    let sam = sam_small();
    let ask = |image: &RgbImage, prompts: &Prompts, views: &str| {
        let predictor = Predictor::new(&sam, &Device::flex());
        let mut predictor = predictor.with_views(views.parse().unwrap());
        predictor.set_image(image).unwrap();
        answer(&predictor, prompts)
    };
    let (both, one) = (
        "auto,halvings=0,box_factor=0",
        "auto,halvings=0,box_factor=0,turned=0",
    );
    for (prompts, opposite) in [
        (click(20.0, 10.0, true), click(43.0, 37.0, true)),
        (
            around(10.0, 5.0, 30.0, 25.0),
            around(33.0, 22.0, 53.0, 42.0),
        ),
    ] {
        let (got, there) = (ask(&image, &prompts, both), ask(&turned, &opposite, both));
        assert!((got.iou - there.iou).abs() < 1e-4, "{prompts:?}");
        let back = reversed(there.mask.data());
        let other = got.mask.data().iter().zip(&back).filter(|(a, b)| a != b);
        assert!(other.count() <= size.area() / 200, "{prompts:?}");
        let once = ask(&image, &prompts, one);
        assert_ne!(once.iou.to_bits(), got.iou.to_bits(), "{prompts:?}");
        // With a mask prompt there is one look.
        let rough = Prompts {
            earlier: Some(square(size, 8..30, 12..40)),
            ..prompts
        };
        assert_eq!(ask(&image, &rough, both), ask(&image, &rough, one));
    }
}

#[test]
fn alternatives_that_nobody_trained_are_refused() {
    let size = Size::new(40, 40);
    let prompts = click(20.0, 20.0, true);
    let untrained = predictor(&sam_small(), size, "auto");
    for refused in [
        untrained.answer(&prompts, MaskOutput::Multi).unwrap_err(),
        untrained.predict(&prompts, MaskOutput::Multi).unwrap_err(),
    ] {
        assert!(matches!(refused, Error::NoAlternatives));
    }
    let trained = SamConfig {
        alternatives: true,
        ..small_config()
    };
    let trained = predictor(&sam_small().with_config(trained), size, "auto");
    let found = trained.predict(&prompts, MaskOutput::Multi).unwrap();
    assert_eq!(found.masks.len(), 3);
}

#[test]
fn an_earlier_mask_of_another_size_is_refused() {
    let predictor = predictor(&sam_small(), Size::new(40, 50), "auto");
    let prompts = Prompts {
        earlier: Some(Mask::zeros(Size::new(50, 40))),
        ..click(20.0, 20.0, true)
    };
    let error = predictor.answer(&prompts, MaskOutput::Single).unwrap_err();
    assert!(error.to_string().contains("50x40"), "{error}");
}

#[test]
fn views_of_a_predictor_are_those_asked_for() {
    let predictor = Predictor::new(&sam_small(), &Device::flex());
    assert_eq!(predictor.views(), Views::default());
    assert_eq!(predictor.with_views(Views::Whole).views(), Views::Whole);
}
