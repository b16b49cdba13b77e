//! Work that Python waits for: without its lock, and with an ear for Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::{broken, usage};

/// How often Ctrl-C is looked for.
const PATIENCE: Duration = Duration::from_millis(50);

/// The process whose threads compute; 0 before there are any.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Refuses to compute in a process that was forked after the threads were started: they exist in the other one alone, and
/// the work would never end.
pub(crate) fn check_process() -> PyResult<()> {
    let own = std::process::id();
    let owner = OWNER.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
    match owner {
        Err(owner) if owner != own => Err(usage(
            "this process was forked from one in which a model has computed, and has none of its threads: start processes \
             with multiprocessing's method \"spawn\" or \"forkserver\"",
        )),
        _ => Ok(()),
    }
}

/// Runs `work` on a thread of its own and waits for it. After Ctrl-C the flag that it is given is set, and the result, which
/// may take a while, is dropped.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> PyResult<T> {
    check_process()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (send, mut receive) = channel();
    let flag = Arc::clone(&stop);
    let started = std::thread::Builder::new().spawn(move || {
        // Nobody waits any more after Ctrl-C.
        let _ = send.send(work(&flag));
    });
    started.map_err(|error| broken(format!("starting a thread: {error}")))?;
    loop {
        let (receiver, result) = py.detach(move || {
            let result = receive.recv_timeout(PATIENCE);
            (receive, result)
        });
        receive = receiver;
        match result {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(broken(
                    "the work ended with an error of synthfm itself; standard error has it",
                ));
            }
            Err(RecvTimeoutError::Timeout) => {
                py.check_signals()
                    .inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
        }
    }
}
