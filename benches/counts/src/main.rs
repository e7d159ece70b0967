//! `counts ROOM TIMES`: does the work of one of the hot rooms so many times, for a machine that counts
//! instructions. Without arguments it names the rooms. See `benches/run`.

mod rooms;

use std::io::{self, Write};

use anyhow::Context;

/// That of `otpdrive`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &args[..] else {
        let mut out = io::stdout().lock();
        for (name, once, _) in rooms::ROOMS {
            writeln!(out, "{name} {once}")?;
        }
        return Ok(());
    };
    let mut rooms = rooms::ROOMS.into_iter();
    let (_, _, work) = rooms.find(|room| room.0 == name).context("no such room")?;
    work(times.parse()?)
}
