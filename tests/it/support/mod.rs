//! What the tests stand on: a folder to work in, and a gateway that does as it is told.

pub mod authority;
pub mod disk;
pub mod facts;
pub mod gate;
pub mod postgres;
pub mod stub;
pub mod terminal;
pub mod wire;
pub mod workdir;

use std::collections::HashMap;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How often each number was asked.
pub type Counts = HashMap<String, usize>;

/// How long a test waits for something that should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// The key that the tests use.
pub const KEY: &str = "KK0123456789abcdef0123456789abcdef";

/// The n-th number as a file has it: ten digits.
pub fn phone(n: usize) -> String {
    format!("98765{n:05}")
}

/// The n-th number in international form.
pub fn e164(n: usize) -> String {
    format!("+91{}", phone(n))
}

/// The code that the sandbox takes from the n-th number.
pub fn code(n: usize) -> String {
    phone(n).chars().rev().take(6).collect()
}

/// A file of these numbers.
pub fn contacts(numbers: impl IntoIterator<Item = usize>) -> String {
    let lines = numbers.into_iter().map(|n| phone(n) + "\n");
    std::iter::once("phone\n".to_owned()).chain(lines).collect()
}

/// Waits until it is so; fails when it does not come true.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a process a signal: `INT`, `TERM`, `KILL`.
pub fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &id]).status();
    assert!(sent.unwrap().success());
}
