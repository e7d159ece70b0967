//! What the system may say to the process.
//!
//! SIGINT, SIGTERM and SIGHUP: the first asks the run to stop, the second ends the process at once.
//! Nothing is lost by the second: what is durable says what may have left. SIGQUIT ends it at once,
//! and leaves no image of its memory behind. SIGUSR1, and SIGINFO (Ctrl-T) where there is one, ask how
//! the run stands, any number of times, and disturb nothing.

use std::fs;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

use super::exit::Exit;
use crate::run::Signal;

/// What the system sends when a file outgrows `ulimit -f`; its number on Linux, BSD and macOS.
const SIGXFSZ: i32 = 25;

/// The number of SIGHUP, everywhere.
const SIGHUP: u32 = 1;

/// Core dumps of this many bytes are none. With 0, Linux would still hand one to the program that
/// collects them, where there is one.
const NO_CORE: u64 = 1;

/// So many files the process may have open at least: half of them are open before the first request.
const FILES_MIN: u64 = 32;

/// Refuses to start where there are too few file handles for anything to work.
///
/// # Errors
/// When there are.
pub fn ensure_file_handles() -> anyhow::Result<()> {
    let most = getrlimit(Resource::Nofile).current;
    ensure!(
        most.is_none_or(|most| most >= FILES_MIN),
        "this process may have {} files open, and needs {FILES_MIN} at least: raise the limit (ulimit -n). Nothing was sent",
        most.unwrap_or_default()
    );
    Ok(())
}

/// Lets a write beyond `ulimit -f` fail with a message, instead of the process ending without one, and
/// a question how the run stands go by where there is none.
///
/// # Errors
/// When the system does not allow it.
pub fn survive_what_is_harmless() -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    let _context = runtime.enter();
    // The handlers stay for good; nobody listens.
    drop(signal(SignalKind::from_raw(SIGXFSZ)).context("SIGXFSZ")?);
    drop(questions()?);
    Ok(())
}

/// What asks how the run stands: SIGUSR1, and SIGINFO where there is one.
fn questions() -> anyhow::Result<(Stream, Option<Stream>)> {
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    let info = Some(signal(SignalKind::info()).context("SIGINFO")?);
    #[cfg(not(any(target_vendor = "apple", target_os = "freebsd")))]
    let info = None;
    let user = signal(SignalKind::user_defined1()).context("SIGUSR1")?;
    Ok((user, info))
}

/// Calls this whenever somebody asks how the run stands, on a thread of its own.
///
/// # Errors
/// When the system does not allow it.
pub fn on_question(tell: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    let (mut user, mut info) = {
        let _context = runtime.enter();
        questions()?
    };
    std::thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = user.recv() => tell(),
                    () = received(info.as_mut()) => tell(),
                }
            }
        });
    });
    Ok(())
}

/// From now on no core dump is made, however the process ends: it would hold the key.
///
/// # Errors
/// When the system does not allow it.
pub fn leave_no_core() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Core).maximum;
    let none = Rlimit {
        current: Some(maximum.map_or(NO_CORE, |most| most.min(NO_CORE))),
        maximum,
    };
    setrlimit(Resource::Core, none).context("core dumps cannot be switched off")
}

/// Resolves at the first signal. Listens on a thread of its own, so that the second one works
/// whatever the first one interrupts.
///
/// # Errors
/// When the system does not allow it.
pub fn listen() -> anyhow::Result<impl Future<Output = Signal>> {
    let runtime = super::runtime()?;
    let (tell, told) = oneshot::channel();
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::interrupt()).context("SIGINT")?,
            signal(SignalKind::terminate()).context("SIGTERM")?,
            (!hang_ups_are_ignored())
                .then(|| signal(SignalKind::hangup()).context("SIGHUP"))
                .transpose()?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => Signal::Sigint,
                    _ = terminate.recv() => Signal::Sigterm,
                    () = received(hang_up.as_mut()) => Signal::Sighup,
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

/// Waits for the signal; for ever when nobody listens to it.
async fn received(signals: Option<&mut Stream>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Was the process started so that it outlives its terminal (`nohup`)? Where that cannot be known,
/// SIGHUP is left as it is, too.
fn hang_ups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}
