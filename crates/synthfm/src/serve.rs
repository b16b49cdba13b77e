//! `synthfm serve`: the annotator in the browser, and the blinded review.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use synthfm_sam::PrecisionChoice;
use synthfm_serve::{Listen, ReviewOptions, ServeOptions, parse_token};

use crate::bytes::parse_bytes;
use crate::cache::CacheArgs;
use crate::cli::PRECISION_HELP;
use crate::interrupt;
use crate::model::Model;
use crate::output::Session;

/// Port for pages.
const PAGE_PORT: u16 = 8080;
/// Port at which nnInteractive's clients look for a server.
const VIEWERS_PORT: u16 = 1527;

/// The annotator, viewers, or the blinded review.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// An image, a volume, or a folder of them; without it, files are dropped into the page or come from viewers
    #[arg(value_name = "PATH", conflicts_with = "review")]
    pub(crate) path: Option<PathBuf>,
    /// A model file, folder or name [default: the embedded model]
    #[arg(long)]
    pub(crate) model: Option<String>,
    #[arg(long, default_value = "f32", value_name = "PRECISION", help = PRECISION_HELP)]
    pub(crate) precision: PrecisionChoice,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// Address to listen at; any other than this machine's own asks for a token
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) host: IpAddr,
    /// Port to listen at; 0 takes a free one [default: 8080, and without PATH 1527, where nnInteractive's clients look]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// What a browser, viewer or program must show to be served [default: drawn at random where --host is not this machine]
    #[arg(long, visible_alias = "api-key", value_name = "TEXT", value_parser = parse_token)]
    pub(crate) token: Option<String>,
    /// Folder for annotations, uploads and label files [default: synthfm-annotations beside or in PATH]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// File with the structures that every case has, in JSON or TOML [default: dataset.json, or the first case]
    #[arg(long, value_name = "FILE", conflicts_with = "review")]
    pub(crate) labels: Option<PathBuf>,
    /// Largest file that is uploaded or opened, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) max_file: u64,
    /// Room for embeddings in memory, such as 100MB or 2GiB; those not used for the longest time go first
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_bytes, conflicts_with = "review")]
    pub(crate) memory_cache: u64,
    /// Viewers (3D Slicer, napari, ITK-SNAP) that can work at once, each with an image in memory
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64), conflicts_with = "review")]
    pub(crate) sessions: u16,
    /// Raters tell real images from synthetic ones instead of annotating
    #[arg(long, requires_all = ["real", "synthetic"])]
    pub(crate) review: bool,
    /// With --review: folder of real images
    #[arg(long, value_name = "DIR", requires = "review")]
    pub(crate) real: Option<PathBuf>,
    /// With --review: folder of synthetic images
    #[arg(long, value_name = "DIR", requires = "review")]
    pub(crate) synthetic: Option<PathBuf>,
    /// With --review: images of each kind [default: as many as both folders have]
    #[arg(long, value_name = "N", requires = "review", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: Option<u32>,
    /// With --review: seed of the choice and the order
    #[arg(long, default_value_t = 0, requires = "review")]
    pub(crate) seed: u64,
    /// With --review: longest side in pixels to which all images are brought
    #[arg(long, value_name = "PX", default_value_t = 256, requires = "review", value_parser = clap::value_parser!(u16).range(64..=2048))]
    pub(crate) side: u16,
}

impl ServeArgs {
    fn listen(&self) -> Listen {
        Listen {
            host: self.host,
            port: self.port.unwrap_or(if self.path.is_none() && !self.review {
                VIEWERS_PORT
            } else {
                PAGE_PORT
            }),
            token: self.token.clone(),
        }
    }
}

/// Serves until Ctrl-C.
pub(crate) fn run(args: &ServeArgs, session: &Session) -> Result<()> {
    let stop = interrupt::flag()?;
    let max_file_bytes = args.max_file << 20;
    if let (true, Some(real), Some(synthetic)) = (args.review, &args.real, &args.synthetic) {
        let options = ReviewOptions {
            real: real.clone(),
            synthetic: synthetic.clone(),
            listen: args.listen(),
            work: args.work.clone(),
            max_file_bytes,
            count: args.count.map(|count| count as usize),
            seed: args.seed,
            side: usize::from(args.side),
        };
        return synthfm_serve::review(&options, stop, session);
    }
    let options = ServeOptions {
        path: args.path.clone(),
        listen: args.listen(),
        work: args.work.clone(),
        max_file_bytes,
        labels: args.labels.clone(),
        kept_bytes: usize::try_from(args.memory_cache).unwrap_or(usize::MAX),
        sessions: usize::from(args.sessions),
        verbose: session.is_verbose(),
    };
    let open_model = || {
        let model = Model::open(args.model.as_deref())?;
        let predictor = model
            .predictor(session, args.precision)?
            .with_max_memory(max_file_bytes);
        Ok((
            args.cache.attach_folder(predictor, session)?,
            model.record()?,
        ))
    };
    synthfm_serve::annotate(&options, open_model, stop, session)
}
