//! A tree of path segments: finds the longest path that another path is at or under.
//!
//! One walk from the root, a look-up a segment, ended by the first segment that nothing is known of: the cost is bounded by
//! the depth of the tree and the bytes walked over, whatever the length of the path asked for and the number of paths.

use std::collections::HashMap;

use crate::model::NameMap;

/// Values by path.
#[derive(Debug)]
pub(super) struct Tree<V> {
    /// The root is the first.
    nodes: Vec<Node<V>>,
}

#[derive(Debug)]
struct Node<V> {
    value: Option<V>,
    /// By segment, into the tree's nodes.
    children: NameMap<usize>,
}

impl Tree<Vec<usize>> {
    /// Builds a tree; what shares a path is kept together, in order.
    pub(super) fn build<'a>(paths: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let mut values = vec![Vec::new()];
        let mut children: Vec<HashMap<Box<str>, usize>> = vec![HashMap::new()];
        for (path, value) in paths {
            let mut at = 0;
            for segment in path.split('/').filter(|segment| !segment.is_empty()) {
                let fresh = values.len();
                at = *children[at].entry(segment.into()).or_insert(fresh);
                if at == fresh {
                    values.push(Vec::new());
                    children.push(HashMap::new());
                }
            }
            values[at].push(value);
        }
        let nodes = values.into_iter().zip(children);
        Self {
            nodes: nodes
                .map(|(value, children)| Node {
                    value: (!value.is_empty()).then_some(value),
                    children: children.into_iter().collect(),
                })
                .collect(),
        }
    }

    /// The same tree with other values.
    pub(super) fn map<V>(self, change: impl Fn(Vec<usize>) -> V) -> Tree<V> {
        let nodes = self.nodes.into_iter();
        Tree {
            nodes: nodes
                .map(|node| Node {
                    value: node.value.map(&change),
                    children: node.children,
                })
                .collect(),
        }
    }
}

impl<V> Tree<V> {
    /// The value of the longest path that `path` is at or under; none for what does not begin with `/`.
    pub(super) fn longest(&self, path: &str) -> Option<&V> {
        let mut rest = path.strip_prefix('/')?;
        let mut node = self.nodes.first()?;
        let mut longest = node.value.as_ref();
        while !node.children.is_empty() {
            let (segment, behind) = rest.split_once('/').unwrap_or((rest, ""));
            match node.children.find(segment) {
                Some(&child) => node = &self.nodes[child],
                None => break,
            }
            longest = node.value.as_ref().or(longest);
            rest = behind;
        }
        longest
    }
}
