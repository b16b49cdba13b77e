//! Run-length encoding against pycocotools 2.0.11; `fixtures/make_rle_fixtures.py` recorded it.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use serde_json::{Value, json};
use synthfm_image::{Mask, Size, compressed_rle};

fn ellipse(case: &Value) -> Mask {
    let numbers = |key: &str| -> Vec<i64> {
        let values = case[key].as_array().unwrap().iter();
        values.map(|v| v.as_i64().unwrap()).collect()
    };
    let (size, ellipse) = (numbers("size"), numbers("ellipse"));
    let size = Size::new(size[0] as usize, size[1] as usize);
    let every = case["every"].as_i64().unwrap();
    let inside = |at: usize| {
        let (r, c) = ((at / size.width) as i64, (at % size.width) as i64);
        let (dr, dc, a, b) = (r - ellipse[0], c - ellipse[1], ellipse[2], ellipse[3]);
        let inside = if a == 0 {
            dr == 0 && dc == 0
        } else {
            (dr * b).pow(2) + (dc * a).pow(2) <= (a * b).pow(2)
        };
        inside && (every == 0 || (r + c) % every != 0)
    };
    Mask::new(size, (0..size.area()).map(inside).collect()).unwrap()
}

#[test]
fn equal_to_pycocotools() {
    let cases: Value = serde_json::from_str(include_str!("fixtures/rle.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let mask = ellipse(case);
        assert_eq!(case["counts"], compressed_rle(&mask), "{}", case["size"]);
        assert_eq!(case["area"], mask.area());
        let region = mask.bounding_box().unwrap();
        let (min, max) = (region.min, region.max);
        let bbox = json!([min.x, min.y, max.x - min.x + 1.0, max.y - min.y + 1.0]);
        assert_eq!(case["bbox"], bbox);
    }
}
