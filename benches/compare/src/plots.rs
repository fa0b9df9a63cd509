//! Results as pictures: for each work a bar for each rival, and the cost against the size of the data.

use std::{fs, path::Path};

use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries,
        Palette, Palette99, PathElement, Rectangle, SVGBackend, SeriesLabelPosition, Text,
        TextStyle,
    },
    style::{BLACK, IntoTextStyle, RGBColor, ShapeStyle, WHITE},
};

use crate::{
    Result,
    results::{Group, Results},
    table::cost,
    work::{Unit, Work},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: (&str, u32) = ("sans-serif", 13);
const TITLE: (&str, u32) = ("sans-serif", 17);
const OURS: RGBColor = RGBColor(0x1B, 0x7F, 0x5C);
const RIVALS: RGBColor = RGBColor(0x8A, 0x94, 0xA6);

/// Draws all plots into a folder.
pub(crate) fn draw(results: &Results, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let groups = results.groups();
    for work in Work::ALL {
        let of_work: Vec<&Group<'_>> =
            groups.iter().filter(|group| group.work() == work && group.threads() == 1).collect();
        // The size in the middle tells the most: neither the processor's cache nor the disk.
        if let Some(group) = of_work.get(of_work.len() / 2) {
            bars(results, group, &folder.join(format!("{}.svg", work.id())))?;
        }
        if of_work.len() > 1 {
            lines(results, &of_work, &folder.join(format!("{}-by-size.svg", work.id())))?;
        }
    }
    Ok(())
}

fn area(path: &Path, size: (u32, u32)) -> Result<Area<'_>> {
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

fn color(results: &Results, rival: &str) -> RGBColor {
    if results.is_ours(rival) { OURS } else { RIVALS }
}

/// What is drawn: times as they are, throughput as the time of a gigabyte, so that less is better.
fn height(work: Work, ns: f64) -> f64 {
    match work.unit() {
        Unit::Throughput => ns * 1e9,
        Unit::Each | Unit::Time => ns,
    }
}

fn axis(work: Work) -> &'static str {
    match work.unit() {
        Unit::Throughput => "time of a gigabyte, logarithmic; less is better",
        Unit::Each | Unit::Time => "time, logarithmic; less is better",
    }
}

fn time(ns: &f64) -> String {
    cost(Work::Read4k, *ns)
}

/// The range of some costs on a logarithmic axis, with room on both sides.
fn range(costs: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, greatest) = costs.fold((f64::INFINITY, 0.0_f64), |(least, greatest), cost| {
        (least.min(cost), greatest.max(cost))
    });
    least / 2.0..greatest * 4.0
}

fn bars(results: &Results, group: &Group<'_>, path: &Path) -> Result<()> {
    let work = group.work();
    let count = i32::try_from(group.all.len())?;
    let root = area(path, (760, 90 + 26 * count.unsigned_abs()))?;
    let size = match group.size_mib() {
        0 => String::new(),
        size => format!(", {size} MiB"),
    };
    let costs = range(group.all.iter().map(|series| height(work, series.median())));
    let least = costs.start;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{}{size}", work.title()), TITLE)
        .margin(10)
        .margin_left(130)
        .x_label_area_size(36)
        .build_cartesian_2d(costs.log_scale(), 0.0..f64::from(count))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .x_label_formatter(&time)
        .x_desc(axis(work))
        .label_style(FONT)
        .light_line_style(WHITE)
        .draw()?;
    let style: TextStyle<'_> = FONT.into_text_style(&root).color(&BLACK);
    for (place, series) in (0_i32..).zip(group.all) {
        let (top, bottom) = (f64::from(count - place), f64::from(count - place - 1));
        let height = height(work, series.median());
        let filled = color(results, &series.rival).filled();
        let bar = Rectangle::new([(least, bottom + 0.15), (height, top - 0.15)], filled);
        let label = format!("{}  ({})", series.rival, cost(work, series.median()));
        chart.draw_series([bar])?;
        chart.draw_series([Text::new(label, (height * 1.05, top - 0.3), style.clone())])?;
    }
    Ok(root.present()?)
}

fn lines(results: &Results, groups: &[&Group<'_>], path: &Path) -> Result<()> {
    let work = groups[0].work();
    let root = area(path, (760, 460))?;
    let every = groups.iter().flat_map(|group| group.all);
    let costs = range(every.map(|series| height(work, series.median())));
    let sizes = range(groups.iter().map(|group| group.size_mib() as f64));
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{}, by size", work.title()), TITLE)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d(sizes.log_scale(), costs.log_scale())?;
    chart
        .configure_mesh()
        .x_label_formatter(&|mebibytes| format!("{mebibytes:.0} MiB"))
        .y_label_formatter(&time)
        .x_desc("size of the data")
        .y_desc(axis(work))
        .label_style(FONT)
        .light_line_style(WHITE)
        .draw()?;
    for (number, entry) in results.rivals.iter().enumerate() {
        let points: Vec<(f64, f64)> = groups
            .iter()
            .filter_map(|group| Some((group.size_mib(), group.of(&entry.name)?)))
            .map(|(size, series)| (size as f64, height(work, series.median())))
            .collect();
        if points.is_empty() {
            continue;
        }
        let width = if entry.is_ours { 3 } else { 1 };
        let style: ShapeStyle = Palette99::pick(number).stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(&entry.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        chart.draw_series(points.into_iter().map(|at| Circle::new(at, 3, style.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font(FONT)
        .draw()?;
    Ok(root.present()?)
}
