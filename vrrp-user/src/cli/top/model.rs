//! What `top` shows, apart from any terminal: readings and keys go in, rows come out.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use ratatui::crossterm::event::{
    KeyCode as Key, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use vrrp_common::reason::Reason;

use super::action::{Action, Order};
use super::hit::{Hits, Target};
pub use super::parts::{Column, Pane};

pub use crate::types::state::State;

/// Span over which rates are averaged, seconds: an advertisement a second is then not 0 or 2 of them.
const RATE_WINDOW_S: f64 = 3.0;
/// Lines that a turn of the wheel goes.
const WHEEL: usize = 3;
/// Events that are kept.
const EVENTS: usize = 1000;

/// All states, in the order of sorting.
pub const STATES: [State; 4] = [State::Master, State::Backup, State::Fault, State::Init];

/// Advertisements of one router, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received and accepted.
    pub received: u64,
    pub sent: u64,
    /// Received and refused.
    pub refused: u64,
}

/// Bytes to and from the addresses of one router, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To them.
    pub rx_bytes: u64,
    /// From them.
    pub tx_bytes: u64,
}

/// One router at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterRow {
    /// Name in the configuration.
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    pub version: u8,
    pub state: State,
    /// It is master, and its host is kept from answering for its addresses.
    pub fenced: bool,
    /// Effective priority.
    pub priority: u8,
    /// Who is master, if that is known.
    pub master: Option<String>,
    /// Seconds in that state.
    pub since_s: Option<f64>,
    /// `None` where the maps cannot be seen.
    pub counters: Option<Counters>,
    /// `None` while it is not known which addresses it has.
    pub traffic: Option<Traffic>,
    /// Name and value of more that the daemon says.
    pub details: Vec<(&'static str, String)>,
}

impl RouterRow {
    /// The state; of who is fenced, that.
    pub fn state_name(&self) -> &'static str {
        if self.fenced { "FENCED" } else { self.state.name() }
    }

    /// The value of a detail.
    pub fn detail(&self, name: &str) -> Option<&str> {
        let detail = self.details.iter().find(|(of, _)| *of == name);
        detail.map(|(_, value)| value.as_str())
    }
}

/// Packets of one reason, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub packets: u64,
    /// Who sent the last one.
    pub last: Option<String>,
}

/// What is known of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Daemon {
    /// It runs.
    Running {
        pid: u32,
        /// Seconds since its start; 0 until it has said so.
        uptime_s: f64,
        config: String,
    },
    /// It runs, and neither what it says nor its maps can be read. Why these cannot.
    Unreadable(String),
    /// It does not, and its maps are there. Why it cannot be asked.
    Stopped(String),
    /// Neither a daemon nor maps.
    Nothing(String),
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub instance: String,
    /// Seconds of the monotonic clock.
    pub at_s: f64,
    /// Time of day.
    pub clock: String,
    pub daemon: Daemon,
    /// Why there are no counters.
    pub no_maps: Option<String>,
    /// What a daemon of another version says, or has in its maps, and is not shown.
    pub unread: Vec<String>,
    /// What is wrong, each with whom it concerns, as `status` has it.
    pub problems: Vec<String>,
    pub routers: Vec<RouterRow>,
    /// What was not accepted.
    pub refusals: Vec<Refusal>,
    /// How long it took to read all that.
    pub took: Duration,
}

/// Per second; `None` while there is nothing to compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Advertisements accepted.
    pub received: Option<f64>,
    /// Advertisements sent.
    pub sent: Option<f64>,
    /// Advertisements refused.
    pub refused: Option<f64>,
    /// Bytes to the addresses.
    pub rx_bytes: Option<f64>,
    /// Bytes from the addresses.
    pub tx_bytes: Option<f64>,
}

/// A router with its rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub router: RouterRow,
    pub rates: Rates,
}

/// What identifies a router: interface and VRID.
type Id = (String, u8);

impl Row {
    fn id(&self) -> Id {
        (self.router.interface.clone(), self.router.vrid)
    }
}

/// What keys do at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are commands.
    #[default]
    Table,
    /// They are written to the filter.
    Filter,
    /// Any of them ends the help.
    Help,
    /// They scroll the selected router, which has the screen.
    Router,
    /// One of them says yes to what is asked.
    Confirm,
    /// Any of them ends what the daemon refused.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Quit,
}

/// The numbers of one reading, to compare later ones with.
struct Past {
    at_s: f64,
    routers: HashMap<Id, (Option<Counters>, Option<Traffic>)>,
    refusals: HashMap<Reason, u64>,
}

/// A reason with its rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The reason, the packets and the last sender.
    pub refusal: Refusal,
    /// Packets per second.
    pub rate: Option<f64>,
}

/// The screen's content.
#[derive(Default)]
pub struct Model {
    /// The last reading, without its routers: they are the rows.
    pub(super) reading: Option<Reading>,
    past: VecDeque<Past>,
    /// All rows, whatever is shown.
    pub(super) rows: Vec<Row>,
    /// Indices of `rows` that the filters leave, in order.
    pub(super) shown: Vec<usize>,
    /// What was not accepted, most frequent first.
    pub(super) refused: Vec<Refused>,
    /// What changed, newest first.
    pub(super) events: VecDeque<String>,
    pub(super) sort: Column,
    is_reversed: bool,
    pub(super) filter: String,
    /// The state that is filtered by.
    pub(super) only: Option<State>,
    /// Index in `shown`.
    selected: usize,
    /// The router that the cursor stays on, once it was moved.
    followed: Option<Id>,
    /// Number of the first visible row, from 0.
    pub(super) first: usize,
    page: usize,
    pub(super) pane: Pane,
    /// Whether somebody wanted that one.
    is_pane_chosen: bool,
    pub(super) mode: Mode,
    /// First line of the pane that is seen; drawing bounds it.
    pub(super) scroll: usize,
    /// What somebody has to say yes to.
    pub(super) asked: Option<Action>,
    /// What is to be carried out.
    pub(super) ordered: Option<Action>,
    /// What the daemon said to the last order; `Err` is why it refused.
    pub(super) answer: Option<Result<String, String>>,
    pub(super) hits: Hits,
    /// How long the last drawing took.
    pub(super) drawn: Duration,
}

impl Model {
    pub fn update(&mut self, mut reading: Reading) {
        self.notice(&reading);
        let base = self.past.iter().find(|past| reading.at_s - past.at_s <= RATE_WINDOW_S + 0.5);
        let span = base.map(|past| reading.at_s - past.at_s).filter(|span| *span > 0.0);
        let rate = |now: Option<u64>, then: Option<u64>| {
            // A counter that went back began anew.
            #[allow(clippy::cast_precision_loss, reason = "nobody sees the last digits")]
            Some(now?.checked_sub(then?)? as f64 / span?)
        };
        let routers = std::mem::take(&mut reading.routers);
        self.rows = routers
            .into_iter()
            .map(|router| {
                let mut row = Row { router, rates: Rates::default() };
                let then = base.and_then(|past| past.routers.get(&row.id()));
                let then = then.copied().unwrap_or_default();
                let now = (row.router.counters, row.router.traffic);
                let counter = |of: fn(Counters) -> u64| rate(now.0.map(of), then.0.map(of));
                let bytes = |of: fn(Traffic) -> u64| rate(now.1.map(of), then.1.map(of));
                row.rates = Rates {
                    received: counter(|c| c.received),
                    sent: counter(|c| c.sent),
                    refused: counter(|c| c.refused),
                    rx_bytes: bytes(|t| t.rx_bytes),
                    tx_bytes: bytes(|t| t.tx_bytes),
                };
                row
            })
            .collect();
        self.refused = reading
            .refusals
            .iter()
            .filter(|refusal| refusal.packets > 0)
            .map(|refusal| {
                let then = base.and_then(|past| past.refusals.get(&refusal.reason).copied());
                let rate = rate(Some(refusal.packets), then);
                Refused { refusal: refusal.clone(), rate }
            })
            .collect();
        self.refused.sort_by(|a, b| {
            let rates = b.rate.unwrap_or(0.0).total_cmp(&a.rate.unwrap_or(0.0));
            rates.then(b.refusal.packets.cmp(&a.refusal.packets))
        });
        self.past.push_back(Past {
            at_s: reading.at_s,
            routers: self
                .rows
                .iter()
                .map(|row| (row.id(), (row.router.counters, row.router.traffic)))
                .collect(),
            refusals: reading.refusals.iter().map(|r| (r.reason, r.packets)).collect(),
        });
        while self.past.front().is_some_and(|past| reading.at_s - past.at_s > RATE_WINDOW_S + 0.5) {
            self.past.pop_front();
        }
        if !self.is_pane_chosen {
            let well = reading.problems.is_empty();
            self.pane = if well { Pane::Refusals } else { Pane::Problems };
        }
        self.reading = Some(reading);
        self.arrange();
    }

    /// Writes down what is different from the reading before.
    fn notice(&mut self, new: &Reading) {
        let Some(old) = &self.reading else { return };
        let mut events = Vec::new();
        let named = |daemon: &Daemon| match daemon {
            Daemon::Running { pid, .. } => format!("the daemon runs, pid {pid}"),
            Daemon::Unreadable(_) => "the daemon runs, and is of another version".to_owned(),
            Daemon::Stopped(_) => "the daemon is gone, its maps are there".to_owned(),
            Daemon::Nothing(_) => "the daemon and its maps are gone".to_owned(),
        };
        if named(&old.daemon) != named(&new.daemon) {
            events.push(named(&new.daemon));
        }
        let before: HashMap<(&str, u8), &RouterRow> = self
            .rows
            .iter()
            .map(|row| ((row.router.interface.as_str(), row.router.vrid), &row.router))
            .collect();
        let mut seen = HashSet::new();
        for router in &new.routers {
            let id = (router.interface.as_str(), router.vrid);
            seen.insert(id);
            let Some(old) = before.get(&id) else {
                events.push(format!("{}: new, {}", router.name, router.state_name()));
                continue;
            };
            if old.state != router.state {
                let why = router.detail("reason").map(|why| format!(": {why}")).unwrap_or_default();
                let (from, to) = (old.state_name(), router.state_name());
                events.push(format!("{}: {from} -> {to}{why}", router.name));
            } else if let (Some(from), Some(to)) = (&old.master, &router.master)
                && from != to
            {
                events.push(format!("{}: master {from} -> {to}", router.name));
            }
            if old.priority != router.priority {
                let (from, to) = (old.priority, router.priority);
                events.push(format!("{}: priority {from} -> {to}", router.name));
            }
        }
        for (id, router) in &before {
            if !seen.contains(id) {
                events.push(format!("{}: gone", router.name));
            }
        }
        for event in events {
            self.events.push_front(format!("{} {event}", new.clock));
        }
        self.events.truncate(EVENTS);
    }

    fn arrange(&mut self) {
        let filter = self.filter.to_lowercase();
        let is_shown = |row: &Row| {
            let router = &row.router;
            let has = |text: &str| text.to_lowercase().contains(&filter);
            self.only.is_none_or(|state| router.state == state)
                && (filter.is_empty()
                    || has(&router.name)
                    || has(&router.interface)
                    || router.vrid.to_string() == filter
                    || has(router.state_name())
                    || router.master.as_deref().is_some_and(has)
                    || router.detail("addresses").is_some_and(has))
        };
        let rows = &self.rows;
        self.shown = (0..rows.len()).filter(|index| is_shown(&rows[*index])).collect();
        let (sort, is_reversed) = (self.sort, self.is_reversed != self.sort.is_amount());
        self.shown.sort_by(|a, b| {
            let order = compare(&rows[*a], &rows[*b], sort);
            let order = if is_reversed { order.reverse() } else { order };
            order.then_with(|| natural(&rows[*a].router.name, &rows[*b].router.name))
        });
        let followed = self.followed.as_ref();
        let place = followed.and_then(|id| self.shown.iter().position(|&at| rows[at].id() == *id));
        self.selected = place.unwrap_or(self.selected).min(self.shown.len().saturating_sub(1));
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
    pub fn press(&mut self, key: impl Into<KeyEvent>) -> Flow {
        let KeyEvent { code: key, modifiers, kind, .. } = key.into();
        let is_control = modifiers.contains(KeyModifiers::CONTROL);
        match key {
            _ if kind == KeyEventKind::Release => return Flow::Continue,
            Key::Char('c') if is_control => return Flow::Quit,
            Key::Char(_) if is_control => return Flow::Continue,
            _ => {}
        }
        if self.answer.as_ref().is_some_and(Result::is_ok) {
            self.answer = None;
        }
        match self.mode {
            Mode::Table => return self.command(key),
            Mode::Help | Mode::Refused => self.back(),
            Mode::Router => return self.scroll_router(key),
            Mode::Confirm => {
                self.ordered = self.asked.take().filter(|_| key == Key::Char('y'));
                self.back();
            }
            Mode::Filter => {
                match key {
                    Key::Char(c) => self.filter.push(c),
                    Key::Backspace => {
                        self.filter.pop();
                    }
                    Key::Esc => {
                        self.filter.clear();
                        self.mode = Mode::Table;
                    }
                    Key::Enter => self.mode = Mode::Table,
                    Key::Tab
                    | Key::Up
                    | Key::Down
                    | Key::PageUp
                    | Key::PageDown
                    | Key::Home
                    | Key::End => {
                        self.mode = Mode::Table;
                        return self.command(key);
                    }
                    _ => {}
                }
                self.arrange();
            }
        }
        Flow::Continue
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
    fn command(&mut self, key: Key) -> Flow {
        let page = self.page.max(1);
        match key {
            Key::Char('q') => return Flow::Quit,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Char('f') => {
                self.only = match self.only {
                    None => Some(State::Master),
                    Some(State::Master) => Some(State::Backup),
                    Some(State::Backup) => Some(State::Fault),
                    Some(State::Fault) => Some(State::Init),
                    Some(State::Init) => None,
                };
                self.arrange();
            }
            Key::Char('R') => {
                self.is_reversed = !self.is_reversed;
                self.arrange();
            }
            Key::Esc => {
                self.filter.clear();
                self.only = None;
                self.arrange();
            }
            Key::Tab => self.choose(self.pane.next()),
            Key::Enter if self.pane == Pane::Router && self.selected().is_some() => {
                (self.mode, self.scroll) = (Mode::Router, 0);
            }
            Key::Enter => self.choose(Pane::Router),
            Key::Char('J') => self.scroll += 1,
            Key::Char('K') => self.scroll = self.scroll.saturating_sub(1),
            Key::Char('S') => self.ask(Order::StepDown),
            Key::Char('U') => self.ask(Order::Resume),
            Key::Up | Key::Char('k') => self.select(self.selected.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(self.selected + 1),
            Key::PageUp => self.select(self.selected.saturating_sub(page)),
            Key::PageDown | Key::Char(' ') => self.select(self.selected + page),
            Key::Home | Key::Char('g') => self.select(0),
            Key::End | Key::Char('G') => self.select(self.shown.len()),
            Key::Char(c) => {
                if let Some((column, ..)) = Column::ALL.into_iter().find(|(_, key, ..)| *key == c) {
                    self.sort_by(column);
                }
            }
            _ => {}
        }
        Flow::Continue
    }

    fn choose(&mut self, pane: Pane) {
        (self.pane, self.is_pane_chosen, self.scroll) = (pane, true, 0);
    }

    /// The same column again turns the order round.
    fn sort_by(&mut self, column: Column) {
        self.is_reversed = self.sort == column && !self.is_reversed;
        self.sort = column;
        self.arrange();
    }

    /// To the table.
    fn back(&mut self) {
        (self.mode, self.asked, self.scroll) = (Mode::Table, None, 0);
        self.answer = None;
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
    fn scroll_router(&mut self, key: Key) -> Flow {
        let page = self.page.max(1);
        match key {
            Key::Esc | Key::Enter | Key::Char('q') => self.back(),
            Key::Up | Key::Char('k' | 'K') => self.scroll = self.scroll.saturating_sub(1),
            Key::Down | Key::Char('j' | 'J') => self.scroll += 1,
            Key::PageUp => self.scroll = self.scroll.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => self.scroll += page,
            Key::Home | Key::Char('g') => self.scroll = 0,
            Key::End | Key::Char('G') => self.scroll = usize::MAX / 2,
            Key::Char('S') => self.ask(Order::StepDown),
            Key::Char('U') => self.ask(Order::Resume),
            _ => {}
        }
        Flow::Continue
    }

    /// Asks first: one key is pressed soon.
    fn ask(&mut self, order: Order) {
        self.asked = self.selected().map(|Row { router, .. }| Action {
            order,
            router: router.name.clone(),
            place: format!("{}/{}", router.interface, router.vrid),
            state: router.state,
            group: router.detail("group").map(|group| {
                let of = |row: &&Row| row.router.detail("group") == Some(group);
                (group.to_owned(), self.rows.iter().filter(of).count())
            }),
        });
        if self.asked.is_some() {
            self.mode = Mode::Confirm;
        }
    }

    /// What came of an order.
    pub fn answered(&mut self, action: &Action, answer: Result<String, String>) {
        let clock = self.reading.as_ref().map_or("", |reading| &reading.clock);
        let said = match &answer {
            Ok(done) => done.clone(),
            Err(why) => format!("{} {} was refused: {why}", action.name(), action.router),
        };
        self.events.push_front(format!("{clock} {said}"));
        if answer.is_err() {
            self.mode = Mode::Refused;
        }
        self.answer = Some(answer.map_err(|_| said));
    }

    /// Whether the screen is another one now.
    pub fn mouse(&mut self, event: MouseEvent) -> bool {
        let target = self.hits.at(event.column, event.row);
        let down = match event.kind {
            MouseEventKind::ScrollDown => true,
            MouseEventKind::ScrollUp => false,
            MouseEventKind::Down(MouseButton::Left) => return self.click(target),
            MouseEventKind::Down(MouseButton::Right | MouseButton::Middle)
            | MouseEventKind::Up(_)
            | MouseEventKind::Drag(_)
            | MouseEventKind::Moved
            | MouseEventKind::ScrollLeft
            | MouseEventKind::ScrollRight => return false,
        };
        let moved = |at: usize| if down { at + WHEEL } else { at.saturating_sub(WHEEL) };
        match (self.mode, target) {
            (Mode::Router, _) => self.scroll = moved(self.scroll),
            (Mode::Table | Mode::Filter, Some(Target::Row(_) | Target::Head(_))) => {
                self.select(moved(self.selected));
            }
            (Mode::Table | Mode::Filter, Some(Target::Pane(pane) | Target::Tab(pane))) => {
                if pane != self.pane {
                    self.choose(pane);
                }
                self.scroll = moved(self.scroll);
            }
            (Mode::Table | Mode::Filter, None)
            | (Mode::Help | Mode::Confirm | Mode::Refused, _) => {
                return false;
            }
        }
        true
    }

    fn click(&mut self, target: Option<Target>) -> bool {
        match self.mode {
            Mode::Table | Mode::Filter => {}
            Mode::Help | Mode::Refused | Mode::Router => {
                self.back();
                return true;
            }
            // Yes is a key, so that nobody says it by a click that was meant for something else.
            Mode::Confirm => return false,
        }
        match target {
            Some(Target::Row(row)) => self.select(self.first + row),
            Some(Target::Head(column)) => self.sort_by(column),
            Some(Target::Tab(pane) | Target::Pane(pane)) if pane != self.pane => self.choose(pane),
            Some(Target::Tab(_) | Target::Pane(_)) | None => return false,
        }
        true
    }

    /// What is wrong.
    pub fn problems(&self) -> &[String] {
        self.reading.as_ref().map_or(&[], |reading| &reading.problems)
    }

    fn select(&mut self, index: usize) {
        self.selected = index.min(self.shown.len().saturating_sub(1));
        if self.pane == Pane::Router {
            self.scroll = 0;
        }
        // The first row is whatever is first; any other is the router in it.
        self.followed = self.selected().filter(|_| self.selected > 0).map(Row::id);
    }

    /// The rows that fit into so many lines, so that the selected one is among them, and its place there.
    pub fn visible(&mut self, lines: usize) -> (Vec<&Row>, usize) {
        self.page = lines.saturating_sub(1).max(1);
        let lines = lines.max(1);
        let last_first = self.shown.len().saturating_sub(lines);
        self.first = self.first.min(last_first).min(self.selected);
        self.first = self.first.max((self.selected + 1).saturating_sub(lines));
        let shown = self.shown.iter().skip(self.first).take(lines);
        (shown.map(|index| &self.rows[*index]).collect(), self.selected - self.first)
    }

    pub fn selected(&self) -> Option<&Row> {
        self.shown.get(self.selected).map(|index| &self.rows[*index])
    }

    /// The sum of a rate over all routers; `None` while none is known.
    pub fn total(&self, of: fn(&Rates) -> Option<f64>) -> Option<f64> {
        self.rows
            .iter()
            .filter_map(|row| of(&row.rates))
            .fold(None, |sum, rate| Some(sum.unwrap_or(0.0) + rate))
    }

    /// Packets per second that were not accepted, of whatever router.
    pub fn total_refused(&self) -> Option<f64> {
        let known = self.past.len() > 1;
        known.then(|| self.refused.iter().filter_map(|refused| refused.rate).sum())
    }

    /// Routers in a state.
    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.router.state == state).count()
    }

    /// Whether the order goes down the alphabet or the numbers.
    pub fn is_descending(&self) -> bool {
        self.is_reversed != self.sort.is_amount()
    }
}

/// Those with problems first, then those in FAULT.
fn urgency(row: &Row) -> (bool, bool) {
    let is_wrong = row.router.fenced || row.router.detail("problem").is_some();
    (!is_wrong, row.router.state != State::Fault)
}

fn compare(a: &Row, b: &Row, by: Column) -> Ordering {
    let number = |of: fn(&Rates) -> Option<f64>| {
        of(&a.rates).unwrap_or(-1.0).total_cmp(&of(&b.rates).unwrap_or(-1.0))
    };
    let text = |a: &Option<String>, b: &Option<String>| {
        natural(a.as_deref().unwrap_or_default(), b.as_deref().unwrap_or_default())
    };
    let detail = |name| {
        natural(
            a.router.detail(name).unwrap_or_default(),
            b.router.detail(name).unwrap_or_default(),
        )
    };
    let rank = |row: &Row| STATES.iter().position(|state| *state == row.router.state);
    match by {
        Column::Name => {
            urgency(a).cmp(&urgency(b)).then_with(|| natural(&a.router.name, &b.router.name))
        }
        Column::Interface => natural(&a.router.interface, &b.router.interface),
        Column::Vrid => a.router.vrid.cmp(&b.router.vrid),
        Column::State => rank(a).cmp(&rank(b)),
        Column::Priority => a.router.priority.cmp(&b.router.priority),
        Column::Master => text(&a.router.master, &b.router.master),
        Column::Since => {
            let since = |row: &Row| row.router.since_s.unwrap_or(f64::MAX);
            since(a).total_cmp(&since(b))
        }
        Column::Received => number(|rates| rates.received),
        Column::Sent => number(|rates| rates.sent),
        Column::Refused => number(|rates| rates.refused),
        Column::RxTraffic => number(|rates| rates.rx_bytes),
        Column::TxTraffic => number(|rates| rates.tx_bytes),
        Column::Addresses => detail("addresses"),
        Column::Reason => detail("reason"),
    }
}

/// Text with numbers in it as people order it: `VI_9` before `VI_10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    let digits = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
    loop {
        match (digits(a), digits(b)) {
            (0, _) | (_, 0) => match (a.split_first(), b.split_first()) {
                (Some((x, rest_a)), Some((y, rest_b))) if x == y => (a, b) = (rest_a, rest_b),
                (x, y) => return x.map(|(x, _)| x).cmp(&y.map(|(y, _)| y)),
            },
            (m, n) => {
                let (x, y) = (trimmed(&a[..m]), trimmed(&b[..n]));
                match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
                    Ordering::Equal => (a, b) = (&a[m..], &b[n..]),
                    order @ (Ordering::Less | Ordering::Greater) => return order,
                }
            }
        }
    }
}

/// Without leading zeros.
fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A reading with routers `VI_1` and so on, every third one master, after so many seconds.
    pub fn reading(routers: u32, at_s: f64) -> Reading {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let ticks = at_s as u64;
        let router = |n: u32| {
            let is_master = n % 3 == 1;
            let state = match n % 100 {
                7 => State::Fault,
                _ if is_master => State::Master,
                _ => State::Backup,
            };
            RouterRow {
                name: format!("VI_{n}"),
                interface: format!("eth{}", (n - 1) / 255),
                vrid: u8::try_from((n - 1) % 255 + 1).unwrap(),
                version: 2,
                state,
                fenced: false,
                priority: u8::try_from(n % 150 + 50).unwrap(),
                master: match state {
                    State::Master => Some("this host".to_owned()),
                    State::Backup => Some("10.0.0.2".to_owned()),
                    State::Fault | State::Init => None,
                },
                since_s: Some(at_s + f64::from(n)),
                counters: Some(Counters {
                    received: if state == State::Backup { ticks } else { 0 },
                    sent: if state == State::Master { ticks } else { 0 },
                    refused: if n == 2 { 12 * ticks } else { 0 },
                }),
                traffic: Some(Traffic {
                    rx_bytes: u64::from(n) * 1500 * ticks,
                    tx_bytes: if is_master { u64::from(n) * 1_000_000 * ticks } else { 0 },
                }),
                details: vec![
                    ("reason", "started".to_owned()),
                    ("addresses", format!("10.0.{}.{}/24", n / 250, n % 250 + 1)),
                    ("peers", "multicast".to_owned()),
                ],
            }
        };
        Reading {
            instance: "default".to_owned(),
            at_s,
            clock: "12:00:01".to_owned(),
            daemon: Daemon::Running {
                pid: 4711,
                uptime_s: at_s,
                config: "/etc/keepalived/keepalived.conf".to_owned(),
            },
            no_maps: None,
            unread: Vec::new(),
            problems: Vec::new(),
            routers: (1..=routers).map(router).collect(),
            refusals: vec![
                Refusal { reason: Reason::UnknownVrid, packets: 3, last: None },
                Refusal {
                    reason: Reason::AuthData,
                    packets: 12 * ticks,
                    last: Some("10.0.0.200 eth0 vrid 2, 0.1s ago".to_owned()),
                },
                Refusal { reason: Reason::Ttl, packets: 0, last: None },
            ],
            took: Duration::from_millis(3),
        }
    }

    /// After two readings.
    pub fn model(routers: u32) -> Model {
        let mut model = Model::default();
        model.update(reading(routers, 100.0));
        model.update(reading(routers, 102.0));
        model
    }

    fn names(model: &mut Model, lines: usize) -> Vec<String> {
        model.visible(lines).0.iter().map(|row| row.router.name.clone()).collect()
    }

    fn press(model: &mut Model, keys: &str) {
        for key in keys.chars() {
            assert_eq!(model.press(Key::Char(key)), Flow::Continue);
        }
    }

    #[test]
    fn rates_are_per_second_and_need_two_readings() {
        let mut model = Model::default();
        model.update(reading(3, 100.0));
        assert_eq!(model.rows[1].rates, Rates::default());
        assert_eq!((model.total(|r| r.sent), model.total_refused()), (None, None));
        for at in [101.0, 102.0, 103.0, 104.0, 105.0] {
            model.update(reading(3, at));
            let rates = model.rows[1].rates;
            assert_eq!(
                (rates.received, rates.sent, rates.refused),
                (Some(1.0), Some(0.0), Some(12.0))
            );
        }
        assert!(model.past.len() <= 5, "old readings are forgotten");
        assert_eq!((model.total(|r| r.sent), model.total_refused()), (Some(1.0), Some(12.0)));
        // A daemon that began anew counts from zero.
        let mut again = reading(3, 2.0);
        again.at_s = 106.0;
        model.update(again);
        assert_eq!(model.rows[1].rates.received, None);
    }

    #[test]
    fn each_column_sorts_and_the_same_key_turns_it_round() {
        let mut model = model(12);
        assert_eq!(names(&mut model, 3), ["VI_7", "VI_1", "VI_2"], "what is wrong first");
        press(&mut model, "R");
        assert_eq!(names(&mut model, 3), ["VI_12", "VI_11", "VI_10"], "as numbers");
        press(&mut model, "n");
        for (key, expected) in [
            ('i', "VI_1"),
            ('v', "VI_1"),
            ('s', "VI_1"),
            ('p', "VI_12"),
            ('m', "VI_7"),
            ('t', "VI_1"),
            ('a', "VI_2"),
            ('o', "VI_1"),
            ('x', "VI_2"),
            ('r', "VI_12"),
            ('w', "VI_10"),
            ('d', "VI_1"),
            ('y', "VI_1"),
        ] {
            press(&mut model, &key.to_string());
            assert_eq!(names(&mut model, 1), [expected], "{key}");
            assert_eq!(Column::ALL[model.sort as usize].1, key);
            let first = names(&mut model, 12);
            press(&mut model, &key.to_string());
            assert!((model.sort, model.is_reversed).1 && model.shown.len() == 12);
            assert_eq!(first.len(), names(&mut model, 12).len());
        }
    }

    #[test]
    fn keys_are_distinct() {
        let keys: HashSet<char> = Column::ALL.into_iter().map(|(_, key, ..)| key).collect();
        assert_eq!(keys.len(), Column::ALL.len());
        assert!(
            Column::ALL
                .into_iter()
                .enumerate()
                .all(|(place, (column, ..))| column as usize == place)
        );
        assert!("qhfgGjkRJKSU/? ".chars().all(|c| !keys.contains(&c)));
    }

    #[test]
    fn filters_by_text_and_state() {
        let mut model = model(300);
        press(&mut model, "/vi_29");
        assert_eq!((model.shown.len(), model.mode), (11, Mode::Filter));
        model.press(Key::Backspace);
        model.press(Key::Enter);
        assert_eq!((model.filter.as_str(), model.mode), ("vi_2", Mode::Table));
        press(&mut model, "f");
        assert!(
            model.shown.len() > 10
                && model.visible(99).0.iter().all(|r| r.router.state == State::Master)
        );
        press(&mut model, "ff");
        assert_eq!(names(&mut model, 9), ["VI_207"]);
        model.press(Key::Esc);
        assert_eq!((model.shown.len(), model.only), (300, None));
        press(&mut model, "/10.0.1.");
        assert_eq!(model.shown.len(), 51, "by address");
        press(&mut model, "zzz");
        assert_eq!((model.shown.len(), names(&mut model, 5).len()), (0, 0));
        assert!(model.selected().is_none());
        assert_eq!(model.press(KeyEvent::new(Key::Char('c'), KeyModifiers::CONTROL)), Flow::Quit);
    }

    #[test]
    fn the_cursor_stays_on_its_router() {
        let mut model = model(300);
        let _ = model.visible(10);
        model.press(Key::End);
        assert_eq!(names(&mut model, 10)[9], "VI_300");
        assert_eq!(model.visible(10).1, 9);
        model.press(Key::PageUp);
        model.press(Key::Up);
        let selected = model.selected().unwrap().router.name.clone();
        assert_eq!(selected, "VI_290");
        press(&mut model, "p");
        assert_eq!(model.selected().unwrap().router.name, selected);
        model.update(reading(300, 103.0));
        assert_eq!(model.selected().unwrap().router.name, selected);
        model.press(Key::Home);
        press(&mut model, "n");
        assert_eq!(model.selected().unwrap().router.name, "VI_7");
        assert_eq!(model.first, 290, "until it is drawn");
        let _ = model.visible(10);
        assert_eq!(model.first, 0);
        // The list became shorter.
        model.press(Key::End);
        model.update(reading(5, 104.0));
        assert_eq!(names(&mut model, 10).len(), 5);
        assert_eq!(model.selected().unwrap().router.name, "VI_5");
    }

    #[test]
    fn an_order_is_asked_for_before_it_is_given() {
        let mut model = model(3);
        for router in [0, 1] {
            model.rows[router].router.details.push(("group", "G".to_owned()));
        }
        press(&mut model, "S");
        let asked = model.asked.as_ref().unwrap().question();
        assert_eq!(asked[0], "step-down VI_1 (eth0/1, MASTER)?");
        assert!(asked[1].starts_with("It gives up its addresses"), "{asked:?}");
        assert_eq!(asked[2], "So do all 2 routers of its sync group G.");
        // Any other key is no, and so is a click.
        model.press(Key::Enter);
        assert_eq!((&model.ordered, &model.asked, model.mode), (&None, &None, Mode::Table));
        press(&mut model, "Sy");
        let request = |action: &Action| action.request();
        let wanted = crate::api::Request::StepDown { name: "VI_1".to_owned() };
        assert_eq!(model.ordered.as_ref().map(request), Some(wanted));
        let action = model.ordered.take().unwrap();
        model.answered(&action, Ok("VI_1 stepped down".to_owned()));
        assert_eq!(
            (model.mode, model.events[0].as_str()),
            (Mode::Table, "12:00:01 VI_1 stepped down")
        );
        press(&mut model, "j");
        assert_eq!(model.answer, None);
        // A refusal stays until it was seen.
        press(&mut model, "Uy");
        let action = model.ordered.take().unwrap();
        assert_eq!((action.name(), action.router.as_str()), ("resume", "VI_2"));
        model.answered(&action, Err("not permitted".to_owned()));
        let why = "resume VI_2 was refused: not permitted".to_owned();
        assert_eq!((model.mode, &model.answer), (Mode::Refused, &Some(Err(why))));
        press(&mut model, "q");
        assert_eq!((model.mode, &model.answer), (Mode::Table, &None));
        // Without a router there is nothing to order.
        press(&mut model, "/nobody");
        model.press(Key::Enter);
        press(&mut model, "S");
        assert_eq!((model.mode, &model.asked), (Mode::Table, &None));
    }

    #[test]
    fn changes_are_events() {
        let mut model = model(3);
        let mut next = reading(4, 103.0);
        next.routers.remove(2);
        next.routers[0].state = State::Backup;
        next.routers[1].master = Some("10.0.0.9".to_owned());
        next.routers[1].priority = 1;
        next.daemon = Daemon::Stopped("refused".to_owned());
        model.update(next);
        let events: Vec<&str> = model.events.iter().map(String::as_str).collect();
        assert_eq!(
            events,
            [
                "12:00:01 VI_3: gone",
                "12:00:01 VI_4: new, MASTER",
                "12:00:01 VI_2: priority 52 -> 1",
                "12:00:01 VI_2: master 10.0.0.2 -> 10.0.0.9",
                "12:00:01 VI_1: MASTER -> BACKUP: started",
                "12:00:01 the daemon is gone, its maps are there",
            ]
        );
        assert_eq!(model.refused[0].refusal.reason, Reason::AuthData);
    }

    #[test]
    fn numbers_in_names_are_numbers() {
        let mut names = ["b", "VI_10", "VI_9", "VI_09x", "a", "", "VI_"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "VI_", "VI_9", "VI_09x", "VI_10", "a", "b"]);
    }
}
