//! What the sandbox remembers of numbers, compactly: up to [`NUMBERS_MAX`] of each kind at less
//! than 40 bytes apiece.

use std::collections::{HashMap, HashSet};

use crate::job::Lane;
use crate::number::Number;

/// How many numbers are remembered. Beyond it a number counts as new each time, and its code as
/// unused.
const NUMBERS_MAX: usize = 1 << 22;

/// How often numbers were asked for, and which codes are used up.
#[derive(Debug, Default)]
pub(super) struct Memory {
    requests: HashMap<(u64, Lane), u32>,
    used_codes: HashSet<u64>,
}

impl Memory {
    /// Counts a request; 1 for the first.
    pub(super) fn count(&mut self, lane: Lane, number: Number) -> u32 {
        let full = self.requests.len() >= NUMBERS_MAX;
        let key = (number.digits(), lane);
        if full && !self.requests.contains_key(&key) {
            return 1;
        }
        let n = self.requests.entry(key).or_default();
        *n = n.saturating_add(1);
        *n
    }

    /// Gives the number a code that has not been used.
    pub(super) fn renew_code(&mut self, number: Number) {
        if !self.used_codes.is_empty() {
            self.used_codes.remove(&number.digits());
        }
    }

    /// Is the number's code already used up?
    pub(super) fn is_used(&self, number: Number) -> bool {
        self.used_codes.contains(&number.digits())
    }

    /// Uses the number's code up.
    pub(super) fn use_code(&mut self, number: Number) {
        if self.used_codes.len() < NUMBERS_MAX {
            self.used_codes.insert(number.digits());
        }
    }
}
