//! What the system may say to the process.
//!
//! SIGINT and SIGTERM: the first asks the run to stop, the second ends the process at once.
//! Nothing is lost by the second: what is durable says what may have left.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::exit::Exit;
use crate::run::Signal;

/// What the system sends when a file outgrows `ulimit -f`; its number on Linux, BSD and macOS.
const SIGXFSZ: i32 = 25;

/// Lets a write beyond `ulimit -f` fail with a message, instead of the process ending without one.
///
/// # Errors
/// When the system does not allow it.
pub fn survive_file_limits() -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    let _context = runtime.enter();
    // The handler stays for good; nobody listens.
    drop(signal(SignalKind::from_raw(SIGXFSZ)).context("SIGXFSZ")?);
    Ok(())
}

/// Resolves at the first signal. Listens on a thread of its own, so that the second one works
/// whatever the first one interrupts.
///
/// # Errors
/// When the system does not allow it.
pub fn listen() -> anyhow::Result<impl Future<Output = Signal>> {
    let runtime = super::runtime()?;
    let (tell, told) = oneshot::channel();
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        (
            interrupt,
            signal(SignalKind::terminate()).context("SIGTERM")?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => Signal::Sigint,
                    _ = terminate.recv() => Signal::Sigterm,
                }
            };
            // The run may be over already.
            let _ = tell.send(next().await);
            let second = next().await;
            #[expect(clippy::exit, reason = "the user asked twice")]
            std::process::exit(Exit::from(second) as i32);
        });
    });
    Ok(async {
        match told.await {
            Ok(signal) => signal,
            Err(_) => std::future::pending().await,
        }
    })
}
