//! Entries into the history, and those who follow it.

use std::time::Duration;

use tokio::sync::mpsc;

use super::history::{What, Whom};
use super::{Counter, Daemon};
use crate::control::server::Question;
use crate::engine::time::Nanos;

/// How long stopping waits at most for those who follow the history.
const FAREWELL: Duration = Duration::from_millis(250);

impl Daemon {
    pub(super) fn note(&mut self, whom: Whom, at: Nanos, what: What) {
        if !self.history.note(whom, at, what) {
            self.count(Counter::NoticeLeftOut);
        }
    }

    /// Wakes those who follow the history. They ask for what is new when they get to it: nothing is kept for
    /// them, and a slow one costs nothing.
    pub(super) fn tell_followers(&self) {
        if self.followed() && *self.latest.borrow() != self.history.last() {
            self.latest.send_replace(self.history.last());
        }
    }

    /// Whether anybody follows the history. One receiver is the one that the control thread clones.
    pub(super) fn followed(&self) -> bool {
        self.latest.receiver_count() > 1
    }

    /// Tells those who follow the history how it ends: answers until nobody asks, and not for long.
    pub(super) async fn last_answers(&mut self, questions: &mut mpsc::Receiver<Question>) {
        let deadline = tokio::time::Instant::now() + FAREWELL;
        loop {
            let quiet = tokio::time::Instant::now() + FAREWELL / 5;
            let question = tokio::time::timeout_at(quiet.min(deadline), questions.recv()).await;
            match question {
                Ok(Some(question)) => self.answer(question),
                Ok(None) | Err(_) => return,
            }
        }
    }
}
