//! `--notify`: the report of a run, posted at its end. What goes wrong is said, and changes nothing.

use std::path::Path;

use anyhow::Context as _;
use reqwest::Url;

use super::config::Config;
use super::screen::Screen;
use super::signals;
use crate::gateway::post::post;
use crate::report::REPORT_JSON;

/// Posts the report in this folder, if somebody wants to know; a signal ends that.
pub fn notify(config: &Config, folder: &Path, screen: &Screen) {
    let Some(url) = &config.notify else {
        return;
    };
    if let Err(error) = post_report(url, config.gateway.proxy.as_ref(), folder) {
        let to = shown(url.as_str());
        screen.say(&format!(
            "warning: the report was not posted to {to} (--notify): {error:#}. The run is as it is"
        ));
    }
}

fn post_report(url: &Url, proxy: Option<&Url>, folder: &Path) -> anyhow::Result<()> {
    let report = std::fs::read(folder.join(REPORT_JSON)).context("it cannot be read")?;
    let signal = signals::listen()?;
    super::runtime()?.block_on(async {
        tokio::select! {
            posted = post(url, proxy, report) => posted.map_err(anyhow::Error::msg),
            _ = signal => Err(anyhow::anyhow!("a signal came")),
        }
    })
}

/// An address as it may be seen: its user, path and query may be what lets somebody post there.
pub fn shown(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
}
