//! The layouts of `synthfm generate`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use synthfm_image::{Mask, compressed_rle};

use crate::common::{files, label_map, mask, names, small, synthfm};

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The whole mask of a target in an nnU-Net folder.
fn whole_mask(root: &Path, case: &str, target: &Value) -> Mask {
    match target["mask"].as_str() {
        Some(name) => mask(&root.join(name)),
        None => label_map(&root.join(format!("labelsTr/{case}.png")))
            .mask_of(target["label"].as_u64().unwrap() as u16),
    }
}

/// Members of a tar file in their order.
fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        })
        .collect()
}

#[test]
fn archives_hold_arrays() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(
        folder.path(),
        &small(&["--format=npz", "--out", "d", "--count=1"]),
    )
    .ok();
    let file = fs::File::open(folder.path().join("d/samples/synth_00000000.npz")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    for (name, bytes) in [("image.npy", 4), ("labels.npy", 2)] {
        let mut array = Vec::new();
        archive
            .by_name(name)
            .unwrap()
            .read_to_end(&mut array)
            .unwrap();
        let header = usize::from(u16::from_le_bytes([array[8], array[9]]));
        assert_eq!(&array[..8], b"\x93NUMPY\x01\x00");
        assert_eq!((10 + header) % 64, 0);
        let text = std::str::from_utf8(&array[10..10 + header]).unwrap();
        assert!(
            text.contains("'shape': (128, 160)") && text.ends_with('\n'),
            "{text}"
        );
        assert_eq!(array.len() - 10 - header, bytes * 128 * 160);
    }
    assert!(archive.by_name("masks.npy").is_ok());
}

/// Instances are the targets of the same samples in nnU-Net's layout, whole also where they overlap.
#[test]
fn coco_instances_are_the_targets() {
    let folder = tempfile::tempdir().unwrap();
    let run = |format: &str| {
        let args = small(&[
            "--count=6",
            "--start=3",
            "--out",
            format,
            "--format",
            format,
        ]);
        synthfm(folder.path(), &args).ok();
        folder.path().join(format)
    };
    let (coco, nnunet) = (run("coco"), run("nnunet"));
    let set = read_json(&coco.join("annotations.json"));
    let list = |name: &str| set[name].as_array().unwrap().clone();
    let categories: BTreeMap<String, u64> = list("categories")
        .iter()
        .map(|c| {
            (
                c["name"].as_str().unwrap().into(),
                c["id"].as_u64().unwrap(),
            )
        })
        .collect();
    let ids: BTreeSet<u64> = categories.values().copied().collect();
    assert!(ids.into_iter().eq(1..=categories.len() as u64));
    let (mut expected, mut overlapping) = (Vec::new(), 0);
    for (image, index) in list("images").iter().zip(3..9) {
        let case = format!("synth_{index:08}");
        let file = format!("{case}.png");
        assert_eq!(
            *image,
            json!({ "id": index, "file_name": file, "height": 128, "width": 160 })
        );
        assert_eq!(
            fs::read(coco.join("images").join(file)).unwrap(),
            fs::read(nnunet.join(format!("imagesTr/{case}_0000.png"))).unwrap()
        );
        let recipe = read_json(&nnunet.join(format!("recipes/{case}.json")));
        for target in recipe["targets"].as_array().unwrap() {
            let mask = whole_mask(&nnunet, &case, target);
            let (min, max) = mask.bounding_box().map(|b| (b.min, b.max)).unwrap();
            overlapping += usize::from(!target["mask"].is_null());
            expected.push(json!({
                "id": expected.len() + 1,
                "image_id": index,
                "category_id": categories[target["kind"].as_str().unwrap()],
                "segmentation": { "size": [128, 160], "counts": compressed_rle(&mask) },
                "area": mask.area(),
                "bbox": [min.x as u64, min.y as u64, (max.x - min.x) as u64 + 1, (max.y - min.y) as u64 + 1],
                "iscrowd": 0,
            }));
        }
    }
    assert!(overlapping > 0, "choose samples with overlapping targets");
    assert_eq!(list("images").len(), 6);
    assert_eq!(list("annotations"), expected);
}

/// Members have the bytes of the same samples in nnU-Net's layout, but for the depth of the labels.
#[test]
fn shards_hold_samples_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let run = |format: &str, more: &str| {
        let args = small(&[
            "--count=5",
            "--start=4",
            "--out",
            format,
            "--format",
            format,
            more,
        ]);
        synthfm(folder.path(), &args).ok();
        folder.path().join(format)
    };
    let (shards, nnunet) = (run("webdataset", "--shard-size=2"), run("nnunet", "-q"));
    let expected = ["generator.toml", "manifest.jsonl"]
        .map(str::to_owned)
        .into_iter();
    let pairs = (2..5).flat_map(|k| ["json", "tar"].map(|end| format!("shard-{k:06}.{end}")));
    assert_eq!(names(&shards), expected.chain(pairs).collect::<Vec<_>>());
    let all: Vec<_> = (2..5)
        .flat_map(|k| members(&shards.join(format!("shard-{k:06}.tar"))))
        .collect();
    let mut rest = all.iter();
    for index in 4..9 {
        let case = format!("synth_{index:08}");
        let recipe = read_json(&nnunet.join(format!("recipes/{case}.json")));
        for target in recipe["targets"].as_array().unwrap() {
            if let Some(name) = target["mask"].as_str() {
                let own = format!("{case}.mask_{}.png", target["label"]);
                assert_eq!(
                    rest.next().unwrap(),
                    &(own, fs::read(nnunet.join(name)).unwrap())
                );
            }
        }
        let image = fs::read(nnunet.join(format!("imagesTr/{case}_0000.png"))).unwrap();
        assert_eq!(rest.next().unwrap(), &(format!("{case}.png"), image));
        let (name, labels) = rest.next().unwrap();
        assert_eq!(*name, format!("{case}.mask.png"));
        assert_eq!(labels[24], 16, "bits per pixel");
        fs::write(folder.path().join("labels.png"), labels).unwrap();
        assert_eq!(
            label_map(&folder.path().join("labels.png")),
            label_map(&nnunet.join(format!("labelsTr/{case}.png")))
        );
        let (name, json) = rest.next().unwrap();
        assert_eq!(*name, format!("{case}.json"));
        let own: Value = serde_json::from_slice(json).unwrap();
        assert_eq!(own["recipe"], recipe["recipe"]);
    }
    assert!(rest.next().is_none());
}

#[test]
fn a_recipe_gives_the_same_bytes_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["nnunet", "coco", "npz", "webdataset"] {
        let root = folder.path().join(format);
        let args = small(&[
            "--count=2",
            "--start=0",
            "--out",
            format,
            "--format",
            format,
        ]);
        synthfm(folder.path(), &args).ok();
        let mut all = files(&root);
        let mut recipe = format!("{format}/recipes/synth_00000001.json");
        if format == "webdataset" {
            all = members(&root.join("shard-000000.tar"));
            recipe = "recipe.json".into();
            let (_, bytes) = all
                .iter()
                .find(|(name, _)| name == "synth_00000001.json")
                .unwrap();
            fs::write(folder.path().join(&recipe), bytes).unwrap();
        }
        let again = format!("again-{format}");
        let args = [
            "generate",
            "--recipe",
            &recipe,
            "--out",
            &again,
            "--format",
            format,
            "--preview=p.png",
        ];
        synthfm(folder.path(), &args).ok();
        let again = files(&folder.path().join(again));
        let mut of_sample = all;
        of_sample.retain(|(name, _)| name.contains("synth_00000001"));
        of_sample.sort();
        assert!(again.len() >= 2 && of_sample == again, "{format}");
        assert!(folder.path().join("p.png").is_file());
    }
}
