//! Data parallel over processes: each takes its share of every batch, and the gradients are added up by MPI.
//!
//! The processes come from a launcher (`mpirun`, `srun`) and know their number from it. Sums are made in one process and
//! sent to all, so that the weights stay the same everywhere, bit for bit. Without the feature `mpi` a run that was
//! started as several processes is refused: each would write the same folder.

use std::env;

use crate::{Error, Result};

/// Variables in which launchers put the number of their processes: Open MPI, MPICH and Intel MPI, Slurm, `torchrun`.
const SIZES: [&str; 4] = [
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "SLURM_NTASKS",
    "WORLD_SIZE",
];

/// Processes that a launcher says it started, and the variable that says so.
fn launched(get: impl Fn(&str) -> Option<String>) -> Option<(usize, &'static str)> {
    // A batch job's own shell has Slurm's variables too, but is no task of it.
    let step = get("SLURM_PROCID").is_some() && get("SLURM_STEP_ID").is_some();
    let names = SIZES
        .into_iter()
        .filter(|&name| name != "SLURM_NTASKS" || step);
    let count = |name: &'static str| Some((get(name)?.trim().parse().ok()?, name));
    names.filter_map(count).find(|&(size, _)| size > 1)
}

/// The processes of a run.
#[derive(Debug)]
pub struct Processes {
    rank: usize,
    size: usize,
    #[cfg(feature = "mpi")]
    world: Option<World>,
}

impl Processes {
    /// This process alone.
    pub fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            #[cfg(feature = "mpi")]
            world: None,
        }
    }

    /// The processes that the launcher started, or this one alone.
    ///
    /// # Errors
    /// Where a launcher started several that cannot find each other.
    pub fn of_launcher() -> Result<Self> {
        let Some((expected, variable)) = launched(|name| env::var(name).ok()) else {
            return Ok(Self::alone());
        };
        Self::connect(expected, variable)
    }

    #[cfg(not(feature = "mpi"))]
    fn connect(expected: usize, variable: &str) -> Result<Self> {
        Err(Error::Parameter(format!(
            "{expected} processes were started ({variable}), but this build trains in one; build with --features mpi, \
             or start one"
        )))
    }

    #[cfg(feature = "mpi")]
    fn connect(expected: usize, variable: &str) -> Result<Self> {
        let world = World::join()?;
        let (rank, size) = world.place();
        if size != expected {
            return Err(Error::Parameter(format!(
                "{expected} processes were started ({variable}), but MPI finds {size}; start them with mpirun or with \
                 srun --mpi=pmix of the same MPI"
            )));
        }
        Ok(Self {
            rank,
            size,
            world: Some(world),
        })
    }

    /// Number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is the one that writes the run folder.
    pub fn writes(&self) -> bool {
        self.rank == 0
    }

    /// Replaces `values` by their sum over the processes, the same bits in each.
    #[cfg_attr(
        not(feature = "mpi"),
        expect(clippy::unused_self, reason = "there is one process")
    )]
    pub(crate) fn sum(&self, values: &mut [f32]) {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            world.sum(values);
        }
        #[cfg(not(feature = "mpi"))]
        let _ = values;
    }

    /// Waits for all.
    pub(crate) fn wait(&self) {
        self.sum(&mut [0.0]);
    }

    /// Ends all processes, where there are others that would wait for this one for ever.
    pub fn abort_others(&self) {
        #[cfg(feature = "mpi")]
        if let Some(world) = &self.world {
            world.abort();
        }
    }
}

#[cfg(feature = "mpi")]
use world::World;

#[cfg(feature = "mpi")]
mod world {
    //! The one place that calls MPI.

    use mpi::Threading;
    use mpi::collective::SystemOperation;
    use mpi::environment::Universe;
    use mpi::traits::{Communicator, Root};

    use crate::{Error, Result};

    /// Values per call: bounds what MPI copies.
    const CHUNK: usize = 1 << 22;

    /// All processes of the launcher; MPI ends with it.
    pub(super) struct World {
        universe: Universe,
    }

    impl std::fmt::Debug for World {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("World").field(&self.place()).finish()
        }
    }

    impl World {
        pub(super) fn join() -> Result<Self> {
            let joined = mpi::initialize_with_threading(Threading::Funneled);
            let problem =
                || Error::Parameter("MPI was initialised before in this process".to_owned());
            let (universe, _) = joined.ok_or_else(problem)?;
            Ok(Self { universe })
        }

        /// Number of this process, and how many there are.
        pub(super) fn place(&self) -> (usize, usize) {
            let world = self.universe.world();
            (world.rank() as usize, world.size() as usize)
        }

        pub(super) fn sum(&self, values: &mut [f32]) {
            let world = self.universe.world();
            let root = world.process_at_rank(0);
            let mut total = Vec::new();
            for chunk in values.chunks_mut(CHUNK) {
                if world.rank() == 0 {
                    total.resize(chunk.len(), 0.0_f32);
                    root.reduce_into_root(&*chunk, &mut total[..], SystemOperation::sum());
                    chunk.copy_from_slice(&total);
                } else {
                    root.reduce_into(&*chunk, SystemOperation::sum());
                }
                root.broadcast_into(chunk);
            }
        }

        pub(super) fn abort(&self) {
            self.universe.world().abort(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let with = |pairs: &[(&str, &str)]| {
            let get = |name: &str| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            launched(get)
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("OMPI_COMM_WORLD_SIZE", "1")]), None);
        let open_mpi = with(&[("OMPI_COMM_WORLD_SIZE", "2")]);
        assert_eq!(open_mpi, Some((2, "OMPI_COMM_WORLD_SIZE")));
        assert_eq!(with(&[("WORLD_SIZE", "4")]), Some((4, "WORLD_SIZE")));
        // The shell of a batch job is one process; its tasks are several.
        let job = ("SLURM_NTASKS", "8");
        assert_eq!(with(&[job]), None);
        let task = [job, ("SLURM_PROCID", "3"), ("SLURM_STEP_ID", "0")];
        assert_eq!(with(&task), Some((8, "SLURM_NTASKS")));
    }
}
