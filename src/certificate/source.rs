//! Where a binding's certificates come from.

use std::sync::Arc;
use std::time::SystemTime;

use super::choice::Choice;
use super::folder::Folder;
use crate::model::{HostName, HostPattern};

/// Where a binding's certificate comes from.
#[derive(Clone)]
pub enum Source {
    /// Always this one.
    Named(Choice),
    /// By name.
    Folder(Arc<Folder>),
    /// By name, else this placeholder: it is still being ordered.
    Ordered(Arc<Folder>, Choice),
}

impl Source {
    /// The certificates for a client that asked for `name`, or for none and arrived at that address.
    pub fn find(&self, name: &HostName, named: bool) -> Option<&Choice> {
        match self {
            Self::Named(choice) => Some(choice),
            Self::Folder(folder) => folder
                .choice(name)
                .or_else(|| if named { None } else { folder.default_choice() }),
            Self::Ordered(folder, placeholder) => {
                folder.choice(name).or_else(|| named.then_some(placeholder))
            }
        }
    }

    /// The certificates for a binding's hosts.
    fn of_hosts(&self, hosts: &HostPattern) -> Option<&Choice> {
        match hosts {
            HostPattern::Exact(host) => self.find(host, true),
            HostPattern::Wildcard(parent) => match self {
                Self::Named(choice) => Some(choice),
                Self::Folder(folder) => folder.wildcard_choice(parent),
                Self::Ordered(folder, before) => {
                    Some(folder.wildcard_choice(parent).unwrap_or(before))
                }
            },
            HostPattern::Strong | HostPattern::Any => None,
        }
    }

    /// While nothing has come of an order, what the same binding showed before goes on being shown: a placeholder, which no
    /// client trusts, is for those who had nothing.
    pub fn beside(self, before: Option<&Self>, hosts: &HostPattern, now: SystemTime) -> Self {
        let before = before.and_then(|before| before.of_hosts(hosts));
        match (self, before) {
            (Self::Ordered(folder, _), Some(choice)) if choice.preferred().not_after > now => {
                Self::Ordered(folder, choice.clone())
            }
            (source, _) => source,
        }
    }
}
