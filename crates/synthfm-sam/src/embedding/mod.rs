//! Image embeddings kept for later: as files that the user names, and in a cache in memory and in a folder.
//!
//! An embedding is a function of the image's pixels, of their preparation, of the encoder's weights and of the
//! precision. Its [`key::EmbeddingKey`] states these; every stored embedding carries its key and a hash of its
//! values, and is refused where either differs from what is asked for.

mod cache;
mod file;
mod folder;
mod key;
#[cfg(test)]
mod tests;

pub use cache::{CacheOptions, CacheStats, EmbeddingCache};
pub use file::describe_embedding;
