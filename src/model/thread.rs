//! Which data thread this is, and values of which each data thread has its own.

use std::cell::Cell;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Tells this thread its index among the data threads. Called once, when the thread starts.
pub fn enter_data_thread(index: usize) {
    INDEX.set(index);
}

/// The index of this data thread; 0 on every other thread.
pub fn thread_index() -> usize {
    INDEX.get()
}

/// One value for each data thread, each on cache lines of its own, so that using it costs no other thread anything.
///
/// Threads that are no data threads (tests, a library's caller) share the first one.
#[derive(Debug)]
pub struct PerThread<T> {
    values: Box<[Line<T>]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Line<T>(T);

impl<T> PerThread<T> {
    /// Makes a value for each of `threads` threads; one at least.
    pub fn new(threads: usize, mut make: impl FnMut(usize) -> T) -> Self {
        Self {
            values: (0..threads.max(1)).map(|index| Line(make(index))).collect(),
        }
    }

    /// This thread's value.
    pub fn mine(&self) -> &T {
        let index = thread_index();
        &self.values.get(index).unwrap_or(&self.values[0]).0
    }

    /// Every thread's value, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().map(|line| &line.0)
    }
}
