//! Bytes read as choices: so that one input, whoever made it up, builds what has a structure.

/// What is left of the bytes; zeros once they are used up, so every choice has an end.
pub struct Choices<'b>(&'b [u8]);

impl<'b> Choices<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        let mut number = 0;
        let mut range = 1;
        while range < n {
            number = number << 8 | u64::from(self.byte());
            range <<= 8;
        }
        number % n.max(1)
    }

    /// The same, to count or to point with.
    pub fn size(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.size(all.len())]
    }

    /// One of these, in a list with `¦` between them; blanks and line ends around them are not theirs.
    pub fn word<'t>(&mut self, list: &'t str) -> &'t str {
        let words: Vec<&str> = list
            .split('¦')
            .map(|word| word.trim_matches([' ', '\n']))
            .collect();
        self.of(&words)
    }

    /// True once in `n` times, never when the bytes are used up.
    pub fn rarely(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rest(self) -> &'b [u8] {
        self.0
    }
}
