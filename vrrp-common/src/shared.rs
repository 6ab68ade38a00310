//! Memory that the kernel side shares with the daemon, and its CPUs with each other.

/// A value of 64-bit words that others read and write at the same time, each word as a whole and in no order.
pub trait SharedWords {
    /// The word `AT` bytes into the value.
    fn load<const AT: usize>(&self) -> u64;

    /// Writes the word `AT` bytes into the value.
    fn store<const AT: usize>(&self, word: u64);

    /// Adds one to the word `AT` bytes into the value; no addition is lost.
    fn increment<const AT: usize>(&self);
}
