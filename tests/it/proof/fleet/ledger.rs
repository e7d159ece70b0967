//! What holds of a ledger in a file holds of one on a server: the same tests, by the same doors.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::ledger::{Room, each_test, play};
use crate::proof::{long, quick_or_long};
use crate::support::postgres::Cluster;

/// A server that those tests share which run at the same time, each with a schema of its own.
fn room() -> Room {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let server = shared.upgrade().unwrap_or_else(|| Cluster::start().into());
    *shared = Arc::downgrade(&server);
    Room::Server(server)
}

macro_rules! on_a_server {
    ($($module:ident { $($test:ident)* })*) => {$(
        mod $module {
            $(
                #[tokio::test]
                #[ignore = "tests/prove fleet"]
                async fn $test() {
                    crate::ledger::$module::$test(super::room()).await;
                }
            )*
        }
    )*};
}

each_test!(on_a_server);

#[test]
#[ignore = "tests/prove fleet"]
fn a_ledger_on_a_server_knows_what_one_in_memory_knows() {
    let played = play::hold(&room(), quick_or_long(12, 300));
    println!("on a server as in memory: {played}");
    if long() {
        // Quick, it is part of `cargo test`.
        let played = play::hold(&Room::memory(), 2_000);
        println!("in a file as in memory: {played}");
    }
}
