//! Draws the model.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, Borders, Clear, Padding, Paragraph, Row as Cells, Table, TableState,
};
use unicode_width::UnicodeWidthStr;

use super::hit::Hits;
use super::model::{Column, Daemon, Mode, Model, Pane, Row, STATES, State};
use crate::cli::status::{count_problems, format_duration};
use crate::cli::terminal::{Terminal, cut, cut_within};

/// From this width on, all panes stand side by side.
const WIDE: u16 = 160;
/// The name keeps at least so much, and more than that where only addresses have to go.
const NAME_MIN: usize = 10;
const NAME_WANTED: usize = 24;
/// What goes first where there is not enough room; what is sorted by stays.
const DROPPED: [Column; 6] = [
    Column::Addresses,
    Column::TxTraffic,
    Column::RxTraffic,
    Column::Interface,
    Column::Priority,
    Column::Refused,
];
/// The reason for a state is shown where there is so much room left.
const REASON_MIN: usize = 16;

/// Takes the colours away, and leaves what is bold or reversed.
pub fn uncolour(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
    }
}

pub fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let area = frame.area();
    let pane_height = match area.height {
        0..16 => 0,
        16..30 => 7,
        height => (height / 4).min(16),
    };
    let unread = unread(model, area.height / 8);
    let [head, notes, table, pane, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(u16::try_from(unread.len()).unwrap_or_default()),
        Constraint::Min(2),
        Constraint::Length(pane_height),
        Constraint::Length(1),
    ])
    .areas(area);
    model.hits = Hits::default();
    // First: it settles which rows are visible.
    let rows = draw_table(frame, model, table);
    frame.render_widget(Paragraph::new(header(model, rows, head.width)), head);
    frame.render_widget(Paragraph::new(unread).yellow(), notes);
    let below = table.union(pane);
    if model.mode == Mode::Router {
        frame.render_widget(Clear, below);
        draw_pane(frame, model, Pane::Router, below, Line::from(" Router ").bold());
    } else if pane.height > 0 {
        draw_panes(frame, model, pane);
    }
    frame.render_widget(footer(model, foot.width), foot);
    let refused = model.answer.as_ref().and_then(|answer| answer.as_ref().err());
    match (model.mode, &model.asked) {
        (Mode::Help, _) => draw_help(frame, model, area),
        (Mode::Confirm, Some(action)) => {
            draw_box(frame, " Please confirm ", &action.question(), area);
        }
        (Mode::Refused, _) => {
            draw_box(frame, " Refused ", refused.map_or(&[], std::slice::from_ref), area);
        }
        (Mode::Table | Mode::Filter | Mode::Router | Mode::Confirm, _) => {}
    }
}

/// What cannot be read, in so many lines.
fn unread(model: &Model, height: u16) -> Vec<Line<'static>> {
    let unread = model.reading.as_ref().map_or(&[][..], |reading| &reading.unread);
    let height = usize::from(height).max(1);
    let (shown, left) = match unread.split_at_checked(height - 1) {
        Some((shown, left @ [_, _, ..])) => (shown, left.len()),
        Some(_) | None => (unread, 0),
    };
    let more = (left > 0).then(|| format!("{left} more: `vrrp-user stats` has all"));
    shown.iter().cloned().chain(more).map(Line::from).collect()
}

fn header(model: &Model, rows: usize, width: u16) -> Vec<Line<'static>> {
    let Some(reading) = &model.reading else {
        return vec![Line::from("vrrp-user top: reading...")];
    };
    let mut config = "";
    let left = match &reading.daemon {
        Daemon::Running { pid, uptime_s, config: path } => {
            let mut text = format!("pid {pid}");
            if *uptime_s > 0.0 {
                text.push_str(&format!("  up {}", format_duration(*uptime_s)));
            }
            config = path;
            Span::from(text)
        }
        Daemon::Unreadable(_) => Span::from(" DAEMON OF ANOTHER VERSION ").red().reversed(),
        Daemon::Stopped(_) => Span::from(" DAEMON GONE, only its maps are there ").red().reversed(),
        Daemon::Nothing(_) => Span::from(" NO DAEMON, NO MAPS ").red().reversed(),
    };
    let mut first = vec![
        Span::from("vrrp-user top").bold(),
        Span::from(format!("  instance {}  ", reading.instance)),
        left,
    ];
    let used: usize = first.iter().map(Span::width).sum();
    let room = usize::from(width).saturating_sub(used + reading.clock.len());
    let config = if config.is_empty() { String::new() } else { format!("  {config}") };
    let config = cut(&config, room.saturating_sub(2));
    first.push(Span::from(format!("{config:<room$}{}", reading.clock)));
    let mut second = vec![Span::from(format!("{} routers:", model.rows.len()))];
    for state in STATES {
        let count = model.count(state);
        let style = if count > 0 { style(state) } else { Style::new().dim() };
        second.push(Span::from(format!("  {count} {}", state.name())).style(style));
    }
    let problems = count_problems(model.problems().len());
    second.extend(problems.map(|problems| Span::from(format!("  {problems}")).red().bold()));
    if let Some(state) = model.only {
        second.push(Span::from(format!("   only {}", state.name())).yellow());
    }
    if !model.filter.is_empty() || model.mode == Mode::Filter {
        second.push(Span::from(format!("   /{}", model.filter)).yellow());
    }
    if model.shown.len() > rows {
        let first = model.first;
        let place = format!("{}-{} of {}", first + 1, first + rows, model.shown.len());
        let used: usize = second.iter().map(Span::width).sum();
        let room = usize::from(width).saturating_sub(used + place.len());
        second.push(Span::from(format!("{}{place}", " ".repeat(room.max(2)))));
    }
    let third = match (&reading.daemon, &reading.no_maps) {
        (Daemon::Nothing(why) | Daemon::Stopped(why) | Daemon::Unreadable(why), _) => {
            Line::from(cut(why, width.into())).dim()
        }
        (Daemon::Running { .. }, Some(why)) => {
            Line::from(cut(&format!("no counters: {why}"), width.into())).yellow()
        }
        (Daemon::Running { .. }, None) => {
            let refused = model.total_refused();
            let refused_style = match refused {
                Some(rate) if rate > 0.0 => Style::new().fg(Color::Red),
                Some(_) | None => Style::new(),
            };
            Line::from(vec![
                Span::from(format!(
                    "adverts {}/s in, {}/s out, ",
                    rate(model.total(|r| r.received)),
                    rate(model.total(|r| r.sent))
                )),
                Span::from(format!("{}/s refused", rate(refused))).style(refused_style),
                Span::from(format!(
                    "; VIP traffic {}B/s in, {}B/s out",
                    bytes(model.total(|r| r.rx_bytes)),
                    bytes(model.total(|r| r.tx_bytes))
                )),
            ])
        }
    };
    vec![Line::from(first), Line::from(second), third]
}

fn style(state: State) -> Style {
    match state {
        State::Master => Style::new().fg(Color::Green),
        State::Backup => Style::new(),
        State::Fault => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        State::Init => Style::new().fg(Color::Yellow),
    }
}

/// Returns the number of rows that are visible.
fn draw_table(frame: &mut Frame<'_>, model: &mut Model, area: Rect) -> usize {
    let lines = usize::from(area.height.saturating_sub(1));
    let sort = model.sort;
    let mark = if model.is_descending() { "▼" } else { "▲" };
    let counted = model.reading.as_ref().is_none_or(|reading| reading.no_maps.is_none());
    let (rows, selected) = model.visible(lines);
    let widths = widths(&rows, sort, area.width.into(), counted);
    let head = widths.iter().map(|(column, _)| {
        let title = if *column == sort {
            format!("{}{mark}", column.title())
        } else {
            column.title().to_owned()
        };
        Line::from(title).alignment(alignment(*column))
    });
    let head = Cells::new(head).style(Style::new().add_modifier(Modifier::REVERSED));
    let cells = rows.iter().map(|row| {
        Cells::new(widths.iter().map(|(column, width)| {
            let text = cell(row, *column);
            // Its end tells one router from the next.
            let is_name = *column == Column::Name;
            let text = if is_name { cut_within(&text, *width) } else { cut(&text, *width) };
            let line = Line::from(text).alignment(alignment(*column));
            if *column == Column::State {
                // As bad as a fault.
                let state = if row.router.fenced { State::Fault } else { row.router.state };
                line.style(style(state))
            } else if *column == Column::Refused && row.rates.refused.is_some_and(|rate| rate > 0.0)
            {
                line.red()
            } else if *column == Column::Reason {
                line.dim()
            } else {
                line
            }
        }))
    });
    let mut x = area.x;
    let heads = widths.iter().map(|(column, width)| {
        let width = u16::try_from(*width).unwrap_or(u16::MAX);
        let place = Rect { x, width, height: 1, ..area };
        x = x.saturating_add(width).saturating_add(1);
        (place, *column)
    });
    let heads = heads.collect();
    let constraints = widths
        .iter()
        .map(|(_, width)| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
    let mut state = TableState::new();
    if !rows.is_empty() {
        state.select(Some(selected));
    }
    let visible = rows.len();
    let table = Table::new(cells, constraints)
        .header(head)
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut state);
    if visible == 0 && area.height > 1 {
        let text =
            if model.rows.is_empty() { "no routers" } else { "nothing matches; Esc shows all" };
        let below = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(text).dim(), below);
    }
    let height = u16::try_from(visible).unwrap_or(u16::MAX).min(area.height.saturating_sub(1));
    (model.hits.heads, model.hits.rows) = (heads, Rect { y: area.y + 1, height, ..area });
    visible
}

/// The columns for which there is room, with their widths: as wide as needed, the name no wider than what is
/// left, and the reason for the state as wide as that. There are no rates where nothing is `counted`.
fn widths(rows: &[&Row], sort: Column, width: usize, counted: bool) -> Vec<(Column, usize)> {
    let mut columns: Vec<(Column, usize)> = Vec::new();
    for (column, ..) in Column::ALL {
        if !counted && is_rate(column) && column != sort {
            continue;
        }
        let widest = rows.iter().map(|row| cell(row, column).width()).max().unwrap_or(0);
        // A head, and its mark of order.
        let least = column.title().width() + usize::from(column == sort);
        let wanted = match column {
            Column::Name => widest,
            Column::Master => widest.min(39),
            Column::Interface => widest.min(15),
            Column::Addresses => widest.min(22),
            Column::Vrid | Column::Priority => widest,
            Column::State | Column::Since => 6,
            // So that nothing moves with every second.
            Column::Received
            | Column::Sent
            | Column::Refused
            | Column::RxTraffic
            | Column::TxTraffic => 5,
            Column::Reason => continue,
        };
        columns.push((column, wanted.max(least)));
    }
    let others = |columns: &[(Column, usize)]| -> usize {
        columns.iter().skip(1).map(|(_, width)| width + 1).sum()
    };
    let name = columns[0].1;
    // What says nothing at the moment gives way to names and reasons.
    for (column, _) in columns.clone().into_iter().filter(|(column, _)| *column != sort) {
        let wanted = others(&columns) + name + 1 + REASON_MIN;
        if wanted > width && rows.iter().all(|row| is_zero(row, column)) {
            columns.retain(|(kept, _)| *kept != column);
        }
    }
    for dropped in DROPPED.into_iter().filter(|column| *column != sort) {
        let least = if dropped == Column::Addresses { NAME_WANTED } else { NAME_MIN };
        if others(&columns) + name.min(least) <= width {
            break;
        }
        columns.retain(|(column, _)| *column != dropped);
    }
    columns[0].1 = name.min(width.saturating_sub(others(&columns)).max(1));
    let left = width.saturating_sub(columns[0].1 + others(&columns) + 1);
    if left >= REASON_MIN {
        columns.push((Column::Reason, left));
    }
    columns
}

/// Whether it comes from the maps.
fn is_rate(column: Column) -> bool {
    match column {
        Column::Received
        | Column::Sent
        | Column::Refused
        | Column::RxTraffic
        | Column::TxTraffic => true,
        Column::Name
        | Column::Interface
        | Column::Vrid
        | Column::State
        | Column::Priority
        | Column::Master
        | Column::Since
        | Column::Addresses
        | Column::Reason => false,
    }
}

/// Whether nothing happens there.
fn is_zero(row: &Row, column: Column) -> bool {
    let rate = match column {
        Column::Refused => row.rates.refused,
        Column::RxTraffic => row.rates.rx_bytes,
        Column::TxTraffic => row.rates.tx_bytes,
        Column::Name
        | Column::Interface
        | Column::Vrid
        | Column::State
        | Column::Priority
        | Column::Master
        | Column::Since
        | Column::Received
        | Column::Sent
        | Column::Addresses
        | Column::Reason => return false,
    };
    rate.is_some_and(|rate| rate == 0.0)
}

fn alignment(column: Column) -> Alignment {
    if column.is_amount() || matches!(column, Column::Vrid | Column::Since) {
        Alignment::Right
    } else {
        Alignment::Left
    }
}

fn cell(row: &Row, column: Column) -> String {
    let router = &row.router;
    match column {
        Column::Name => router.name.clone(),
        Column::Interface => router.interface.clone(),
        Column::Vrid => router.vrid.to_string(),
        Column::State => router.state_name().to_owned(),
        Column::Priority => router.priority.to_string(),
        Column::Master => router.master.clone().unwrap_or_else(|| "-".to_owned()),
        Column::Since => router.since_s.map_or_else(|| "-".to_owned(), format_duration),
        Column::Received => rate(row.rates.received),
        Column::Sent => rate(row.rates.sent),
        Column::Refused => rate(row.rates.refused),
        Column::RxTraffic => bytes(row.rates.rx_bytes),
        Column::TxTraffic => bytes(row.rates.tx_bytes),
        Column::Addresses => router.detail("addresses").unwrap_or("-").to_owned(),
        Column::Reason => router.detail("reason").unwrap_or("-").to_owned(),
    }
}

fn draw_panes(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let title = |pane: Pane, chosen: Pane| {
        let title = Span::from(pane.title());
        if pane == chosen { title.bold().reversed() } else { title.dim() }
    };
    if area.width >= WIDE {
        let shown = Pane::ALL.into_iter();
        let shown = shown.filter(|pane| *pane != Pane::Problems || !model.problems().is_empty());
        let shown: Vec<Pane> = shown.collect();
        let fills = (0..shown.len()).map(|place| Constraint::Fill(if place == 0 { 4 } else { 3 }));
        let areas = Layout::horizontal(fills).split(area);
        for (pane, &area) in shown.into_iter().zip(areas.iter()) {
            let title = Line::from(vec![" ".into(), title(pane, model.pane), " ".into()]);
            model.hits.tabs.push((Rect { height: 1, ..area }, pane));
            draw_pane(frame, model, pane, area, title);
        }
        return;
    }
    let mut titles = vec![Span::from(" ")];
    let mut x = area.x + 1;
    for pane in Pane::ALL {
        let title = title(pane, model.pane);
        let width = u16::try_from(title.width()).unwrap_or_default();
        model.hits.tabs.push((Rect { x, width, height: 1, ..area }, pane));
        x += width + 1;
        titles.extend([title, Span::from(" ")]);
    }
    draw_pane(frame, model, model.pane, area, Line::from(titles));
}

/// All lines of it, of which the screen has those from where it is scrolled to.
fn draw_pane(frame: &mut Frame<'_>, model: &mut Model, pane: Pane, area: Rect, title: Line<'_>) {
    let inside = Rect {
        y: area.y.saturating_add(1),
        height: area.height.saturating_sub(1),
        // A space between panes.
        width: area.width.saturating_sub(1),
        ..area
    };
    let (lines, width) = (usize::from(inside.height), usize::from(inside.width));
    let text: Vec<Line<'_>> = match pane {
        Pane::Problems if model.problems().is_empty() => {
            let known = model.reading.as_ref().is_some_and(|it| is_running(&it.daemon));
            let said = if known { "nothing is wrong" } else { "not known without a daemon" };
            vec![Line::from(said).dim()]
        }
        Pane::Problems => {
            let problems = model.problems().iter().flat_map(|problem| wrap(problem, width, 4));
            problems.map(Line::red).collect()
        }
        Pane::Refusals => refusals(model, width),
        Pane::Events if model.events.is_empty() => {
            vec![Line::from("nothing has changed so far").dim()]
        }
        Pane::Events => model.events.iter().flat_map(|event| wrap(event, width, 9)).collect(),
        Pane::Router => details(model, width),
    };
    let (all, is_scrolled) = (text.len(), pane == model.pane);
    let first = if is_scrolled { model.scroll.min(all.saturating_sub(lines)) } else { 0 };
    if is_scrolled {
        model.scroll = first;
    }
    let mut block = Block::new().borders(Borders::TOP).title(title);
    if all > lines && lines > 0 {
        let keys = if !is_scrolled || model.mode == Mode::Router { "" } else { "  J K" };
        let place = format!(" {}-{} of {all}{keys} ", first + 1, first + lines);
        block = block.title(Line::from(place).right_aligned().dim());
    }
    frame.render_widget(block, area);
    let text: Vec<Line<'_>> = text.into_iter().skip(first).take(lines).collect();
    frame.render_widget(Paragraph::new(text), inside);
    model.hits.panes.push((inside, pane));
}

/// A text on as many lines as it takes.
fn wrap(text: &str, width: usize, indent: usize) -> Vec<Line<'static>> {
    let terminal = Terminal { width: Some(width), ..Terminal::default() };
    terminal.fit(text, indent).lines().map(|line| Line::from(line.to_owned())).collect()
}

/// In the middle of the screen, above everything else.
fn draw_box(frame: &mut Frame<'_>, title: &str, lines: &[String], area: Rect) {
    let most = usize::from(area.width.saturating_sub(4)).min(76);
    let text: Vec<Line<'_>> = lines.iter().flat_map(|line| wrap(line, most, 0)).collect();
    let size = |wanted: usize, most: u16| u16::try_from(wanted).unwrap_or(u16::MAX).min(most);
    let widest = text.iter().map(Line::width).max().unwrap_or(0);
    let width = size(widest.max(title.width()) + 4, area.width);
    let height = size(text.len() + 2, area.height);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(title.to_owned()).padding(Padding::horizontal(1));
    frame.render_widget(Paragraph::new(text).block(block), place);
}

/// Whether somebody says what is wrong.
fn is_running(daemon: &Daemon) -> bool {
    match daemon {
        Daemon::Running { .. } => true,
        Daemon::Unreadable(_) | Daemon::Stopped(_) | Daemon::Nothing(_) => false,
    }
}

fn refusals(model: &Model, width: usize) -> Vec<Line<'static>> {
    if model.refused.is_empty() {
        let counted = model.reading.as_ref().is_some_and(|reading| reading.no_maps.is_none());
        let said = if counted { "nothing was refused" } else { "not known without counters" };
        return vec![Line::from(said).dim()];
    }
    let head = format!("{:<17} {:>9} {:>6}  {}", "REASON", "PACKETS", "PER s", "LAST FROM");
    let mut text = vec![Line::from(cut(&head, width)).dim()];
    for refused in &model.refused {
        let line = format!(
            "{:<17} {:>9} {:>6}  {}",
            refused.refusal.reason.name(),
            refused.refusal.packets,
            rate(refused.rate),
            refused.refusal.last.as_deref().unwrap_or("-")
        );
        let line = Line::from(cut(&line, width));
        text.push(if refused.rate.is_some_and(|rate| rate > 0.0) { line.red() } else { line });
    }
    text
}

fn details(model: &Model, width: usize) -> Vec<Line<'static>> {
    let Some(row) = model.selected() else {
        return vec![Line::from("no router is selected").dim()];
    };
    let router = &row.router;
    let place = format!(
        "{}  {} vrid {} v{} {} since {}, prio {}, master {}",
        router.name,
        router.interface,
        router.vrid,
        router.version,
        router.state_name(),
        router.since_s.map_or_else(|| "-".to_owned(), format_duration),
        router.priority,
        router.master.as_deref().unwrap_or("-")
    );
    let mut text = wrap(&place, width, 0);
    if let Some(first) = text.first_mut() {
        *first = std::mem::take(first).bold();
    }
    for (name, value) in &router.details {
        let lines = wrap(&format!("{name:<9} {value}"), width, 10);
        text.extend(
            lines.into_iter().map(|line| if *name == "problem" { line.red() } else { line }),
        );
    }
    if let Some(counters) = router.counters {
        text.push(Line::from(format!(
            "adverts   {} accepted, {} sent, {} refused",
            counters.received, counters.sent, counters.refused
        )));
    }
    if router.traffic.is_some() {
        text.push(Line::from(format!(
            "traffic   {}B/s in, {}B/s out",
            bytes(row.rates.rx_bytes),
            bytes(row.rates.tx_bytes)
        )));
    }
    text
}

fn footer(model: &Model, width: u16) -> Paragraph<'static> {
    if let Some(Ok(done)) = &model.answer {
        return Paragraph::new(Line::from(cut(done, width.into())).green());
    }
    let keys: &[(&str, &str)] = match model.mode {
        Mode::Table => &[
            ("q", "quit"),
            ("?", "help"),
            ("/", "filter"),
            ("f", "state"),
            ("Tab", "pane"),
            ("nivspmtaoxrw", "sort"),
            ("S", "step-down"),
        ],
        Mode::Filter => {
            &[("Enter", "keep"), ("Esc", "clear"), ("text", "name, interface, VRID, address")]
        }
        Mode::Help | Mode::Refused => &[("any key", "back")],
        Mode::Router => &[("Esc", "back"), ("j k", "scroll"), ("S", "step-down"), ("U", "resume")],
        Mode::Confirm => &[("y", "yes"), ("any other key", "no")],
    };
    let mut spans = Vec::new();
    for (key, does) in keys {
        spans.push(Span::from((*key).to_owned()).bold());
        spans.push(Span::from(format!(" {does}  ")).dim());
    }
    Paragraph::new(Line::from(spans))
}

fn draw_help(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let mut text = vec![
        Line::from("j k, arrows, PgUp PgDn, Home End, wheel   move; a click selects or sorts"),
        Line::from("/ text     filter by name, interface, VRID, state, address"),
        Line::from("f          only MASTER, BACKUP, FAULT, INIT; all    Esc  no filter"),
        Line::from("Tab, J K   next pane; scroll it                     q  quit"),
        Line::from("Enter      the selected router; once more: with all lines"),
        Line::from("S U        step-down and resume of the selected router, after a question"),
        Line::from("Sort by, and with the same key again, or R, the other way round:"),
    ];
    for (_, key, title, meaning) in Column::ALL {
        text.push(Line::from(format!("  {key}  {title:<9} {meaning}")));
    }
    let took =
        model.reading.as_ref().map(|reading| reading.took.as_secs_f64() * 1e3).unwrap_or_default();
    text.push(Line::from(format!(
        "Rates are over 3 s. Last reading {took:.1} ms, drawing {:.1} ms.",
        model.drawn.as_secs_f64() * 1e3
    )));
    let height = u16::try_from(text.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let width = 76.min(area.width);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(text).block(Block::bordered().title(" Help (any key: back) ")),
        place,
    );
}

/// As `0`, `0.3`, `12` or `2.0k`.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 99_999.5 => format!("{rate:.0}"),
        Some(rate) => bytes(Some(rate)),
    }
}

/// As `0`, `950`, `1.5k` or `120M`.
fn bytes(rate: Option<f64>) -> String {
    let Some(mut rate) = rate else { return "-".to_owned() };
    let mut units = ["", "k", "M", "G", "T"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if rate < 9.95 && !unit.is_empty() {
            return format!("{rate:.1}{unit}");
        }
        if rate < 999.5 || units.peek().is_none() {
            return format!("{rate:.0}{unit}");
        }
        rate /= 1000.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{
        KeyCode as Key, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
    };

    use super::super::model::Reading;
    use super::super::model::tests::{model, reading};
    use super::*;
    use crate::docs_tests::sample;

    fn screen(model: &mut Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(width.into());
        lines
            .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>())
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }

    /// Compares with a file; `UPDATE_SNAPSHOTS=1` writes it anew.
    fn same(name: &str, screen: &str) {
        let path = format!("{}/src/cli/top/screens/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, screen).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(screen == expected, "{path} has\n{expected}\nbut the screen is\n{screen}");
    }

    #[test]
    fn a_small_screen() {
        let mut model = model(4080);
        same("80x24.txt", &screen(&mut model, 80, 24));
    }

    #[test]
    fn what_is_wrong_is_seen_first() {
        let mut model = model(300);
        let mut next = reading(300, 103.0);
        next.problems = vec!["VI_250: split brain: another host has it, too".to_owned(); 2];
        next.routers[249].details.push(("problem", "split brain".to_owned()));
        next.routers[249].name = "a-very-long-name-of-customer-250".to_owned();
        model.update(next);
        let shown = screen(&mut model, 80, 24);
        assert!(shown.contains("  2 PROBLEMS"), "{shown}");
        let rows: Vec<&str> = shown.lines().skip(4).collect();
        assert!(rows[0].starts_with("a-v") && rows[0].contains("-250 "), "{shown}");
        assert!(rows[1].starts_with("VI_7 ") && rows[2].starts_with("VI_107 "), "{shown}");
        assert!(rows[4].starts_with("VI_1 "), "{shown}");
        assert!(shown.contains("VI_250: split brain: another host"), "{shown}");
        // Who wants to see something else does.
        model.press(Key::Tab);
        let shown = screen(&mut model, 80, 24);
        assert!(!shown.contains("VI_250: split brain: another host"), "{shown}");
    }

    #[test]
    fn columns_without_anything_give_way() {
        let mut model = model(3);
        let mut idle = reading(3, 103.0);
        for router in &mut idle.routers {
            router.name = "customer-with-a-long-name".to_owned();
            router.traffic = Some(super::super::model::Traffic::default());
        }
        idle.at_s = 110.0;
        model.update(idle.clone());
        idle.at_s = 112.0;
        model.update(idle);
        let shown = screen(&mut model, 80, 24);
        assert!(!shown.contains("RX/s") && !shown.contains("REF/s"), "{shown}");
        assert!(shown.contains("\ncustomer-with-a-long-name eth0 "), "{shown}");
    }

    #[test]
    fn without_colours_the_selection_is_seen() {
        let mut model = model(300);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal
            .draw(|frame| {
                draw(frame, &mut model);
                uncolour(frame.buffer_mut());
            })
            .unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
        let row = &cells[4 * 80..][..40];
        assert!(row.iter().all(|cell| cell.modifier.contains(Modifier::REVERSED)), "{row:?}");
    }

    #[test]
    fn what_is_not_counted_has_no_columns() {
        let mut model = model(3);
        let mut blind = reading(3, 103.0);
        blind.no_maps = Some("no bpffs at /sys/fs/bpf or /run/vrrp-user/bpf; ".repeat(3));
        for router in &mut blind.routers {
            router.name = "customer-with-a-long-name".to_owned();
            router.traffic = None;
        }
        model.update(blind);
        let shown = screen(&mut model, 80, 24);
        assert!(!shown.contains("/s ") && !shown.contains("OUT/s"), "{shown}");
        assert!(shown.contains("\ncustomer-with-a-long-name eth0 "), "{shown}");
        let said = shown.lines().find(|line| line.starts_with("no counters: ")).unwrap();
        assert!(said.ends_with('…'), "{said}");
    }

    #[test]
    fn what_is_not_known_is_not_said_to_be_well() {
        let mut model = model(3);
        let mut said = |no_maps: Option<&str>| {
            model.update(Reading { no_maps: no_maps.map(str::to_owned), ..reading(3, 104.0) });
            model.refused.clear();
            refusals(&model, 80)[0].to_string()
        };
        assert_eq!(said(None), "nothing was refused");
        assert_eq!(said(Some("no bpffs")), "not known without counters");
        assert!(!is_running(&Daemon::Stopped("it is gone".to_owned())));
        assert!(is_running(&Daemon::Running { pid: 1, uptime_s: 1.0, config: String::new() }));
    }

    fn mouse(model: &mut Model, kind: MouseEventKind, x: usize, y: usize) -> bool {
        let at = |place| u16::try_from(place).unwrap();
        let modifiers = KeyModifiers::NONE;
        model.mouse(MouseEvent { kind, column: at(x), row: at(y), modifiers })
    }

    #[test]
    fn the_mouse_selects_sorts_and_scrolls() {
        const CLICK: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
        let mut model = model(300);
        let shown = screen(&mut model, 80, 24);
        assert!(mouse(&mut model, CLICK, 20, 6), "the third row");
        assert_eq!(model.selected().unwrap().router.name, "VI_207");
        assert!(mouse(&mut model, MouseEventKind::ScrollDown, 20, 6));
        assert_eq!(model.selected().unwrap().router.name, "VI_3");
        let head = shown.lines().nth(3).unwrap().find("PRIO").unwrap();
        assert!(mouse(&mut model, CLICK, head, 3));
        assert_eq!(model.sort, Column::Priority);
        let tabs = shown.lines().nth(16).unwrap();
        assert!(mouse(&mut model, CLICK, tabs.find("Router").unwrap(), 16));
        assert_eq!(model.pane, Pane::Router);
        assert!(
            !mouse(&mut model, CLICK, 0, 23) && !mouse(&mut model, MouseEventKind::Moved, 3, 6)
        );
        // It says yes to nothing.
        model.press(Key::Char('S'));
        let _ = screen(&mut model, 80, 24);
        assert!(!mouse(&mut model, CLICK, 40, 12) && model.asked.is_some());
    }

    #[test]
    fn what_is_longer_than_its_pane_is_scrolled() {
        let mut model = model(300);
        let mut next = reading(300, 103.0);
        next.problems = (1..=20).map(|n| format!("problem {n}")).collect();
        next.routers[6].details.extend((1..=30).map(|_| ("problem", "long ".repeat(30))));
        model.update(next);
        let shown = screen(&mut model, 80, 24);
        assert!(shown.contains(" 1-6 of 20  J K") && shown.contains("problem 6\n"), "{shown}");
        for _ in 0..30 {
            model.press(Key::Char('J'));
        }
        let shown = screen(&mut model, 80, 24);
        assert!(shown.contains(" 15-20 of 20  J K") && shown.contains("problem 20\n"), "{shown}");
        model.press(Key::Char('K'));
        let shown = screen(&mut model, 80, 24);
        assert!(shown.contains(" 14-19 of 20"), "it is bounded when it is drawn: {shown}");
        // All of a router.
        model.press(Key::Enter);
        model.press(Key::Enter);
        let shown = screen(&mut model, 80, 24);
        assert!(shown.contains(" 1-19 of ") && !shown.contains("VI_107"), "{shown}");
        model.press(Key::End);
        let end = screen(&mut model, 80, 24);
        assert!(end.contains("traffic   ") && end != shown, "{end}");
        model.press(Key::Esc);
        assert!(screen(&mut model, 80, 24).contains("VI_107"));
    }

    #[test]
    fn a_question_is_in_the_middle() {
        let mut model = model(300);
        model.press(Key::Char('S'));
        let shown = screen(&mut model, 80, 24);
        assert!(shown.contains("│ step-down VI_7 (eth0/7, FAULT)?   "), "{shown}");
        assert!(shown.ends_with("\ny yes  any other key no\n"), "{shown}");
        model.press(Key::Char('y'));
        let action = model.ordered.take().unwrap();
        model.answered(&action, Err("instance `default`: only root may do that, ".repeat(4)));
        let shown = screen(&mut model, 80, 24);
        assert!(
            shown.contains("┌ Refused ─") && shown.matches("only root").count() == 4,
            "{shown}"
        );
    }

    #[test]
    fn a_small_screen_with_a_filter_and_the_selected_router() {
        let mut model = model(4080);
        for key in "/vi_12".chars() {
            model.press(Key::Char(key));
        }
        for key in [Key::Enter, Key::Char('s'), Key::Down, Key::Enter] {
            model.press(key);
        }
        same("80x24-router.txt", &screen(&mut model, 80, 24));
    }

    #[test]
    fn the_screen_of_the_documentation() {
        let sample = sample(include_str!("../../../../docs/observing.md"), "vrrp-user top");
        let height = u16::try_from(sample.lines().count()).unwrap();
        assert_eq!(screen(&mut model(3), 80, height), sample);
    }

    #[test]
    fn a_large_screen() {
        let mut model = model(4080);
        model.press(Key::Char('w'));
        same("200x50.txt", &screen(&mut model, 200, 50));
    }

    #[test]
    fn help() {
        let mut model = model(3);
        model.press(Key::Char('?'));
        same("80x24-help.txt", &screen(&mut model, 80, 24));
    }

    #[test]
    fn a_daemon_that_is_gone() {
        let mut model = model(3);
        let mut next = reading(3, 103.0);
        next.daemon = Daemon::Stopped("no daemon runs as instance `default`".to_owned());
        model.update(next);
        model.press(Key::Tab);
        same("80x24-gone.txt", &screen(&mut model, 80, 24));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut model = model(3);
        let mut next = reading(3, 103.0);
        let mut last = |count, height| {
            next.unread = (1..=count).map(|n| format!("map {n} is not shown")).collect();
            model.update(next.clone());
            let screen = screen(&mut model, 80, height);
            screen.lines().skip(3).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(last(0, 24)[0].starts_with("ROUTER"));
        assert_eq!(last(3, 24)[2], "map 3 is not shown");
        let lines = last(4, 24);
        assert_eq!(
            (&*lines[1], &*lines[2]),
            ("map 2 is not shown", "2 more: `vrrp-user stats` has all")
        );
        assert!(lines[3].starts_with("ROUTER"));
        assert_eq!(last(2, 8)[0], "2 more: `vrrp-user stats` has all");
        assert_eq!(last(1, 8)[0], "map 1 is not shown");
    }

    #[test]
    fn any_size_will_do() {
        let mut few = model(3);
        let mut none = Model::default();
        let mut many = model(500);
        many.press(Key::End);
        for width in [1, 9, 40, 79, 160, 250] {
            for height in [1, 2, 4, 9, 16, 40] {
                for model in [&mut few, &mut none, &mut many] {
                    let _ = screen(model, width, height);
                    for keys in ["?q", "Sn", "Tq"] {
                        for key in keys.chars() {
                            let key = if key == 'T' { Key::Enter } else { Key::Char(key) };
                            model.press(key);
                            let _ = screen(model, width, height);
                        }
                    }
                }
            }
        }
    }

    /// Some thirty times what it takes here without optimisation.
    #[test]
    fn thousands_of_rows_are_drawn_at_once() {
        let mut model = model(4080);
        let begun = Instant::now();
        model.update(reading(4080, 103.0));
        let updated = begun.elapsed();
        let _ = screen(&mut model, 200, 50);
        println!("update {updated:?}, drawing {:?}", begun.elapsed() - updated);
        assert!(begun.elapsed().as_secs_f64() < 2.0, "{:?}", begun.elapsed());
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [0.0, 0.31, 9.96, 4080.0, 123_456.0].map(|n| rate(Some(n))).into();
        assert_eq!(shown, ["0", "0.3", "10", "4080", "123k"]);
        let shown: Vec<String> =
            [0.0, 999.4, 1500.0, 9_960.0, 2e9, 2.7e12, 3e15].map(|n| bytes(Some(n))).into();
        assert_eq!(shown, ["0", "999", "1.5k", "10k", "2.0G", "2.7T", "3000T"]);
    }
}
