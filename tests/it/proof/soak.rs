//! A long run under faults: memory, file handles and ledger over time.
