//! Options of the server, and the functions of the program around it that it needs.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// Where a server listens and whom it lets in.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address to listen at. Any other than this machine's own asks for a token.
    pub host: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// The token that a client must show, in the form that [`parse_token`] accepts. `None` draws one where `host` is not
    /// this machine, and asks for none otherwise.
    pub token: Option<String>,
}

/// The annotator.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// An image, a volume, or a folder of them; without it, files are uploaded through the page.
    pub path: Option<PathBuf>,
    /// Where it listens.
    pub listen: Listen,
    /// Folder for annotations, uploads and label files. By default `synthfm-annotations` beside or in `path`.
    pub work: Option<PathBuf>,
    /// Largest file that is uploaded or opened. An image that a viewer sends may have a voxel for every 4 bytes of it.
    pub max_file_bytes: u64,
    /// A file with the structures that every case has; by default those of `dataset.json` or of the first case.
    pub labels: Option<PathBuf>,
    /// Bytes of embeddings in memory, those of crops included. The newest image's stay beyond it.
    pub kept_bytes: usize,
    /// Sessions of viewers at once, each with an image in memory.
    pub sessions: usize,
    /// Whether each request of a viewer is a line on the terminal.
    pub verbose: bool,
}

/// The blinded review.
#[derive(Debug, Clone)]
pub struct ReviewOptions {
    /// Folder of real images.
    pub real: PathBuf,
    /// Folder of synthetic images.
    pub synthetic: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// Folder for the plan and the answers; `synthfm-review` by default.
    pub work: Option<PathBuf>,
    /// Largest file that is opened.
    pub max_file_bytes: u64,
    /// Images of each kind; as many as both folders have by default.
    pub count: Option<usize>,
    /// Seed of the choice and the order.
    pub seed: u64,
    /// Longest side in pixels to which all images are brought.
    pub side: usize,
}

/// The description of the model in results.
#[derive(Debug, Clone, Serialize)]
pub struct ModelRecord {
    /// For tables: `embedded`, or the name of the file or folder.
    pub name: String,
    /// Where it lies; `None` for the embedded one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lossy")]
    pub path: Option<PathBuf>,
    /// Hash of the weights, in hexadecimal digits.
    pub sha256: String,
    /// Side of the model's input in pixels.
    pub image_size: usize,
}

/// A path as text; what is no Unicode in it is replaced.
#[expect(clippy::ref_option, reason = "serde calls it with the field")]
fn lossy<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = path.as_ref().map(|path| path.to_string_lossy());
    text.serialize(serializer)
}

/// The terminal that the server was started from.
pub trait Terminal {
    /// A line for people.
    fn note(&self, text: &str);

    /// The address, for people and for programs.
    fn print(&self, value: &Value, text: &str) -> Result<()>;
}

/// Checks a token: it travels in addresses and cookies.
pub fn parse_token(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (16..=128).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("16 to 128 letters, digits, - or _ expected".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_plain() {
        assert!(parse_token("0123456789abcdef").is_ok());
        for text in ["", "short", "0123456789abcde;", "0123456789abcdef "] {
            assert!(parse_token(text).is_err(), "{text}");
        }
    }
}
