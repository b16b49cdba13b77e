//! How fast are volumes read, against the bytes alone (inflated where they are compressed)?
//!
//! `cargo bench -p synthfm-image --bench read -- [--cold] PATH...` prints a JSON line per path: medians in seconds of
//! reading a volume and of its bytes alone, one after the other in turn. With `--cold` (Linux) both come from the disk:
//! before every turn the files are taken out of the system's cache, which is checked. `tools/read_speed.py` makes the
//! files and measures other programs beside it.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement stops at its first surprise"
)]
#![expect(clippy::print_stdout, reason = "the result")]

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use synthfm_image::{OpenOptions, open_scan};

const REPEATS: usize = 11;
const BLOCK: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cache {
    Warm,
    Cold,
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A file, or those in a folder, by name.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Reads all bytes block by block into the same memory, and inflates what is compressed.
fn bytes_alone(files: &[PathBuf]) -> usize {
    let mut block = vec![0; BLOCK];
    let mut drain = |reader: &mut dyn Read| {
        let mut total = 0;
        loop {
            match reader.read(&mut block).unwrap() {
                0 => return total,
                got => total += black_box(&block[..got]).len(),
            }
        }
    };
    let mut of_file = |path: &PathBuf| {
        let mut file = File::open(path).unwrap();
        if path.extension().is_some_and(|e| e == "gz") {
            return drain(&mut MultiGzDecoder::new(std::io::BufReader::new(file)));
        }
        drain(&mut file)
    };
    files.iter().map(&mut of_file).sum()
}

#[cfg(target_os = "linux")]
fn evict(files: &[PathBuf]) {
    use rustix::fs::{Advice, fadvise};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let is_out = |path: &PathBuf| {
        let file = File::open(path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        // A read that may not wait for the disk finds nothing.
        let length = file.metadata().unwrap().len();
        [0, length / 2, length - 1].into_iter().all(|at| {
            let mut byte = [0];
            let mut parts = [std::io::IoSliceMut::new(&mut byte)];
            preadv2(&file, &mut parts, at, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN)
        })
    };
    // Pages in use by the system stay for a moment.
    for _ in 0..100 {
        if files.iter().map(is_out).fold(true, |all, out| all & out) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the files stay in the cache");
}

#[cfg(not(target_os = "linux"))]
fn evict(_files: &[PathBuf]) {
    panic!("--cold needs Linux");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_cold = arguments.iter().any(|argument| argument == "--cold");
    let cache = if is_cold { Cache::Cold } else { Cache::Warm };
    for path in arguments.iter().filter(|a| !a.starts_with("--")) {
        let path = Path::new(&path);
        let files = files(path);
        let time = |run: &dyn Fn()| {
            if cache == Cache::Cold {
                evict(&files);
            }
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        };
        let read = || drop(black_box(open_scan(path, &OpenOptions::default()).unwrap()));
        let bytes = || {
            black_box(bytes_alone(&files));
        };
        let (read_s, bytes_s) = (0..REPEATS).map(|_| (time(&read), time(&bytes))).unzip();
        let line = serde_json::json!({
            "path": path,
            "cold": is_cold,
            "read_s": median(read_s),
            "bytes_alone_s": median(bytes_s),
        });
        println!("{line}");
    }
}
