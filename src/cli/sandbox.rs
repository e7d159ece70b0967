//! `sandbox`: the imitation gateway as a process of its own.

use super::args::SandboxArgs;
use super::config;
use super::exit::Exit;
use super::screen::Screen;
use super::signals;
use crate::sandbox::{Options, Sandbox};
use anyhow::Context as _;

/// Serves until it is told to stop.
///
/// # Errors
/// When it cannot listen there.
pub fn serve(args: SandboxArgs, screen: &Screen) -> anyhow::Result<Exit> {
    let options = Options {
        listen: args.listen,
        key: match &args.api_key_file {
            Some(file) => Some(config::key(Some(file))?),
            None => None,
        },
        latency: args.latency.0..=args.latency.1,
        faults: args.faults.unwrap_or_default(),
        seed: args.seed,
        log: args.log,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be set up")?;
    let stop = signals::listen()?;
    runtime.block_on(async {
        let sandbox = Sandbox::bind(options).await?;
        screen.say(&format!("the sandbox answers at {}", sandbox.endpoint()));
        sandbox
            .run(async {
                stop.await;
            })
            .await?;
        anyhow::Ok(Exit::Done)
    })
}
