//! `sandbox`: the imitation gateway as a process of its own.

use super::exit::Exit;
use super::screen::Screen;
use super::values::{self, Values};
use super::{config, signals};
use crate::sandbox::{Options, Sandbox};

/// Serves until it is told to stop.
///
/// # Errors
/// When it cannot listen there.
pub fn serve(values: &Values, screen: &Screen) -> anyhow::Result<Exit> {
    let key_file = values.path("api-key-file");
    let options = Options {
        listen: values.required("listen", values::address)?,
        key: key_file.map(|file| config::key(Some(&file))).transpose()?,
        latency: values.required("latency", values::latency)?,
        faults: values.optional("faults", str::parse)?.unwrap_or_default(),
        seed: values.required("seed", values::number)?,
        log: values.path("log"),
    };
    let stop = signals::listen()?;
    super::runtime()?.block_on(async {
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
