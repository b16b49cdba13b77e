//! `.pth` files made to attack their reader: each is refused, and nothing in it runs.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::TensorStore;
use crate::testing::fixture;

/// What opening the file says, or that it opens.
fn refusal(path: &Path) -> Option<String> {
    TensorStore::open(path).err().map(|error| error.to_string())
}

fn pickle_file(folder: &Path, pickle: &[u8]) -> PathBuf {
    let path = folder.join("attack.pth");
    fs::write(&path, pickle).unwrap();
    path
}

/// `sam_tiny.pth` with one entry changed and deflated.
fn rewritten(folder: &Path, entry: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let path = folder.join("rewritten.pth");
    let mut input = ZipArchive::new(fs::File::open(fixture("sam_tiny.pth")).unwrap()).unwrap();
    let mut output = ZipWriter::new(fs::File::create(&path).unwrap());
    for i in 0..input.len() {
        let mut file = input.by_index(i).unwrap();
        let name = file.name().unwrap().to_string();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let mut method = CompressionMethod::Stored;
        if name.ends_with(entry) {
            bytes = change(bytes);
            method = CompressionMethod::Deflated;
        }
        let options = SimpleFileOptions::default().compression_method(method);
        output.start_file(name, options).unwrap();
        output.write_all(&bytes).unwrap();
    }
    output.finish().unwrap();
    path
}

#[test]
fn what_torch_writes_is_read() {
    for name in ["sam_tiny.pth", "mobile_sam_tiny.pth"] {
        assert_eq!(refusal(&fixture(name)), None, "{name}");
    }
}

#[test]
fn a_download_that_stopped_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.pth");
    let whole = fs::read(fixture("sam_tiny.pth")).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let refusal = refusal(&path).unwrap();
    assert!(refusal.contains("probably incomplete"), "{refusal}");
    let bytes = format!("{} bytes", whole.len() / 2);
    assert!(refusal.contains(&bytes), "{refusal}");
}

#[test]
fn pickles_that_call_something_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("ran");
    let command = format!("touch {}", witness.display());
    let call = |class: &[u8]| {
        let length = (command.len() as u32).to_le_bytes();
        [
            b"\x80\x02",
            class,
            b"(X",
            &length,
            command.as_bytes(),
            b"tR.",
        ]
        .concat()
    };
    let long = [b"c".as_slice(), &[b'a'; 5000], b"\nb\n"].concat();
    let attacks: [(&[u8], &str); 8] = [
        (b"cos\nsystem\n", "os.system"),
        (b"cposix\nsystem\n", "posix.system"),
        (b"cbuiltins\nexec\n", "builtins.exec"),
        (
            b"cnumpy.core.multiarray\nscalar\n",
            "numpy.core.multiarray.scalar",
        ),
        // STACK_GLOBAL, plain and through the memo
        (b"\x8c\x02os\x8c\x06system\x93", "os.system"),
        (
            b"\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93",
            "os.system",
        ),
        // Allowed names on top of hidden ones
        (
            b"\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93",
            "hides",
        ),
        (&long, "aaaa"),
    ];
    for (class, name) in attacks {
        let path = pickle_file(folder.path(), &call(class));
        let text = refusal(&path).expect("an attack is refused");
        assert!(text.contains(name), "{name}: {text}");
        assert!(text.len() < 500 + path.as_os_str().len(), "{text}");
    }
    let extension = pickle_file(folder.path(), b"\x80\x02\x82\x01.");
    assert!(refusal(&extension).unwrap().contains("extension"));
    assert!(!witness.exists());
}

#[test]
fn a_call_slipped_into_a_good_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let slipped_in = |pickle: Vec<u8>| {
        let (start, rest) = pickle.split_at(2);
        [start, b"cos\nsystem\n(X\x04\x00\x00\x00truetR0", rest].concat()
    };
    let path = rewritten(folder.path(), "data.pkl", slipped_in);
    assert!(refusal(&path).unwrap().contains("os.system"));
    // The same file without the call opens.
    let path = rewritten(folder.path(), "data.pkl", |pickle| pickle);
    assert_eq!(refusal(&path), None);
}

#[test]
fn zips_that_unpack_to_more_than_they_are_worth_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = |pickle: Vec<u8>| {
        let (start, rest) = pickle.split_at(2);
        [start, &b"N0".repeat(8 << 20), rest].concat()
    };
    let path = rewritten(folder.path(), "data.pkl", bomb);
    assert!(fs::metadata(&path).unwrap().len() < 4 << 20);
    assert!(refusal(&path).unwrap().contains("unpacks to 16"));

    // A tensor of 256 MiB zeros in a file of 300 kB.
    let path = folder.path().join("storage.pth");
    let values = 64usize << 20;
    let pickle = [
        b"\x80\x02}(X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n".as_slice(),
        b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ",
        &(values as u32).to_le_bytes(),
        b"tQK\x00(J",
        &(values as u32).to_le_bytes(),
        b"t(K\x01t\x89ccollections\nOrderedDict\n)RtRu.",
    ]
    .concat();
    let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file("archive/data.pkl", options).unwrap();
    zip.write_all(&pickle).unwrap();
    zip.start_file("archive/data/0", options).unwrap();
    for _ in 0..256 {
        zip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    zip.finish().unwrap();
    let text = refusal(&path).unwrap();
    assert!(text.contains("claim 268435456 bytes"), "{text}");
}

#[test]
fn pickles_cut_anywhere_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Vec::new();
    ZipArchive::new(fs::File::open(fixture("sam_tiny.pth")).unwrap())
        .unwrap()
        .by_name("sam_tiny/data.pkl")
        .unwrap()
        .read_to_end(&mut whole)
        .unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 50) {
        let path = rewritten(folder.path(), "data.pkl", |pickle| {
            pickle[..length].to_vec()
        });
        assert!(refusal(&path).is_some(), "cut to {length} bytes");
    }
}
