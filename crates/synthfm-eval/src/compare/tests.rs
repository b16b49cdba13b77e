//! Whole comparisons on small folders, some of them drawn by the generator itself.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use synthfm_image::{GreyDepth, write_grey_png, write_label_png};
use synthfm_image::{Image, LabelMap, Size};
use synthfm_synth::{SizeConfig, generate};
use tempfile::TempDir;

use super::*;

const SIDE: usize = 128;

fn options(count: u64) -> Options {
    Options {
        side: SIDE,
        count,
        ..Options::default()
    }
}

fn config() -> GeneratorConfig {
    GeneratorConfig {
        size: SizeConfig {
            height: 128,
            width: SIDE,
        },
        ..GeneratorConfig::default()
    }
}

/// A data set of one structure per case: the first target of each sample of another seed.
fn drawn_dataset(count: u64) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let samples = (0..count).map(|index| generate(&config(), 99, index));
    let cases = samples.filter_map(|sample| {
        let target = sample.targets.first()?;
        let labels = target.mask.data().iter().map(|&v| u16::from(v)).collect();
        Some((
            sample.image,
            LabelMap::new(target.mask.size(), labels).unwrap(),
        ))
    });
    write_dataset(root.path(), cases);
    root
}

fn write_dataset(root: &Path, cases: impl Iterator<Item = (Image, LabelMap)>) {
    for name in ["imagesTs", "labelsTs"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let manifest = r#"{"name": "<Drawn>", "channel_names": {"0": "CT"},
        "labels": {"background": 0, "thing": 1}, "file_ending": ".png"}"#;
    fs::write(root.join("dataset.json"), manifest).unwrap();
    for (number, (image, labels)) in cases.enumerate() {
        let path = root.join(format!("imagesTs/c{number:03}_0000.png"));
        write_grey_png(&path, &image, 0.0..=1.0, GreyDepth::Eight).unwrap();
        write_label_png(&root.join(format!("labelsTs/c{number:03}.png")), &labels).unwrap();
    }
}

fn compare<T>(root: &Path, options: &Options, then: impl FnOnce(Result<Comparison>) -> T) -> T {
    let datasets = [Dataset::open(root).unwrap()];
    let (generator, stop) = (config(), AtomicBool::new(false));
    then(Comparison::new(
        &datasets,
        &generator,
        options,
        |_, _, _| (),
        &stop,
    ))
}

#[test]
fn the_generator_covers_itself_and_not_what_it_never_draws() {
    let own = drawn_dataset(150);
    let [all, modality, dataset] = compare(own.path(), &options(400), |found| {
        <[GroupCoverage; 3]>::try_from(found.unwrap().groups().to_vec()).unwrap()
    });
    assert_eq!(
        [all.level, modality.level, dataset.level],
        ["all", "modality", "dataset"]
    );
    assert_eq!(
        [modality.name.as_str(), dataset.name.as_str()],
        ["CT", "<Drawn>"]
    );
    assert!(all.structures > 120 && all.structures == dataset.cases);
    assert!(all.joint > 0.85, "{all:?}");
    for single in &all.properties {
        assert!(single.inside > 0.92, "{single:?}");
    }
    assert_eq!(all.properties.len(), 8);

    // A checkerboard of single pixels, black and white, is no tissue.
    let strange = tempfile::tempdir().unwrap();
    let size = Size::new(128, 128);
    let board = (0..size.area())
        .map(|at| ((at / 128 + at % 128) % 2) as f32)
        .collect();
    let label = |at: usize| u16::from((40..90).contains(&(at / 128)) && at % 128 < 60);
    let labels = LabelMap::new(size, (0..size.area()).map(label).collect()).unwrap();
    write_dataset(
        strange.path(),
        [(Image::new(size, board).unwrap(), labels)].into_iter(),
    );
    compare(strange.path(), &options(100), |found| {
        let all = found.unwrap().groups()[0].clone();
        assert!(all.joint.abs() < f64::EPSILON, "{all:?}");
        assert_eq!(all.naeem, None);
    });
}

#[test]
fn the_report_is_whole_and_the_same_on_any_number_of_threads() {
    let own = drawn_dataset(12);
    let write = |threads: usize| {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("r.html");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            compare(own.path(), &options(30), |found| {
                found.unwrap().write(&path, &"run")
            })
            .unwrap();
        });
        let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
        (read("r.html"), read("r.json"))
    };
    let (html, json) = write(1);
    assert_eq!((html.clone(), json.clone()), write(2));
    assert!(
        html.ends_with("</html>\n") && !html.contains("<Drawn>") && html.contains("&lt;Drawn&gt;")
    );
    // Letters of encoded pictures say nothing.
    let pieces = html
        .split("base64,")
        .map(|piece| piece.split_once('"').map_or(piece, |pair| pair.1));
    let text = html.split("base64,").next().unwrap_or_default().to_owned()
        + &pieces.skip(1).collect::<String>();
    assert!(
        !text.contains("http") && !text.contains("NaN"),
        "the page needs nothing else"
    );
    assert!(html.matches("<img").count() >= 4 && html.matches("<svg").count() >= 13);
    let json: Value = serde_json::from_str(&json).unwrap();
    let structures = json["structures"].as_array().unwrap();
    assert_eq!(
        structures.len() as u64,
        json["groups"][0]["structures"].as_u64().unwrap()
    );
    let distance = |at: usize| structures[at]["distance"].as_f64().unwrap();
    assert!(distance(0) >= distance(1));
    assert!(structures[0]["properties"]["edge_width_px"].is_number());
}

#[test]
fn nothing_to_compare_is_said() {
    // The structure of a single pixel is too small.
    let dot = tempfile::tempdir().unwrap();
    let size = Size::new(130, 160);
    let labels = (0..size.area()).map(|at| u16::from(at == 7)).collect();
    let case = (Image::zeros(size), LabelMap::new(size, labels).unwrap());
    write_dataset(dot.path(), [case].into_iter());
    let problem = |options: &Options| {
        compare(dot.path(), options, |found| {
            found.map(|_| ()).unwrap_err().to_string()
        })
    };
    assert!(problem(&options(5)).contains("nothing to compare with"));
    let side = Options {
        side: 64,
        ..options(5)
    };
    assert!(problem(&side).contains("side: 128 to 2048 expected, got 64"));
    assert!(problem(&options(0)).contains("count"));
    // Of a single sample too few structures come.
    let own = drawn_dataset(3);
    let few = compare(own.path(), &options(1), |found| {
        found.map(|_| ()).unwrap_err().to_string()
    });
    assert!(few.contains("too few"), "{few}");
}

/// Both sides are measured on one grid: a picture twice as large gives the same lengths and shares.
#[test]
fn large_and_small_pictures_are_measured_alike() {
    let large = |factor: usize| {
        let size = Size::new(90 * factor, 128 * factor);
        let depth = |at: usize| {
            let unit = factor as f64;
            let row = ((at / size.width) as f64 + 0.5) / unit;
            let col = ((at % size.width) as f64 + 0.5) / unit;
            25.0 - (row - 45.0).hypot(col - 60.0)
        };
        let grey = |at: usize| (0.3 + 0.4 * (0.5 + depth(at) / 8.0).clamp(0.0, 1.0)) as f32;
        let image = Image::new(size, (0..size.area()).map(grey).collect()).unwrap();
        let mask = (0..size.area()).map(|at| depth(at) >= 0.0).collect();
        let mask = synthfm_image::Mask::new(size, mask).unwrap();
        let compared = subject::Compared::new(&image.to_rgb8(0.0, 1.0), SIDE);
        let mask = compared.mask(&mask);
        (mask.area(), compared.structure(&mask).unwrap())
    };
    let ((small_area, small), (large_area, large)) = (large(1), large(3));
    assert!(
        small_area.abs_diff(large_area) < 20,
        "{small_area} {large_area}"
    );
    for (axis, (a, b)) in small.iter().zip(&large).enumerate().take(3) {
        assert!((a - b).abs() < 0.03 * (1.0 + a.abs()), "{axis}: {a} {b}");
    }
}
