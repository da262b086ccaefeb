//! Plots as SVG: lines over a logarithmic axis, and bars.

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::{Plot, Series, measurement::number, outcome::PlotKind};

const SIZE: (u32, u32) = (820, 440);
const FONT: &str = "sans-serif";
/// Colours that are told apart by most people's eyes (Okabe and Ito), the project's own first.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The file's text.
///
/// # Errors
/// The plot has no points, or the crate refuses it.
pub fn svg(plot: &Plot) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", plot.name);
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        match plot.kind {
            PlotKind::Lines => lines(plot, &area),
            PlotKind::Bars => bars(plot, &area),
        }?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(text)
}

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

fn points(plot: &Plot) -> impl Iterator<Item = (f64, f64)> {
    plot.series.iter().flat_map(|series| series.points.iter().copied())
}

/// A little more than the greatest value.
fn top(plot: &Plot) -> Result<f64> {
    let top = points(plot).map(|(_, y)| y).fold(0.0, f64::max);
    if top > 0.0 { Ok(top * 1.1) } else { Err(anyhow!("{} has nothing to show", plot.name)) }
}

fn lines(plot: &Plot, area: &Area<'_>) -> Result<()> {
    let top = top(plot)?;
    let left = points(plot).map(|(x, _)| x).fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
    let right = points(plot).map(|(x, _)| x).fold(left * 10.0, f64::max);
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", plot.name);
    let mut chart = ChartBuilder::on(area)
        .caption(&plot.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d((left..right * 1.2).log_scale(), 0.0..top)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc(&plot.x_label)
        .y_desc(&plot.y_label)
        .light_line_style(WHITE)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .label_style((FONT, 14))
        .draw()
        .map_err(|error| failed(&error))?;
    for (place, series) in plot.series.iter().enumerate() {
        let colour = colour(place);
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)).point_size(4))
            .map_err(|error| failed(&error))?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font((FONT, 14))
        .draw()
        .map_err(|error| failed(&error))
}

/// Lying bars, the first one at the top, each with its value behind it.
fn bars(plot: &Plot, area: &Area<'_>) -> Result<()> {
    let top = top(plot)?;
    let count = plot.series.len();
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", plot.name);
    let mut chart = ChartBuilder::on(area)
        .caption(&plot.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(230)
        .build_cartesian_2d(0.0..top * 1.1, 0.0..count as f64)
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc(&plot.y_label)
        .light_line_style(WHITE)
        .x_label_formatter(&|x| short(*x))
        .label_style((FONT, 14))
        .draw()
        .map_err(|error| failed(&error))?;
    let value = |series: &Series| series.points.first().map_or(0.0, |(_, y)| *y);
    let row = |place: usize| (count - 1 - place) as f64;
    chart
        .draw_series(plot.series.iter().enumerate().map(|(place, series)| {
            let filled = colour(place.min(1)).filled();
            Rectangle::new([(0.0, row(place) + 0.2), (value(series), row(place) + 0.8)], filled)
        }))
        .map_err(|error| failed(&error))?;
    chart
        .draw_series(plot.series.iter().enumerate().map(|(place, series)| {
            let behind = (value(series) + top * 0.01, row(place) + 0.58);
            Text::new(number(value(series)), behind, (FONT, 14))
        }))
        .map_err(|error| failed(&error))?;
    // Names stand left of the axis, in pixels of the whole area.
    for (place, series) in plot.series.iter().enumerate() {
        let (_, y) = chart.backend_coord(&(0.0, row(place) + 0.58));
        area.draw(&Text::new(series.name.clone(), (14, y), (FONT, 14))).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// A number as an axis shows it: 10 k, 2.5 M.
fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        magnitude if magnitude >= 1e6 => (value / 1e6, " M"),
        magnitude if magnitude >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{suffix}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn plot(kind: PlotKind, series: Vec<Series>) -> Plot {
        Plot {
            name: "x".to_owned(),
            title: "A < B".to_owned(),
            x_label: "flows".to_owned(),
            y_label: "ns".to_owned(),
            kind,
            series,
        }
    }

    #[test]
    fn every_series_is_in_the_legend_of_lines() {
        let series = |name: &str| Series { name: name.to_owned(), points: vec![(1.0, 10.0), (1e6, 100.0)] };
        let text = svg(&plot(PlotKind::Lines, vec![series("table"), series("hash map")])).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        for word in ["table", "hash map", "flows", "A &lt; B", "1 M"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn every_bar_has_its_name_and_value() {
        let text =
            svg(&plot(PlotKind::Bars, vec![Series::bar("netflow", 65.0), Series::bar("others", 2469.0)]))
                .unwrap();
        for word in ["netflow", "65.0", "others", "2,469"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn a_plot_of_nothing_is_refused() {
        assert!(svg(&plot(PlotKind::Bars, vec![])).is_err());
        assert!(svg(&plot(PlotKind::Lines, vec![])).is_err());
    }

    #[test]
    fn axes_show_short_numbers() {
        assert_eq!([0.0, 64.0, 1000.0, 2500.0, 1e6].map(short), ["0", "64", "1 k", "2.5 k", "1 M"]);
    }
}
