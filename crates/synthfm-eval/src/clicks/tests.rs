//! Where simulated prompts may lie, on hand-made and random masks.

use proptest::prelude::*;
use synthfm_image::{BoxXyxy, Mask, Size};

use super::*;

fn mask_from(lines: &[&str]) -> Mask {
    let size = Size::new(lines.len(), lines[0].len());
    Mask::new(size, lines.concat().bytes().map(|b| b == b'#').collect()).unwrap()
}

fn disc(size: Size, centre: Point2, radius: f64) -> Mask {
    let inside = |i| {
        let p = point_at(i, size);
        (p.x - centre.x).powi(2) + (p.y - centre.y).powi(2) <= radius * radius
    };
    Mask::new(size, (0..size.area()).map(inside).collect()).unwrap()
}

fn xy(clicks: &[Click]) -> Vec<(f64, f64)> {
    clicks.iter().map(|c| (c.point.x, c.point.y)).collect()
}

/// Brute force: distance from `point` to the nearest pixel of `mask`.
fn distance_by_hand(mask: &Mask, point: Point2) -> f64 {
    let squared = |i| {
        let p = point_at(i, mask.size());
        (p.x - point.x).powi(2) + (p.y - point.y).powi(2)
    };
    let pixels = pixels_where(mask, true);
    pixels
        .into_iter()
        .map(squared)
        .fold(f64::INFINITY, f64::min)
        .sqrt()
}

fn holds(mask: &Mask, click: &Click) -> bool {
    let (row, col) = click.point.row_col(mask.size()).unwrap();
    mask.at(row, col)
}

#[test]
fn first_click_is_at_the_centroid_or_the_deepest_pixel() {
    let l_shape = mask_from(&["###....", "###....", "###....", "......."]);
    assert_eq!(centre_pixel(&l_shape), Some(Point2::new(1.0, 1.0)));
    let u_shape = mask_from(&[
        "##.....####",
        "##.....####",
        "##.....####",
        "##.....####",
        "##.....####",
        "###########",
    ]);
    let centroid = u_shape.centroid().unwrap().row_col(u_shape.size()).unwrap();
    assert!(!u_shape.at(centroid.0, centroid.1));
    // Depths with the border as background reach 2 in the thick arm: columns 8 and 9, rows 1 to 4.
    assert_eq!(centre_pixel(&u_shape), Some(Point2::new(8.0, 1.0)));
    assert_eq!(centre_pixel(&Mask::zeros(Size::new(3, 5))), None);
}

#[test]
fn far_negatives_are_those_found_by_hand() {
    let mask = mask_from(&[".......", ".##....", ".##....", "......."]);
    let centre = centre_pixel(&mask).unwrap();
    assert_eq!(centre, Point2::new(2.0, 2.0));
    let mut rng = seeded_rng(0, &[]);
    let clicks = negative_clicks(&mask, 3, Negatives::Far, centre, &mut rng);
    // Squared distances: (6,0) to (2,2) 20; (5,3) to (2,2) 10 and to (6,0) 10; (0,0) to (2,2) 8.
    assert_eq!(xy(&clicks), [(6.0, 0.0), (5.0, 3.0), (0.0, 0.0)]);
    assert!(clicks.iter().all(|c| !c.positive));
}

#[test]
fn no_more_clicks_than_pixels() {
    let mask = mask_from(&["##.", "###"]);
    let mut rng = seeded_rng(0, &[]);
    let centre = centre_pixel(&mask).unwrap();
    for placement in [
        Negatives::Far,
        Negatives::Ring,
        Negatives::Border,
        Negatives::Uniform,
    ] {
        let clicks = negative_clicks(&mask, 9, placement, centre, &mut rng);
        assert_eq!(xy(&clicks), [(2.0, 0.0)], "{placement:?}");
    }
    let mut inside = xy(&positive_clicks(&mask, 9, Positives::CentreFirst, &mut rng));
    inside.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(
        inside,
        [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (2.0, 1.0)]
    );
    let full = mask_from(&["##", "##"]);
    assert!(negative_clicks(&full, 2, Negatives::Ring, centre, &mut rng).is_empty());
    assert!(positive_clicks(&full, 0, Positives::CentreFirst, &mut rng).is_empty());
}

#[test]
fn ring_lies_in_its_band_and_all_around() {
    let mask = disc(Size::new(100, 140), Point2::new(70.0, 48.0), 20.0);
    let radius = (mask.area() as f64 / std::f64::consts::PI).sqrt();
    let mut rng = seeded_rng(3, &["ring"]);
    let clicks = negative_clicks(&mask, 200, Negatives::Ring, Point2::new(0.0, 0.0), &mut rng);
    assert_eq!(clicks.len(), 200);
    for click in &clicks {
        let d = distance_by_hand(&mask, click.point) / radius;
        assert!((RING_INNER..=RING_OUTER).contains(&d), "{d}");
    }
    let quadrant = |c: &Click| usize::from(c.point.x > 70.0) * 2 + usize::from(c.point.y > 48.0);
    for q in 0..4 {
        let n = clicks.iter().filter(|c| quadrant(c) == q).count();
        assert!((25..=75).contains(&n), "{n} of 200 clicks in quadrant {q}");
    }
}

#[test]
fn border_lies_in_its_narrow_band() {
    let mask = disc(Size::new(90, 140), Point2::new(70.0, 44.0), 20.0);
    // Area 1257: a tenth of its root is 3.5, so 4 pixels.
    assert_eq!(mask.area(), 1257);
    let mut rng = seeded_rng(3, &["border"]);
    let first = Point2::new(0.0, 0.0);
    let clicks = negative_clicks(&mask, 200, Negatives::Border, first, &mut rng);
    assert_eq!(clicks.len(), 200);
    let distances: Vec<f64> = clicks
        .iter()
        .map(|c| distance_by_hand(&mask, c.point))
        .collect();
    assert!(distances.iter().all(|d| (1.0..=4.0).contains(d)));
    assert!(distances.iter().any(|&d| d > 3.0) && distances.iter().any(|&d| d < 1.5));
}

#[test]
fn ring_outside_the_image_gives_way_to_the_nearest_background() {
    // Equivalent radius 7.8: the ring starts 1.17 px away, but the only background column is 1 px away.
    let size = Size::new(10, 20);
    let mask = Mask::new(size, (0..200).map(|i| i % 20 != 19).collect()).unwrap();
    let mut rng = seeded_rng(0, &[]);
    let clicks = negative_clicks(&mask, 2, Negatives::Ring, Point2::new(0.0, 0.0), &mut rng);
    assert_eq!(xy(&clicks), [(19.0, 0.0), (19.0, 1.0)]);
}

#[test]
fn training_negatives_follow_ritms_shares() {
    let size = Size::new(120, 200);
    let mask = disc(size, Point2::new(60.0, 60.0), 25.0);
    let others = disc(size, Point2::new(150.0, 60.0), 30.0);
    let mut rng = seeded_rng(1, &[]);
    let clicks = training_negatives(&mask, &others, 1000, &mut rng);
    assert!(clicks.iter().all(|c| !c.positive && !holds(&mask, c)));
    let on_others = clicks.iter().filter(|c| holds(&others, c)).count();
    // 40 % and a seventh of the uniform 10 %; the ring ends before the other object.
    assert!((370..=460).contains(&on_others), "{on_others}");
    let near = |c: &&Click| distance_by_hand(&mask, c.point) < 13.0;
    let in_ring = clicks.iter().filter(near).count();
    assert!((450..=560).contains(&in_ring), "{in_ring}");
    let alone = training_negatives(&mask, &Mask::zeros(size), 100, &mut rng);
    assert_eq!(alone.len(), 100);
}

#[test]
fn jittered_boxes_scatter_as_told() {
    let size = Size::new(400, 600);
    let mut mask = Mask::zeros(size);
    for row in 100..200 {
        for col in 300..350 {
            mask.data_mut()[size.index(row, col)] = true;
        }
    }
    let mut rng = seeded_rng(5, &[]);
    let none = BoxJitter {
        relative_sd: 0.0,
        ..BoxJitter::default()
    };
    assert_eq!(jittered_box(&mask, none, &mut rng), mask.bounding_box());
    let boxes: Vec<BoxXyxy> = (0..2000)
        .filter_map(|_| jittered_box(&mask, BoxJitter::default(), &mut rng))
        .collect();
    let sd = |f: fn(&BoxXyxy) -> f64, centre: f64| {
        let sum: f64 = boxes.iter().map(|b| (f(b) - centre).powi(2)).sum();
        (sum / boxes.len() as f64).sqrt()
    };
    assert!((sd(|b| b.min.x, 300.0) - 5.0).abs() < 0.4); // a tenth of 50
    assert!((sd(|b| b.max.y, 199.0) - 9.2).abs() < 0.8); // a tenth of 100, cut at 20
    assert!(boxes.iter().all(|b| (b.min.y - 100.0).abs() <= 20.0));
    assert_eq!(jittered_box(&Mask::zeros(size), none, &mut rng), None);
}

#[test]
fn centre_correction_takes_the_deeper_error() {
    let truth = mask_from(&[
        "#####....", //
        "#####....",
        "#####....",
        "#####....",
        "#####....",
    ]);
    let nothing = Mask::zeros(truth.size());
    let first = centre_correction(&truth, &nothing, &[]).unwrap().unwrap();
    assert_eq!(first, Click::positive(Point2::new(2.0, 2.0)));
    // The clicked pixel is taken; the next deepest in raster order has depth 2.
    let second = centre_correction(&truth, &nothing, &[first])
        .unwrap()
        .unwrap();
    assert_eq!(second, Click::positive(Point2::new(1.0, 1.0)));
    // Missed: columns 0 and 1 (depth 1); added: columns 5 to 8 (depth 2).
    let shifted = mask_from(&[
        "..#######", //
        "..#######",
        "..#######",
        "..#######",
        "..#######",
    ]);
    let negative = centre_correction(&truth, &shifted, &[]).unwrap().unwrap();
    assert_eq!(negative, Click::negative(Point2::new(6.0, 1.0)));
    assert_eq!(centre_correction(&truth, &truth, &[]).unwrap(), None);
    assert!(centre_correction(&truth, &Mask::zeros(Size::new(9, 5)), &[]).is_err());
}

#[test]
fn equal_depths_give_a_negative_click() {
    let truth = mask_from(&["#..", "..."]);
    let prediction = mask_from(&["..#", "..."]);
    let click = centre_correction(&truth, &prediction, &[]).unwrap();
    assert_eq!(click, Some(Click::negative(Point2::new(2.0, 0.0))));
}

#[test]
fn uniform_correction_reaches_every_error_and_only_errors() {
    let truth = mask_from(&["##..", "##.."]);
    let prediction = mask_from(&[".##.", ".##."]);
    let mut rng = seeded_rng(2, &[]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let click = uniform_correction(&truth, &prediction, &mut rng)
            .unwrap()
            .unwrap();
        assert_eq!(click.positive, click.point.x < 1.0);
        seen.insert((click.point.x as i64, click.point.y as i64));
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [(0, 0), (0, 1), (2, 0), (2, 1)]
    );
    let perfect = uniform_correction(&truth, &truth, &mut rng)
        .unwrap()
        .unwrap();
    assert!(!perfect.positive && !holds(&truth, &perfect));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn clicks_lie_on_their_side_and_repeat(
        height in 1usize..24,
        width in 1usize..24,
        pixels in prop::collection::vec(any::<bool>(), 24 * 24),
        seed in any::<u64>(),
        count in 0usize..6,
    ) {
        let size = Size::new(height, width);
        let mask = Mask::new(size, pixels[..size.area()].to_vec()).unwrap();
        let clicks = |seed| {
            let mut rng = seeded_rng(seed, &["set", "case"]);
            let mut clicks = positive_clicks(&mask, count, Positives::CentreFirst, &mut rng);
            clicks.extend(positive_clicks(&mask, count, Positives::Uniform, &mut rng));
            let centre = centre_pixel(&mask).unwrap_or(Point2::new(0.0, 0.0));
            for placement in [
        Negatives::Far,
        Negatives::Ring,
        Negatives::Border,
        Negatives::Uniform,
    ] {
                let negatives = negative_clicks(&mask, count, placement, centre, &mut rng);
                prop_assert_eq!(negatives.len(), count.min(size.area() - mask.area()));
                clicks.extend(negatives);
            }
            prop_assert_eq!(
                clicks.iter().filter(|c| c.positive).count(),
                2 * count.min(mask.area())
            );
            for click in &clicks {
                prop_assert_eq!(holds(&mask, click), click.positive);
            }
            Ok(clicks)
        };
        prop_assert_eq!(clicks(seed)?, clicks(seed)?);
    }
}
