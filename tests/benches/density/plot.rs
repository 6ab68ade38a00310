//! The figures as a picture.

use std::fmt::Write as _;

use crate::report::{Line, number};

const WIDTH: f64 = 1180.0;
/// Where the bars begin and end.
const LEFT: f64 = 560.0;
const RIGHT: f64 = 1090.0;
const TOP: f64 = 90.0;
const BAR: f64 = 10.0;
const OURS: &str = "#1667b7";
const THEIRS: &str = "#e39a3b";
const FRR: &str = "#7a9e3f";
const TARGET: &str = "#b00020";

/// A logarithmic axis over whole decades.
struct Axis {
    first: i32,
    last: i32,
}

impl Axis {
    #[allow(clippy::cast_possible_truncation)]
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut first, mut last) = (0, 1);
        for value in values.filter(|value| *value > 0.0) {
            // Less than a hundredth of any unit here is as good as nothing.
            first = first.min((value.log10().floor() as i32).max(-2));
            last = last.max(value.log10().ceil() as i32);
        }
        Self { first, last }
    }

    /// The position of a value; all that is too small, zero and below included, is where the axis begins.
    fn x(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        let part = if value > 0.0 { (value.log10() - first) / (last - first) } else { 0.0 };
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }
}

/// Paired bars, grouped by scenario. Plain counts are left out: there is no better or worse to see.
pub fn svg(lines: &[Line], facts: &str) -> String {
    let lines: Vec<&Line> = lines.iter().filter(|line| !line.unit.is_empty()).collect();
    let daemons = |line: &Line| [(line.ours, OURS), (line.theirs, THEIRS), (line.frr, FRR)];
    let values = |line: &&Line| daemons(line).map(|(s, _)| s.map_or(0.0, |s| s.median));
    let axis = Axis::over(lines.iter().flat_map(values));
    let mut body = String::new();
    let (mut y, mut scenario) = (TOP, "");
    for line in lines {
        if line.scenario != scenario {
            scenario = line.scenario;
            y += 24.0;
            text(&mut body, 16.0, y - 6.0, "start", "font-weight='bold' font-size='15'", scenario);
        }
        // What ours did not even do leaves its place empty.
        let rows = match (line.theirs, line.frr) {
            (_, Some(_)) => 3.0,
            (Some(_), None) => 2.0,
            (None, None) => 1.0,
        };
        let label = format!("{}: {}, {}", line.load, line.what, line.unit);
        text(&mut body, LEFT - 10.0, y + BAR * rows / 2.0 + 4.0, "end", "", &label);
        let mark = line.target.map(|target| axis.x(target));
        let places = daemons(line).into_iter().zip([(0.0, mark), (1.0, None), (2.0, None)]);
        for ((figure, colour), (row, mark)) in places {
            if let Some(figure) = figure {
                bar(&mut body, &axis, y + BAR * row, figure.median, colour, mark);
            }
        }
        if let Some(x) = mark {
            // Writing to a string does not fail, here and below.
            let _ = writeln!(
                body,
                "<line x1='{x:.1}' x2='{x:.1}' y1='{:.1}' y2='{:.1}' stroke='{TARGET}' stroke-width='2'/>",
                y - 2.0,
                y + BAR + 2.0
            );
        }
        y += BAR * rows + 8.0;
    }
    page(&axis, y + 8.0, facts, &body)
}

/// Title, legend and decades around the bars.
fn page(axis: &Axis, bottom: f64, facts: &str, body: &str) -> String {
    let height = bottom + 30.0;
    let mut page = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height:.0}' \
         viewBox='0 0 {WIDTH} {height:.0}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n"
    );
    text(
        &mut page,
        16.0,
        24.0,
        "start",
        "font-weight='bold' font-size='17'",
        "vrrp-user and keepalived on the same work: less is better",
    );
    // In two lines, as it does not fit in one.
    let middle = facts.match_indices(", ").map(|(at, _)| at + 2).find(|at| *at > facts.len() / 2);
    let (first, second) = facts.split_at_checked(middle.unwrap_or(0)).unwrap_or((facts, ""));
    for (y, facts) in [(42.0, first), (56.0, second)] {
        text(&mut page, 16.0, y, "start", "font-size='11' fill='#555'", facts);
    }
    let legend =
        [(OURS, "vrrp-user"), (THEIRS, "keepalived"), (FRR, "FRR"), (TARGET, "target: at most")];
    let places = [LEFT, LEFT + 110.0, LEFT + 220.0, LEFT + 290.0];
    for ((colour, name), x) in legend.into_iter().zip(places) {
        let _ = writeln!(page, "<rect x='{x}' y='68' width='12' height='10' fill='{colour}'/>");
        text(&mut page, x + 17.0, 77.0, "start", "", name);
    }
    text(&mut page, 16.0, 77.0, "start", "fill='#555'", "logarithmic; each figure in its own unit");
    for decade in axis.first..=axis.last {
        let value = 10f64.powi(decade);
        let x = axis.x(value);
        let _ = writeln!(
            page,
            "<line x1='{x:.1}' x2='{x:.1}' y1='{TOP}' y2='{bottom:.1}' stroke='#ddd'/>"
        );
        let label = if decade < 0 { value.to_string() } else { format!("{value:.0}") };
        text(&mut page, x, bottom + 16.0, "middle", "fill='#555'", &label);
    }
    page + body + "</svg>\n"
}

fn bar(page: &mut String, axis: &Axis, y: f64, value: f64, colour: &str, mark: Option<f64>) {
    let from = axis.x(0.0);
    // Something to see where there is nothing to measure.
    let to = axis.x(value).max(from + 1.5);
    let _ = writeln!(
        page,
        "<rect x='{from}' y='{y:.1}' width='{:.1}' height='{:.1}' fill='{colour}'/>",
        to - from,
        BAR - 1.0
    );
    // The number goes behind a mark that it would cover.
    let end = mark.filter(|mark| (to - 1.0..to + 34.0).contains(mark)).unwrap_or(to);
    text(page, end + 4.0, y + BAR - 1.5, "start", "font-size='10'", &number(value));
}

fn text(page: &mut String, x: f64, y: f64, anchor: &str, style: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        page,
        "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' {style}>{content}</text>"
    );
}
