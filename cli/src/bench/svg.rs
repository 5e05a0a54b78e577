//! A plot as SVG, written by hand: curves of points over a linear x and a logarithmic y axis.
//!
//! Plain text in, plain text out. Colours are fixed and the background is white, so that the file
//! looks the same wherever it is shown.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;
/// The field of the curves: left, top, right, bottom.
const FIELD: (f64, f64, f64, f64) = (74.0, 48.0, 640.0, 464.0);

/// One curve.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) colour: &'static str,
    pub(super) is_dashed: bool,
    /// What stands beside a point stands below it on the left, not above it on the right.
    pub(super) is_below: bool,
    /// x, y above 0, and what to write beside the point.
    pub(super) points: Vec<(f64, f64, String)>,
}

/// What to draw.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) curves: Vec<Curve>,
}

impl Plot {
    /// The whole file.
    pub(super) fn svg(&self) -> String {
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let axes = Axes::around(&self.curves);
        let (left, top, right, bottom) = FIELD;
        write(&mut text, left, 28.0, "font-size=\"16\"", &self.title);
        self.grid(&mut text, &axes);
        let middle = left.midpoint(right);
        write(&mut text, middle, bottom + 42.0, "text-anchor=\"middle\"", &self.x_label);
        let middle = top.midpoint(bottom);
        let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 20 {middle})\"");
        write(&mut text, 20.0, middle, &turned, &self.y_label);
        for (index, curve) in (0_u8..).zip(&self.curves) {
            axes.draw(&mut text, curve);
            let y = top + 20.0 * f64::from(index) + 8.0;
            line(&mut text, (right + 18.0, y), (right + 50.0, y), &curve.style());
            write(&mut text, right + 58.0, y + 4.0, "", &curve.name);
        }
        text.push_str("</svg>\n");
        text
    }

    fn grid(&self, text: &mut String, axes: &Axes) {
        let (left, top, right, bottom) = FIELD;
        let faint = "stroke=\"#ddd\"";
        for step in 0..=5 {
            let x = axes.x_max * f64::from(step) / 5.0;
            let at = axes.x(x);
            line(text, (at, top), (at, bottom), faint);
            write(text, at, bottom + 18.0, "text-anchor=\"middle\"", &number(x));
        }
        for exponent in axes.decades.0..=axes.decades.1 {
            for factor in [1.0, 2.0, 5.0] {
                let y = factor * 10_f64.powi(exponent);
                let at = axes.y(y);
                if at >= top - 0.5 {
                    line(text, (left, at), (right, at), faint);
                    write(text, left - 8.0, at + 4.0, "text-anchor=\"end\"", &number(y));
                }
            }
        }
    }
}

impl Curve {
    fn style(&self) -> String {
        let dashes = if self.is_dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        format!("fill=\"none\" stroke-width=\"2\" stroke=\"{}\"{dashes}", self.colour)
    }
}

/// How far the axes go.
struct Axes {
    x_max: f64,
    /// Powers of ten below the least and above the greatest y.
    decades: (i32, i32),
}

impl Axes {
    #[expect(clippy::cast_possible_truncation, reason = "exponents of measured times are small")]
    fn around(curves: &[Curve]) -> Self {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let x_max = points().map(|(x, ..)| *x).fold(0.0, f64::max);
        let least = points().map(|(_, y, _)| *y).fold(f64::INFINITY, f64::min);
        let most = points().map(|(_, y, _)| *y).fold(0.0, f64::max);
        if !(least > 0.0 && least.is_finite()) {
            return Self { x_max: 1.0, decades: (0, 1) };
        }
        let (from, to) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        // Five steps of a whole number, or of a tenth.
        let step = if x_max > 5.0 { (x_max / 5.0).ceil() } else { (x_max * 2.0).ceil() / 10.0 };
        Self { x_max: (step * 5.0).max(0.1), decades: (from, to.max(from + 1)) }
    }

    fn x(&self, x: f64) -> f64 {
        FIELD.0 + (FIELD.2 - FIELD.0) * x / self.x_max
    }

    fn y(&self, y: f64) -> f64 {
        let (from, to) = (f64::from(self.decades.0), f64::from(self.decades.1));
        FIELD.3 - (FIELD.3 - FIELD.1) * (y.log10() - from) / (to - from)
    }

    fn draw(&self, text: &mut String, curve: &Curve) {
        let mut path = String::new();
        for (x, y, _) in &curve.points {
            // Writing to a string cannot fail.
            let _ = write!(path, "{:.1},{:.1} ", self.x(*x), self.y(*y));
        }
        let _ = writeln!(text, "<polyline points=\"{}\" {}/>", path.trim_end(), curve.style());
        for (x, y, label) in &curve.points {
            let (x, y) = (self.x(*x), self.y(*y));
            let colour = curve.colour;
            let _ =
                writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            let (anchor, right, down) =
                if curve.is_below { ("end", -5.0, 12.0) } else { ("start", 5.0, -5.0) };
            let attributes = format!("font-size=\"10\" text-anchor=\"{anchor}\" fill=\"{colour}\"");
            write(text, x + right, y + down, &attributes, label);
        }
    }
}

fn line(text: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
    let _ = writeln!(text, "<line {ends} {style}/>");
}

fn write(text: &mut String, x: f64, y: f64, attributes: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{words}</text>");
}

/// A number on an axis, without digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_where_their_numbers_say_and_words_are_escaped() {
        let points = vec![(0.0, 10.0, "a<b".to_owned()), (10.0, 1_000.0, String::new())];
        let name = "curve".to_owned();
        let curve = Curve { name, colour: "#123456", is_dashed: true, is_below: false, points };
        let labels = ("x", "y");
        let plot = Plot {
            title: "t & u".into(),
            x_label: labels.0.into(),
            y_label: labels.1.into(),
            curves: vec![curve],
        };
        let svg = plot.svg();
        // The least and the greatest of both axes: the corners of the field.
        assert!(svg.contains("points=\"74.0,464.0 640.0,48.0\""), "{svg}");
        for part in ["t &amp; u", "a&lt;b", "stroke-dasharray", ">100<", ">curve<"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        let none = String::new;
        let plot = Plot { title: none(), x_label: none(), y_label: none(), curves: Vec::new() };
        assert!(!plot.svg().contains("NaN") && !plot.svg().contains("inf"));
    }
}
