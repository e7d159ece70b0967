//! Readers against anything: files, numbers, answers, ledgers.
