//! A terminal as far as the program uses one: what would be seen.

/// Rows of cells, and the cursor.
pub struct Terminal {
    width: usize,
    rows: Vec<String>,
    row: usize,
    column: usize,
}

impl Terminal {
    /// What is seen after each redrawing, and at the end.
    pub fn frames(width: usize, output: &str) -> Vec<Vec<String>> {
        let mut terminal = Self {
            width,
            rows: vec![String::new()],
            row: 0,
            column: 0,
        };
        let mut frames = Vec::new();
        let mut rest = output;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            if c == '\u{1b}' {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let (code, obeyed) = (&rest[1..=end], &rest[1..end]);
                terminal.obey(code, obeyed.parse().unwrap_or(0));
                rest = &rest[end + 1..];
                if code == "J" {
                    frames.push(terminal.rows.clone());
                }
            } else {
                terminal.put(c);
            }
        }
        frames.push(terminal.rows);
        frames
    }

    fn obey(&mut self, code: &str, n: usize) {
        match code.chars().last() {
            Some('A') => self.row = self.row.checked_sub(n).expect("a row"),
            Some('K') => self.cut(),
            Some('J') => {
                self.cut();
                self.rows.truncate(self.row + 1);
            }
            Some('m') => {}
            _ => panic!("an unknown movement: {code}"),
        }
    }

    /// Takes away what stands behind the cursor.
    fn cut(&mut self) {
        let row = &mut self.rows[self.row];
        *row = row.chars().take(self.column).collect();
    }

    fn put(&mut self, c: char) {
        match c {
            '\r' => self.column = 0,
            '\n' => self.next(),
            c => {
                if self.column == self.width {
                    self.next();
                }
                let row = &mut self.rows[self.row];
                let behind: String = row.chars().skip(self.column + 1).collect();
                let before: String = row.chars().take(self.column).collect();
                *row = before + &c.to_string() + &behind;
                self.column += 1;
            }
        }
    }

    fn next(&mut self) {
        (self.row, self.column) = (self.row + 1, 0);
        if self.row == self.rows.len() {
            self.rows.push(String::new());
        }
    }
}
