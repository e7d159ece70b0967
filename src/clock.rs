//! The wall clock, read once: a run's times are counted from its start on the monotonic clock, so
//! a clock that is set back or forth during a run moves nothing. Follows tokio's paused time. Only
//! hours and days follow [`wall`], which is read anew each time.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::job::UnixMicros;

/// What the system's clock shows now: it may be set at any time, and goes on while the machine sleeps.
#[must_use]
pub fn wall() -> UnixMicros {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMicros(0) + since_1970.unwrap_or_default()
}

/// Tells the time of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: UnixMicros,
    start: Instant,
}

impl Clock {
    /// A clock that starts now, at the system's time.
    #[must_use]
    pub fn start() -> Self {
        Self::at(wall())
    }

    /// A clock that starts now, and takes it to be `wall`, for simulations.
    #[must_use]
    pub fn at(wall: UnixMicros) -> Self {
        Self {
            wall,
            start: Instant::now(),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixMicros {
        self.wall + self.start.elapsed()
    }

    /// The point on the monotonic clock at which it will be (or was) `at`; times before the clock's
    /// start are its start.
    #[must_use]
    pub fn instant(&self, at: UnixMicros) -> Instant {
        self.start + at.since(self.wall)
    }
}
