use serde_json::json;

use super::*;

#[test]
fn objects_that_take_minutes_to_draw_are_refused() {
    let size = Size::new(1000, 2000);
    let square = json!([0, 0, 1999, 0, 1999, 999, 0, 999]);
    let one = work_of(&json!([square]), size);
    // The image, and ten times what lies inside and the border without its last edge.
    assert!((24_000_000..24_500_000).contains(&one), "{one}");
    let many = work_of(&json!(vec![square; 60_000]), size);
    assert!(many > MOST_WORK, "{many}");
    assert_eq!(work_of(&Value::Null, size), 4_000_000);
    assert_eq!(work_of(&json!([[1, "x"], 3]), size), 4_000_000 + 20);
}

/// `tools/make_coco_fixtures.py` recorded what `pycocotools` makes of polygons and run lengths.
#[test]
fn shapes_equal_pycocotools() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/coco.json")).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let side = |axis: usize| case["size"][axis].as_u64().unwrap() as usize;
        let size = Size::new(side(0), side(1));
        let (mask, left_out) = mask_of(&case["segmentation"], size).unwrap();
        assert!(left_out.is_empty());
        let got: String = mask
            .data()
            .iter()
            .map(|&v| if v { '1' } else { '0' })
            .collect();
        assert_eq!(got, case["mask"].as_str().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn small_objects_stay_visible_and_damage_is_named() {
    let text = r#"{"images": [{"id": 7, "file_name": "a.png", "width": 6, "height": 4}],
        "categories": [{"id": 9, "name": "b"}, {"id": 3, "name": "a"}],
        "annotations": [
          {"image_id": 7, "category_id": 3, "segmentation": {"size": [4, 6], "counts": [9, 1, 14]}},
          {"image_id": 7, "category_id": 9, "segmentation": {"size": [4, 6], "counts": [0, 24]}},
          {"image_id": 7, "category_id": 9, "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [0, 24]}}]}"#;
    let coco = CocoImages::new(Path::new("x.json"), serde_json::from_str(text).unwrap()).unwrap();
    assert_eq!(
        (coco.structures[0].name.as_str(), coco.structures[0].label),
        ("a", 1)
    );
    let (labels, owners, notes) = coco.labels(0, Size::new(4, 6)).unwrap();
    // Run 9 is column 2, row 1.
    assert_eq!((labels.at(1, 2), labels.at(0, 0)), (1, 2));
    assert_eq!(owners, BTreeMap::from([(1, 1), (2, 2)]));
    let note = &notes[0];
    assert!(
        note.contains("1 crowd") && note.contains("overlap on 1 pixels"),
        "{note}"
    );
    let error = coco.labels(0, Size::new(6, 4)).unwrap_err().to_string();
    assert!(error.contains("a.png: 4x6"), "{error}");
    for shape in [
        "[[1, 2, 3]]",
        r#"{"size": [4, 6], "counts": [25]}"#,
        r#"{"size": [4, 6], "counts": "~~"}"#,
        r#"{"size": [1, 1], "counts": [1]}"#,
        r#"{"size": [4, 6]}"#,
    ] {
        assert!(
            mask_of(&serde_json::from_str(shape).unwrap(), Size::new(4, 6)).is_err(),
            "{shape}"
        );
    }
}

#[test]
fn numbers_may_be_texts_and_name_one_image() {
    let text = r#"{"images": [{"id": "a7", "file_name": "a.png"}, {"id": "12", "file_name": "b.png"},
          {"id": -3, "file_name": "c.png"}, {"id": 4, "file_name": "d.png"}, {"id": 4, "file_name": "e.png"},
          {"id": -3, "file_name": "c.png"}, {"id": 4, "file_name": "d.png"}],
        "categories": [{"id": "x", "name": "late"}, {"id": "2", "name": "first"}],
        "annotations": [
          {"image_id": "a7", "category_id": "x", "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
          {"image_id": 12, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
          {"image_id": 12, "category_id": 2, "segmentation": [[0, 0, 2, 2, 4, 4]]},
          {"image_id": 12, "category_id": 2, "segmentation": [[20, 20, 22, 20, 22, 22, 20, 22]]},
          {"image_id": -3, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
          {"image_id": 4, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}]}"#;
    let coco = CocoImages::new(Path::new("x.json"), serde_json::from_str(text).unwrap()).unwrap();
    let names: Vec<&str> = coco.images.iter().map(|i| i.file_name.as_str()).collect();
    assert_eq!(names, ["a.png", "b.png", "c.png"]);
    let structures: Vec<&str> = coco.structures.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(structures, ["first", "late"]);
    let read = |index| coco.labels(index, Size::new(4, 6)).unwrap();
    assert_eq!(read(0).1, BTreeMap::from([(1, 2)]));
    let (_, owners, notes) = read(1);
    assert_eq!(owners, BTreeMap::from([(1, 1)]));
    assert_eq!(
        notes,
        ["left out: 2 objects: no pixel of the image lies inside"]
    );
    assert_eq!(read(2).1, BTreeMap::from([(1, 1)]));
    let all = read(0).2.join("\n");
    assert!(
        all.contains("3 images with the same id 4") && all.contains("1 images that are listed"),
        "{all}"
    );
}

#[test]
fn damaged_entries_are_left_out_with_a_remark() {
    let text = r#"{"images": [{"id": 1, "file_name": "sub\\a.png", "width": 6, "height": 4}, {"id": 2}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
          {"image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4], [0, 0, 4, 0, 4, 3, 0, 3]]},
          {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 2, 2]]},
          {"image_id": 1, "category_id": 1, "segmentation": []},
          {"image_id": 1, "category_id": 1},
          {"image_id": 1, "category_id": 1, "segmentation": {"size": [9, 9], "counts": [81]}},
          {"image_id": 1, "category_id": 7, "segmentation": [[0, 0, 4, 0, 4, 3]]},
          {"image_id": 77, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3]]},
          {"image_id": 77, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3]]},
          {"category_id": 1},
          {"image_id": 1, "category_id": 1,
           "segmentation": [[0, 0, 9e5, 9e5, 0, 1, 9e5, 9e5, 0, 2, 9e5, 9e5, 0, 3, 9e5, 9e5, 0, 4]]}]}"#;
    let coco = CocoImages::new(Path::new("x.json"), serde_json::from_str(text).unwrap()).unwrap();
    assert_eq!(coco.images.len(), 1);
    assert_eq!(coco.images[0].file_name, "sub/a.png");
    let (labels, owners, notes) = coco.labels(0, Size::new(4, 6)).unwrap();
    assert_eq!(owners, BTreeMap::from([(1, 1)]));
    assert_eq!(labels.data().iter().filter(|&&v| v == 1).count(), 12);
    let all = notes.join("\n");
    for expected in [
        "category 7, which is not listed",
        "2 annotations of image 77",
        "1 annotations without image_id",
        "1 images without id",
        "1 polygons of fewer than three corners",
        "1 objects: polygons of fewer",
        "1 objects: no polygon",
        "1 objects: no segmentation",
        "1 objects: run lengths of 4x6 (height x width) expected",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
}
