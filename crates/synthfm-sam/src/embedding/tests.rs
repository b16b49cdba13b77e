//! Round trips, refusals, and a cache under attack. Encodings are counted by [`CacheStats::encoded`].

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use burn::tensor::Device;
use synthfm_image::{RgbImage, Size};

use super::{CacheOptions, CacheStats, EmbeddingCache};
use crate::testing::{sam_small, sam_tiny, values};
use crate::{Predictor, Preparation, Sam, SamConfig};

/// A picture of 30 x 50 pixels for each seed.
fn picture(seed: usize) -> RgbImage {
    let bytes = (0..3 * 30 * 50).map(|i| ((i * (seed + 1) + seed) % 251) as u8);
    RgbImage::new(Size::new(30, 50), bytes.collect()).unwrap()
}

fn predictor(sam: &Sam) -> Predictor {
    Predictor::new(sam, &Device::flex())
}

/// The bits of every map of the image that is set.
fn bits(predictor: &Predictor) -> Vec<Vec<u32>> {
    let embedding = predictor.image().unwrap().embedding.clone();
    embedding
        .maps()
        .map(|map| values(map.clone()).into_iter().map(f32::to_bits).collect())
        .collect()
}

fn in_folder(sam: &Sam, folder: &Path) -> Predictor {
    with_options(
        sam,
        &CacheOptions {
            folder: Some(folder.to_owned()),
            ..CacheOptions::default()
        },
    )
}

fn with_options(sam: &Sam, options: &CacheOptions) -> Predictor {
    predictor(sam).with_cache(EmbeddingCache::open(options).unwrap())
}

fn stats(predictor: &Predictor) -> [usize; 3] {
    let CacheStats {
        from_memory,
        from_folder,
        encoded,
    } = predictor.cache().unwrap().stats();
    [from_memory, from_folder, encoded]
}

/// The files of embeddings in a folder.
fn stored(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|f| f.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    files
}

fn set_age(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - seconds);
    let file = File::options().append(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn a_file_holds_the_same_bits() {
    let makers: [(fn() -> Sam, usize); 2] = [(sam_tiny, 1), (sam_small, 4)];
    for (make, maps) in makers {
        let sam = make();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.safetensors");
        let mut first = predictor(&sam);
        first.save_embedding(&picture(1), &path).unwrap();
        let mut second = predictor(&sam);
        second.load_embedding(&picture(1), &path).unwrap();
        assert_eq!(bits(&first), bits(&second));
        assert_eq!(bits(&first).len(), maps);
        let place = |p: &Predictor| p.image().unwrap().transform;
        assert_eq!(place(&first), place(&second));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_mismatch_names_the_items_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.safetensors");
    let sam = sam_tiny();
    predictor(&sam).save_embedding(&picture(1), &path).unwrap();
    let refusal = |sam: &Sam, image: &RgbImage| {
        let error = predictor(sam).load_embedding(image, &path).unwrap_err();
        error.to_string()
    };
    let changed = |config: SamConfig| sam.clone().with_config(config);
    let plain = || sam.config().clone();
    let other_size = RgbImage::zeros(Size::new(31, 50));
    let cases = vec![
        (sam.clone(), picture(2), vec!["image content"]),
        (
            sam.clone(),
            other_size,
            vec!["image size", "31x50", "image content"],
        ),
        (
            Sam::new(&plain(), &Device::flex()),
            picture(1),
            vec!["encoder weights"],
        ),
        (
            changed(SamConfig {
                pixel_std: [1.0, 2.0, 3.0],
                ..plain()
            }),
            picture(1),
            vec!["normalisation"],
        ),
        (
            changed(SamConfig {
                preparation: Preparation::MedSam,
                ..plain()
            }),
            picture(1),
            vec!["preparation", "MedSam"],
        ),
    ];
    let names = [
        "format version",
        "image size",
        "image content",
        "input side",
        "preparation",
        "normalisation",
        "precision",
        "encoder weights",
    ];
    for (sam, image, parts) in cases {
        let text = refusal(&sam, &image);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        for name in names.iter().filter(|name| !parts.contains(name)) {
            assert!(!text.contains(&format!("{name} (")), "{text}");
        }
    }
    // Items that are not the caller's to choose here: in the text of the file itself.
    let bytes = fs::read(&path).unwrap();
    for (from, to, name) in [
        (
            r#"\"precision\":\"f32\""#,
            r#"\"precision\":\"f31\""#,
            "precision (stored f31",
        ),
        (
            r#"\"format\":2"#,
            r#"\"format\":3"#,
            "format version (stored 3, asked for 2)",
        ),
        (
            r#"\"image_size\":128"#,
            r#"\"image_size\":256"#,
            "input side (stored 256",
        ),
        ("synthfm_embedding", "synthfm_embeddinG", "no embedding"),
        (r#"\"key\""#, r#"\"kez\""#, "format version (stored none"),
        (r#"\"values_sha256\""#, r#"\"values_sha257\""#, "damaged"),
        (r#"\"width\""#, r#"\"wider\""#, "description"),
    ] {
        fs::write(&path, replaced(&bytes, from, to)).unwrap();
        let text = refusal(&sam, &picture(1));
        assert!(text.contains(name), "{name}: {text}");
    }
}

/// `bytes` with the only occurrence of `from` changed to `to` of the same length.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut places = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes());
    let (at, _) = places.next().expect("the text is there");
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// Every way in which a file can be something else.
fn damaged(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut flipped = whole.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut files = vec![
        flipped,
        Vec::new(),
        vec![0xff; 64],
        [whole, &[0; 4]].concat(),
        [&u64::MAX.to_le_bytes(), &whole[8..]].concat(),
        fs::read(crate::testing::fixture("sam_tiny.pth")).unwrap(),
        // Shapes that promise more than there is.
        replaced(whole, "\"shape\":[1,32,", "\"shape\":[9,99,"),
        // The limit on what is read, passed by one byte.
        vec![b' '; whole.len() + (1 << 20)],
    ];
    for cut in [
        1,
        7,
        8,
        9,
        8 + header / 2,
        8 + header,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        files.push(whole[..cut].to_vec());
    }
    files
}

#[test]
fn damaged_and_foreign_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.safetensors");
    let mut predictor = predictor(&sam_tiny());
    predictor.save_embedding(&picture(1), &path).unwrap();
    let before = bits(&predictor);
    for (i, bytes) in damaged(&fs::read(&path).unwrap()).into_iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let error = predictor.load_embedding(&picture(1), &path).unwrap_err();
        assert!(
            error.to_string().contains("image.safetensors"),
            "{i}: {error}"
        );
    }
    let error = predictor.load_embedding(&picture(1), folder.path());
    assert!(error.unwrap_err().to_string().contains("no regular file"));
    // The image set before is still there.
    assert_eq!(bits(&predictor), before);
}

#[test]
fn an_image_is_encoded_once() {
    let folder = tempfile::tempdir().unwrap();
    let sam = sam_small();
    let mut plain = predictor(&sam);
    plain.set_image(&picture(1)).unwrap();
    let mut first = in_folder(&sam, folder.path());
    for (seed, expected) in [
        (1, [0, 0, 1]),
        (2, [0, 0, 2]),
        (1, [1, 0, 2]),
        (2, [2, 0, 2]),
    ] {
        first.set_image(&picture(seed)).unwrap();
        assert_eq!(stats(&first), expected);
    }
    let mut second = in_folder(&sam, folder.path());
    second.set_image(&picture(1)).unwrap();
    assert_eq!(
        (stats(&second), stored(folder.path()).len()),
        ([0, 1, 0], 2)
    );
    assert_eq!(bits(&second), bits(&plain));
    // Clones share what is known.
    let mut clone = second.clone();
    clone.set_image(&picture(1)).unwrap();
    assert_eq!(stats(&second), [1, 1, 0]);
    // Another encoder shares nothing.
    let mut other = in_folder(&Sam::new(sam.config(), &Device::flex()), folder.path());
    other.set_image(&picture(1)).unwrap();
    assert_eq!((stats(&other), stored(folder.path()).len()), ([0, 0, 1], 3));
}

#[test]
fn memory_is_bounded_and_forgets_the_least_recently_used() {
    let sam = sam_tiny();
    let one = 4 * sam.config().prompt_embed_dim * sam.config().embedding_side().pow(2);
    let mut predictor = with_options(
        &sam,
        &CacheOptions {
            memory_bytes: 2 * one,
            ..CacheOptions::default()
        },
    );
    // 1 and 2 are held; 1 is used again, so that 3 drives out 2.
    for (seed, expected) in [
        (1, [0, 0, 1]),
        (2, [0, 0, 2]),
        (1, [1, 0, 2]),
        (3, [1, 0, 3]),
        (1, [2, 0, 3]),
        (2, [2, 0, 4]),
    ] {
        predictor.set_image(&picture(seed)).unwrap();
        assert_eq!(stats(&predictor), expected, "image {seed}");
    }
    let mut none = with_options(
        &sam,
        &CacheOptions {
            memory_bytes: one - 1,
            ..CacheOptions::default()
        },
    );
    none.set_image(&picture(1)).unwrap();
    none.set_image(&picture(1)).unwrap();
    assert_eq!(stats(&none), [0, 0, 2]);
}

#[test]
fn the_folder_is_bounded_and_leaves_other_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let sam = sam_tiny();
    let options = |folder_bytes| CacheOptions {
        memory_bytes: 0,
        folder: Some(folder.path().to_owned()),
        folder_bytes,
        ..CacheOptions::default()
    };
    let mut predictor = with_options(&sam, &options(1 << 30));
    predictor.set_image(&picture(0)).unwrap();
    let oldest = stored(folder.path()).remove(0);
    let bytes = fs::metadata(&oldest).unwrap().len();
    set_age(&oldest, 30);
    // Foreign files of any size neither count nor go; what a killed process left goes.
    let foreign = ["mine.safetensors", "notes.txt", ".hidden.tmp"].map(|n| folder.path().join(n));
    for path in &foreign {
        fs::write(path, vec![0; 1 << 20]).unwrap();
    }
    let abandoned = folder.path().join(format!(".{}.x1.tmp", "a".repeat(50)));
    let in_work = folder.path().join(format!(".{}.x2.tmp", "a".repeat(50)));
    fs::write(&abandoned, "half").unwrap();
    fs::write(&in_work, "half").unwrap();
    set_age(&abandoned, 0);

    let mut predictor = with_options(&sam, &options(2 * bytes + bytes / 2));
    predictor.set_image(&picture(1)).unwrap();
    let newer = stored(folder.path())
        .into_iter()
        .find(|path| path.file_name().unwrap() != "mine.safetensors" && *path != oldest);
    set_age(&newer.clone().unwrap(), 20);
    // A hit makes the oldest one the newest, so that the third image drives out the second.
    predictor.set_image(&picture(0)).unwrap();
    predictor.set_image(&picture(2)).unwrap();
    assert_eq!(stats(&predictor), [0, 1, 2]);
    assert!(oldest.exists() && !newer.unwrap().exists());
    assert!(foreign.iter().all(|path| path.exists()) && in_work.exists());
    assert!(!abandoned.exists() && folder.path().join("CACHEDIR.TAG").exists());

    // A smaller limit holds from the start.
    with_options(&sam, &options(bytes));
    assert_eq!(
        stored(folder.path()).len(),
        2,
        "one embedding and mine.safetensors"
    );
}

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_damaged_entry_is_reported_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let sam = sam_tiny();
    let open = || {
        with_options(
            &sam,
            &CacheOptions {
                folder: Some(folder.path().to_owned()),
                warn: |text| {
                    assert!(text.contains(".safetensors"), "{text}");
                    WARNINGS.fetch_add(1, Ordering::SeqCst);
                },
                ..CacheOptions::default()
            },
        )
    };
    let mut first = open();
    first.set_image(&picture(1)).unwrap();
    let path = stored(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut other = open();
    other.set_image(&picture(2)).unwrap();
    let stranger = stored(folder.path()).into_iter().find(|p| *p != path);
    // The embedding of another image under this one's name is one of them.
    let mut files = damaged(&whole);
    files.push(fs::read(stranger.unwrap()).unwrap());
    for (i, bytes) in files.into_iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        let mut predictor = open();
        predictor.set_image(&picture(1)).unwrap();
        assert_eq!(stats(&predictor), [0, 0, 1], "file {i}");
        assert_eq!(WARNINGS.load(Ordering::SeqCst), i + 1);
        assert!(fs::read(&path).unwrap() == whole, "file {i}");
        assert_eq!(bits(&predictor), bits(&first));
    }
    // A folder in the place of the file cannot be replaced: the image is encoded, with two warnings.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let before = WARNINGS.load(Ordering::SeqCst);
    let mut predictor = open();
    predictor.set_image(&picture(1)).unwrap();
    assert_eq!(WARNINGS.load(Ordering::SeqCst), before + 2);
    assert_eq!(bits(&predictor), bits(&first));
}

#[test]
fn a_folder_can_be_shared() {
    let folder = tempfile::tempdir().unwrap();
    let sam = sam_tiny();
    let bytes = {
        let mut predictor = in_folder(&sam, folder.path());
        predictor.set_image(&picture(0)).unwrap();
        fs::metadata(&stored(folder.path())[0]).unwrap().len()
    };
    // Four users with room for two embeddings, who drive out each other's all the time.
    std::thread::scope(|scope| {
        for user in 0..4 {
            let (sam, folder) = (&sam, folder.path());
            scope.spawn(move || {
                let mut shared = with_options(
                    sam,
                    &CacheOptions {
                        memory_bytes: 0,
                        folder: Some(folder.to_owned()),
                        folder_bytes: 2 * bytes,
                        warn: |text| panic!("{text}"),
                    },
                );
                let mut alone = predictor(sam);
                for i in 0..12 {
                    let image = picture((i + user) % 4);
                    shared.set_image(&image).unwrap();
                    alone.set_image(&image).unwrap();
                    assert_eq!(bits(&shared), bits(&alone));
                }
            });
        }
    });
    assert!((1..=2).contains(&stored(folder.path()).len()));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let options = CacheOptions {
        folder: Some(file),
        ..CacheOptions::default()
    };
    let error = EmbeddingCache::open(&options).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
}
