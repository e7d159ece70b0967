//! The program is put together again once its rooms are rebuilt.

fn main() {}
