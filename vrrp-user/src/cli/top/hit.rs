//! What lies where on the screen, for the mouse.

use ratatui::layout::{Position, Rect};

use super::parts::{Column, Pane};

/// What is under the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A visible row of the table, from 0.
    Row(usize),
    /// The head of a column.
    Head(Column),
    /// The title of a pane.
    Tab(Pane),
    /// The inside of a pane.
    Pane(Pane),
}

/// The places of what was drawn last.
#[derive(Debug, Default)]
pub struct Hits {
    /// The rows of the table.
    pub rows: Rect,
    pub heads: Vec<(Rect, Column)>,
    pub tabs: Vec<(Rect, Pane)>,
    pub panes: Vec<(Rect, Pane)>,
}

impl Hits {
    /// What is at this column and line of the terminal, from 0.
    pub fn at(&self, x: u16, y: u16) -> Option<Target> {
        let position = Position { x, y };
        if self.rows.contains(position) {
            return Some(Target::Row(usize::from(y - self.rows.y)));
        }
        fn find<T: Copy>(places: &[(Rect, T)], position: Position) -> Option<T> {
            places.iter().find(|(place, _)| place.contains(position)).map(|(_, what)| *what)
        }
        let head = find(&self.heads, position).map(Target::Head);
        let tab = || find(&self.tabs, position).map(Target::Tab);
        let pane = || find(&self.panes, position).map(Target::Pane);
        head.or_else(tab).or_else(pane)
    }
}
