//! What the charts are drawn with: SVG without a viewBox, x in per cent and y in pixels, so that
//! letters keep their size at any width; and ticks.

use std::fmt::Write as _;

use askama::filters::{Escaper as _, Html};

/// Text as it stands in markup, escaped as the templates escape.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing to a String cannot fail.
    let _ = Html.write_escaped_str(&mut out, text);
    out
}

/// A chart under construction.
pub struct Chart {
    text: String,
}

impl Chart {
    /// As high as this, in pixels; `id` is unique on the page; `finding` says in a sentence what is
    /// to be seen.
    pub fn new(id: &str, height: u32, title: &str, finding: &str) -> Self {
        let (title, finding) = (escaped(title), escaped(finding));
        Self {
            text: format!(
                r#"<svg class="ch" overflow="visible" width="100%" height="{height}" role="img" aria-labelledby="{id}-t {id}-d"><title id="{id}-t">{title}</title><desc id="{id}-d">{finding}</desc>"#
            ),
        }
    }

    /// Adds markup as it is.
    pub fn raw(&mut self, markup: &str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// A line across.
    pub fn across(&mut self, class: &str, y: f64) -> &mut Self {
        let y = px(y);
        self.put(format_args!(
            r#"<line class="{class}" x2="100%" y1="{y}" y2="{y}"/>"#
        ))
    }

    /// A line down at `x` per cent.
    pub fn down(&mut self, class: &str, x: f64, from: f64, to: f64) -> &mut Self {
        let (x, from, to) = (px(x), px(from), px(to));
        self.put(format_args!(
            r#"<line class="{class}" x1="{x}%" x2="{x}%" y1="{from}" y2="{to}"/>"#
        ))
    }

    /// A filled bar, x and width in per cent.
    pub fn bar(&mut self, class: &str, x: f64, width: f64, y: f64, height: f64) -> &mut Self {
        let (x, width, y, height) = (px(x), px(width), px(y), px(height));
        self.put(format_args!(
            r#"<rect class="f {class}" x="{x}%" width="{width}%" y="{y}" height="{height}"/>"#
        ))
    }

    /// Text at `x` per cent.
    pub fn text(&mut self, class: &str, x: f64, y: f64, text: &str) -> &mut Self {
        let (x, y, text) = (px(x), px(y), escaped(text));
        self.put(format_args!(
            r#"<text class="{class}" x="{x}%" y="{y}">{text}</text>"#
        ))
    }

    /// The label of a line across, left of the chart.
    pub fn label(&mut self, y: f64, text: &str) -> &mut Self {
        let (y, text) = (px(y), escaped(text));
        self.put(format_args!(
            r#"<text class="m e" x="-6" y="{y}" dy="4">{text}</text>"#
        ))
    }

    /// Columns from the left to the right, as high as `heights` say (0 to 1), each as wide as
    /// `widths` say; drawn in one path, `class` for the form and `colour` for its colour.
    pub fn columns(
        &mut self,
        (colour, class): (&str, &str),
        (y, height): (u32, u32),
        columns: &[(f64, u32)],
    ) -> &mut Self {
        let whole: u32 = columns.iter().map(|(_, width)| width).sum();
        let mut path = format!("M0 {height}");
        let mut x = 0;
        for (share, width) in columns {
            x += width;
            let top = height_of(*share, height);
            // Writing to a String cannot fail.
            let _ = write!(path, "V{top}H{x}");
        }
        self.put(format_args!(
            r#"<svg class="{colour}" y="{y}" width="100%" height="{height}" viewBox="0 0 {whole} {height}" preserveAspectRatio="none"><path class="{class}" d="{path}V{height}"/></svg>"#
        ))
    }

    /// Adds markup.
    pub fn put(&mut self, markup: std::fmt::Arguments<'_>) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(markup);
        self
    }

    /// The whole of it.
    pub fn done(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

/// Where the top of a column is; one that is not empty can be seen.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the height"
)]
fn height_of(share: f64, height: u32) -> u32 {
    let high = (share.clamp(0.0, 1.0) * f64::from(height)).round() as u32;
    height - high.max(u32::from(share > 0.0))
}

/// A place to two decimals.
fn px(x: f64) -> String {
    crate::figures::trimmed(x, 2)
}

/// Three to five round values above 0, up to `most`: 1, 2 or 5 times a power of ten apart.
pub fn ticks(most: f64) -> Vec<f64> {
    let mut step = 10_f64.powf(most.max(1.0).log10().floor() - 1.0).max(1.0);
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(12) {
        if most / step <= 5.0 {
            break;
        }
        step *= factor;
    }
    let ticks = std::iter::successors(Some(step), |tick| Some(tick + step));
    ticks.take_while(|tick| *tick <= most * 1.000_001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(12.0), [5.0, 10.0]);
        assert_eq!(ticks(7_638.0), [2_000.0, 4_000.0, 6_000.0]);
        assert_eq!(ticks(1.0), [1.0]);
        for most in [1.0, 3.0, 9.0, 11.0, 99.0, 101.0, 4_999.0, 1e6, 1e9] {
            let ticks = ticks(most);
            assert!((1..=5).contains(&ticks.len()), "{most}: {ticks:?}");
        }
    }

    #[test]
    fn a_column_that_is_not_empty_can_be_seen_and_texts_are_escaped() {
        assert_eq!(
            (height_of(0.0, 22), height_of(1e-9, 22), height_of(1.0, 22)),
            (22, 21, 0)
        );
        assert_eq!(escaped("<b>\"&"), "&#60;b&#62;&#34;&#38;");
    }
}
