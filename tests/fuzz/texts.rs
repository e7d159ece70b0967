#![no_main]

#[path = "../it/proof/fuzz/readers/mod.rs"]
#[expect(dead_code, reason = "each target checks one reader")]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::texts::check(bytes));
