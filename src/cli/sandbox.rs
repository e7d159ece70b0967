//! `sandbox`: the imitation gateway as a process of its own; and the one that a rehearsal has inside.

use std::time::Duration;

use anyhow::Context as _;

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

/// A sandbox in this process, on a thread of its own so that it does not disturb the pace.
pub struct Rehearsal {
    /// Where it answers.
    pub endpoint: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Rehearsal {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let Ok(runtime) = super::runtime() else {
                return;
            };
            runtime.block_on(async {
                match Sandbox::bind(Options::default()).await {
                    Ok(sandbox) => {
                        // Whoever waits for it is there until it is told.
                        let _ = tell.send(Ok(sandbox.endpoint()));
                        let ended = async {
                            let _ = stopped.await;
                        };
                        if let Err(error) = sandbox.run(ended).await {
                            tracing::error!("the sandbox failed: {error}");
                        }
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                    }
                }
            });
        });
        let endpoint = told
            .recv_timeout(Duration::from_secs(10))
            .context("the sandbox did not start")??;
        Ok(Self {
            endpoint,
            _stop: stop,
        })
    }
}
