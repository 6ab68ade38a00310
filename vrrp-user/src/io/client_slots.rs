//! Slots for clients that are served at once, so that those who keep a server waiting keep nobody else out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// A bounded number of slots. Where none is left, the client that has kept the server waiting longest loses its own
/// to the one that comes.
#[derive(Debug)]
pub struct ClientSlots {
    most: usize,
    taken: Mutex<Taken>,
    /// Somebody went, or began to keep the server waiting.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    last: u64,
    clients: BTreeMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    /// Since when it keeps the server waiting, if it does.
    waited_for: Option<Instant>,
    lost: Arc<Notify>,
}

/// The slot of a client, until it is dropped.
#[derive(Debug)]
pub struct ClientSlot {
    slots: Arc<ClientSlots>,
    number: u64,
    lost: Arc<Notify>,
}

/// Another client has the slot now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was idle longest, and others wanted its slot")]
pub struct Lost;

impl ClientSlots {
    /// So many slots.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), changed: Notify::new() })
    }

    /// A slot, as soon as there is one or somebody can be waited for no longer.
    pub async fn take(self: &Arc<Self>) -> ClientSlot {
        loop {
            if let Some(slot) = self.try_take() {
                return slot;
            }
            self.changed.notified().await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<ClientSlot> {
        let mut taken = self.lock();
        if taken.clients.len() >= self.most {
            let waited_for = taken
                .clients
                .iter()
                .filter_map(|(number, client)| Some((client.waited_for?, *number)));
            let (_, longest) = waited_for.min()?;
            if let Some(client) = taken.clients.remove(&longest) {
                client.lost.notify_one();
            }
        }
        taken.last += 1;
        let (number, lost) = (taken.last, Arc::<Notify>::default());
        // Until it has said something it is waited for.
        let client = Client { waited_for: Some(Instant::now()), lost: Arc::clone(&lost) };
        taken.clients.insert(number, client);
        Some(ClientSlot { slots: Arc::clone(self), number, lost })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSlot {
    /// What takes as long as the client likes: to read what it asks, or to write what it is told.
    /// Errors: it took longest of all, and another client wanted the slot.
    pub async fn wait_for<T>(&self, client: impl Future<Output = T>) -> Result<T, Lost> {
        self.set_waited_for(Some(Instant::now()));
        let done = tokio::select! {
            biased;
            () = self.lost.notified() => return Err(Lost),
            done = client => done,
        };
        self.set_waited_for(None);
        Ok(done)
    }

    fn set_waited_for(&self, since: Option<Instant>) {
        if let Some(client) = self.slots.lock().clients.get_mut(&self.number) {
            client.waited_for = since;
        }
        if since.is_some() {
            self.slots.changed.notify_one();
        }
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.slots.lock().clients.remove(&self.number);
        self.slots.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn who_is_waited_for_longest_loses_its_place() {
        let slots = ClientSlots::new(3);
        let (busy, first, second) = (slots.take().await, slots.take().await, slots.take().await);
        assert_eq!(busy.wait_for(ready(1)).await, Ok(1));
        let waiting =
            |slot: ClientSlot| tokio::spawn(async move { slot.wait_for(pending::<()>()).await });
        let first = waiting(first);
        tokio::task::yield_now().await;
        let second = waiting(second);
        tokio::task::yield_now().await;
        let third = slots.take().await;
        assert_eq!(first.await.unwrap(), Err(Lost));
        // One that is busy is not touched, however long it has been here.
        third.wait_for(ready(())).await.unwrap();
        let fourth = slots.take().await;
        assert_eq!(second.await.unwrap(), Err(Lost));
        fourth.wait_for(ready(())).await.unwrap();
        // Nobody keeps anybody waiting: whoever comes waits.
        assert!(slots.try_take().is_none());
        let comes = tokio::spawn(async move { slots.take().await });
        tokio::task::yield_now().await;
        drop(busy);
        comes.await.unwrap();
    }

    #[tokio::test]
    async fn a_newcomer_waits_until_somebody_is_idle() {
        let slots = ClientSlots::new(1);
        let busy = slots.take().await;
        busy.wait_for(ready(())).await.unwrap();
        let again = Arc::clone(&slots);
        let comes = tokio::spawn(async move { again.take().await });
        tokio::task::yield_now().await;
        assert!(!comes.is_finished());
        assert_eq!(busy.wait_for(pending::<()>()).await, Err(Lost));
        comes.await.unwrap();
    }
}
