//! `--metrics-file`: what a run looks like from outside, written now and then while it is on. What
//! goes wrong here is said once, and changes nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::config::Config;
use super::exit::Exit;
use super::screen::Screen;
use crate::campaign::Progress;
use crate::job::UnixMicros;
use crate::pace::Rate;
use crate::record::CampaignRecord;
use crate::report::metrics::{Ended, Metrics};
use crate::report::replace_public;
use crate::run::End;
use crate::status::Status;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps the file up to date; `end` writes it for the last time.
pub struct MetricsFile {
    shared: Arc<Shared>,
    /// Dropped, it ends the thread.
    on: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

struct Shared {
    path: PathBuf,
    screen: Screen,
    progress: Arc<Progress>,
    campaign: CampaignRecord,
    rate_per_s: Option<f64>,
    started_at: UnixMicros,
    last_success_at: Option<UnixMicros>,
    has_failed: AtomicBool,
}

impl MetricsFile {
    /// Writes the file from now on, if one is wanted.
    pub fn keep(
        config: &Config,
        campaign: &CampaignRecord,
        progress: &Arc<Progress>,
        started_at: UnixMicros,
        last_success_at: Option<UnixMicros>,
        screen: &Screen,
    ) -> Option<Self> {
        let shared = Arc::new(Shared {
            path: config.metrics_file.clone()?,
            screen: screen.clone(),
            progress: Arc::clone(progress),
            campaign: campaign.clone(),
            rate_per_s: config.engine.rate.map(Rate::per_second),
            started_at,
            last_success_at,
            has_failed: AtomicBool::new(false),
        });
        let (on, is_over) = mpsc::channel();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            loop {
                of_thread.write(None, None);
                if is_over.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Some(Self { shared, on, thread })
    }

    /// Writes how the run ended, and, if that is known for sure, what became of the rows.
    pub fn end(self, end: &End, exit: Exit, at: UnixMicros, rows: Option<Rows>) {
        drop(self.on);
        // If it panicked, it has said so.
        let _ = self.thread.join();
        self.shared.write(Some(Ended { at, end, exit }), rows);
    }
}

/// Rows by status, indexed by [`Status::index`].
pub type Rows = [u64; Status::ALL.len()];

impl Shared {
    fn write(&self, ended: Option<Ended<'_>>, rows: Option<Rows>) {
        let progress = &self.progress;
        let success = ended.filter(|ended| matches!(ended.exit, Exit::Done | Exit::NeedsPerson));
        let metrics = Metrics {
            campaign: &self.campaign,
            rows: rows.unwrap_or_else(|| progress.counts()),
            requests: &progress.requests(),
            in_flight: progress.unanswered(),
            waiting: progress.waiting(),
            rate_per_s: self.rate_per_s,
            started_at: self.started_at,
            ended,
            last_success_at: success.map(|ended| ended.at).or(self.last_success_at),
        };
        if let Err(error) = replace_public(&self.path, metrics.to_text().as_bytes())
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            self.screen.say(&format!(
                "warning: the metrics are not written: {}. The run goes on without; another place: --metrics-file",
                error.reason()
            ));
        }
    }
}
