//! Which data thread this is, values of which each data thread has its own, and what it counts in them.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// A number that one data thread counts up, and that anybody may read.
///
/// Adding is a load and a store: two threads that count in the same one lose some of it, and no more than that.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A value for each data thread, made when the thread first needs it.
#[derive(Debug)]
pub struct PerThreadLazily<T>(PerThread<OnceLock<Box<T>>>);

impl<T: Default> PerThreadLazily<T> {
    /// Room for the values of `threads` threads.
    pub fn new(threads: usize) -> Self {
        Self(PerThread::new(threads, |_| OnceLock::new()))
    }

    /// This thread's value.
    pub fn mine(&self) -> &T {
        self.0.mine().get_or_init(Box::default)
    }

    /// The values that there are.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0
            .iter()
            .filter_map(|value| value.get().map(|it| &**it))
    }
}
