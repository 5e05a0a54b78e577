//! Colours, letters and plain shapes of the plots. Knows pixels and no figures.

use std::path::Path;

use anyhow::{Result, anyhow};
use peer_measure::Class;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) const INK: RGBColor = RGBColor(33, 37, 41);
pub(crate) const QUIET: RGBColor = RGBColor(108, 117, 125);
pub(crate) const LINE: RGBColor = RGBColor(222, 226, 230);
const FONT: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

/// A drawing in pixels, from the top left.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Where letters stand beside the point they are drawn at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Left,
    Middle,
    Right,
}

/// A white page of a size.
pub(crate) fn page(path: &Path, width: u32, height: u32) -> Result<Area<'_>> {
    let area = SVGBackend::new(path, (width, height)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    Ok(area)
}

/// Letters of a size; `Side::Left` ends at the point, `Side::Right` begins there.
pub(crate) fn letters(size: i32, colour: RGBColor, bold: bool, side: Side) -> TextStyle<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let anchor = match side {
        Side::Left => HPos::Right,
        Side::Middle => HPos::Center,
        Side::Right => HPos::Left,
    };
    let mut font = (FONT, size, style).into_text_style(&(0, 0));
    font.color = colour.to_backend_color();
    font.pos(Pos::new(anchor, VPos::Center))
}

/// Draws text.
pub(crate) fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    style: &TextStyle<'_>,
) -> Result<()> {
    area.draw_text(text, style, at).map_err(|error| anyhow!("{error}"))
}

/// Draws a filled box.
pub(crate) fn block(area: &Area<'_>, corners: [(i32, i32); 2], colour: RGBColor) -> Result<()> {
    area.draw(&Rectangle::new(corners, colour.filled())).map_err(|error| anyhow!("{error}"))
}

/// Draws a line through points.
pub(crate) fn path(
    area: &Area<'_>,
    points: Vec<(i32, i32)>,
    colour: RGBColor,
    width: u32,
) -> Result<()> {
    let line = PathElement::new(points, colour.stroke_width(width));
    area.draw(&line).map_err(|error| anyhow!("{error}"))
}

/// The colour of a class.
pub(crate) const fn class_colour(class: Class) -> RGBColor {
    match class {
        Class::Reliable => RGBColor(25, 113, 194),
        Class::BestEffort => RGBColor(232, 119, 34),
        Class::SameHost => RGBColor(112, 72, 232),
        Class::Broker => RGBColor(201, 42, 90),
    }
}

/// Half way to white, for all that is not Wireloom.
pub(crate) const fn pale(colour: RGBColor) -> RGBColor {
    const fn half(value: u8) -> u8 {
        255 - (255 - value) / 2
    }
    RGBColor(half(colour.0), half(colour.1), half(colour.2))
}

/// A whole number of pixels.
#[expect(clippy::cast_possible_truncation, reason = "a place on a page of a few thousand pixels")]
pub(crate) fn pixels(value: f64) -> i32 {
    value.round() as i32
}
