//! Consistent hashing: a key finds its upstream on a ring, and the next one when that takes no requests. Pure.
//!
//! An upstream that goes takes with it only the keys that were its own, and they spread over all others; the points are made
//! of its name alone, so that every Portunus with the same upstreams finds the same one, whatever their order in the file.
//!
//! A ring rather than maglev: a maglev table answers in one look, but moves some percent of the other keys too when it is
//! built anew. Finding a point among thousands costs less than a hundred nanoseconds.

/// Points on a ring, each with the index of its upstream.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// `upstreams`: name and weight of each; one of weight 0 has no point.
    pub(super) fn new<'a>(upstreams: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let common = upstreams
            .clone()
            .fold(0, |common, (_, weight)| gcd(common, u64::from(weight)))
            .max(1);
        let total: u64 = upstreams
            .clone()
            .map(|(_, weight)| u64::from(weight) / common)
            .sum();
        let each = (POINTS_MAX / total.max(1)).clamp(1, POINTS);
        let mut points = Vec::new();
        for (index, (name, weight)) in upstreams.enumerate() {
            let mut point = hash(name.as_bytes());
            for _ in 0..u64::from(weight) / common * each {
                point = point.wrapping_add(STEP);
                points.push((mix(point), u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        points.sort_unstable();
        Self {
            points: points.into_boxed_slice(),
        }
    }

    /// The upstream of a key: the first at or behind it that is `open`.
    pub(super) fn find(&self, key: u64, open: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(point, _)| *point < key);
        let (before, behind) = self.points.split_at(start);
        let mut refused = None;
        for (_, index) in behind.iter().chain(before) {
            // Neighbours are often alike, and whether one is open costs a look at shared memory.
            if refused == Some(*index) {
                continue;
            }
            let upstream = *index as usize;
            if open(upstream) {
                return Some(upstream);
            }
            refused = Some(*index);
        }
        None
    }
}

/// FNV-1a, and then mixed: the same in every version and on every machine, which the standard library's is not.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash)
}

/// The finish of splitmix64: every bit of what goes in moves every bit of what comes out.
pub(super) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// splitmix64's.
pub(super) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Points of an upstream for each step of its weight: shares are then true to about 7 %. nginx has 160.
const POINTS: u64 = 200;

/// Of all upstreams, unless there are more of them: 4 MiB.
const POINTS_MAX: u64 = 1 << 18;

#[cfg(test)]
mod tests;
