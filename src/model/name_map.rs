//! A map from names to values, built once and asked by strangers.

use std::collections::HashMap;

/// Finds values by name, in a time that the number of names does not matter to.
///
/// A few names are compared one by one, which is quicker than hashing the question. More of them are hashed with the
/// standard library's keyed hash, so that nobody who picks the names can make them collide.
#[derive(Clone, Debug)]
pub struct NameMap<V>(Names<V>);

#[derive(Clone, Debug)]
enum Names<V> {
    Few(Box<[(Box<str>, V)]>),
    Many(HashMap<Box<str>, V>),
}

impl<V> NameMap<V> {
    /// The value of a name.
    pub fn find(&self, name: &str) -> Option<&V> {
        match &self.0 {
            Names::Few(names) => names
                .iter()
                .find_map(|(known, value)| (**known == *name).then_some(value)),
            Names::Many(names) => names.get(name),
        }
    }

    /// Whether there is no name at all, and nothing to work out before asking.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Names::Few(names) => names.is_empty(),
            Names::Many(names) => names.is_empty(),
        }
    }
}

/// Of two values with one name the first stays.
impl<V> FromIterator<(Box<str>, V)> for NameMap<V> {
    fn from_iter<I: IntoIterator<Item = (Box<str>, V)>>(names: I) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        Self(if names.len() <= FEW {
            Names::Few(names.into())
        } else {
            let mut map = HashMap::with_capacity(names.len());
            for (name, value) in names {
                map.entry(name).or_insert(value);
            }
            Names::Many(map)
        })
    }
}

impl<V> Default for NameMap<V> {
    fn default() -> Self {
        Self(Names::Few(Box::default()))
    }
}

/// Comparing this many names, most of which differ in length, costs about as much as hashing one.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_name_whether_there_are_few_or_many() {
        for count in [0, 1, FEW, FEW + 1, 1_000] {
            let map: NameMap<usize> = (0..count).map(|n| (format!("n{n}").into(), n)).collect();
            assert_eq!(map.is_empty(), count == 0);
            for n in 0..count {
                assert_eq!(map.find(&format!("n{n}")), Some(&n));
            }
            assert_eq!(map.find(&format!("n{count}")), None);
            assert_eq!(map.find(""), None);
        }
    }

    #[test]
    fn keeps_the_first_of_two_values_with_one_name() {
        for count in [2, 100] {
            let map: NameMap<usize> = (0..count).map(|n| ("same".into(), n)).collect();
            assert_eq!(map.find("same"), Some(&0));
        }
    }
}
