//! How fast are volumes read, against the bytes alone (from the disk's cache, inflated where they are compressed)?
//!
//! `cargo bench -p synthfm-image --bench read -- PATH...` prints a JSON line per path: medians in seconds.
//! `tools/read_speed.py` makes the files and measures other programs beside it.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement stops at its first surprise"
)]
#![expect(clippy::print_stdout, reason = "the result")]

use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use synthfm_image::{OpenOptions, open_scan};

const REPEATS: usize = 7;

fn median_s(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[REPEATS / 2]
}

/// A file, or those in a folder.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Reads all bytes, and inflates what is compressed.
fn bytes_alone(path: &Path) -> usize {
    let mut total = 0;
    for file in files(path) {
        let bytes = std::fs::read(file).unwrap();
        if bytes.starts_with(b"\x1f\x8b") {
            let mut inflated = Vec::new();
            MultiGzDecoder::new(&bytes[..])
                .read_to_end(&mut inflated)
                .unwrap();
            total += black_box(inflated).len();
        } else {
            total += black_box(bytes).len();
        }
    }
    total
}

fn main() {
    for path in std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
    {
        let path = Path::new(&path);
        let read_s =
            median_s(|| drop(black_box(open_scan(path, &OpenOptions::default()).unwrap())));
        let bytes_s = median_s(|| {
            black_box(bytes_alone(path));
        });
        let line = serde_json::json!({ "path": path, "read_s": read_s, "bytes_alone_s": bytes_s });
        println!("{line}");
    }
}
