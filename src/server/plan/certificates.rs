//! Which certificates come, go and change, and which bindings show them.

use std::collections::HashMap;

use super::{Change, How, Kind};
use crate::certificate::{Certificates, Inventory, InventoryEntry, dev};
use crate::config::Config;
use crate::model::HostPattern;

/// What differs between the certificates of two configurations.
pub(super) fn all(
    (old_config, old): (&Config, &Certificates),
    (new_config, new): (&Config, &Certificates),
) -> Vec<Change> {
    let before = Inventory::of(old_config, old).certificates;
    let now = Inventory::of(new_config, new).certificates;
    let id = |entry: &InventoryEntry| (entry.name.clone(), entry.file.clone());
    let of: HashMap<_, _> = before.iter().map(|entry| (id(entry), entry)).collect();
    let mut changes = Vec::new();
    for entry in &now {
        let Some(of) = of.get(&id(entry)) else {
            changes.push(change(entry, How::Added, Vec::new()));
            continue;
        };
        let fingerprint =
            |it: &InventoryEntry| it.shown.as_ref().map(|it| it.fingerprint_sha256.clone());
        let mut keys = Vec::new();
        if fingerprint(of) != fingerprint(entry) {
            keys.push("content".to_owned());
        }
        if of.used_by != entry.used_by {
            keys.push("bindings".to_owned());
        }
        if !keys.is_empty() {
            changes.push(change(entry, How::Changed, keys));
        }
    }
    let there: std::collections::HashSet<_> = now.iter().map(id).collect();
    let gone = before.iter().filter(|entry| !there.contains(&id(entry)));
    changes.extend(gone.map(|entry| Change {
        detail: None,
        ..change(entry, How::Removed, Vec::new())
    }));
    changes
}

fn change(entry: &InventoryEntry, how: How, keys: Vec<String>) -> Change {
    Change {
        kind: Kind::Certificate,
        name: format!("{} ({})", entry.name, entry.file.display()),
        change: how,
        keys,
        detail: Some(shown_by(&entry.used_by)),
    }
}

fn shown_by(bindings: &[String]) -> String {
    match bindings.is_empty() {
        true => "shown by no binding".to_owned(),
        false => format!("shown by {}", bindings.join(", ")),
    }
}

/// The development certificates that a reload makes.
pub(super) fn add_missing(changes: &mut Vec<Change>, config: &Config, missing: &dev::Missing<'_>) {
    for (host, file) in missing.files() {
        let shows =
            |hosts: &HostPattern| matches!(hosts, HostPattern::Exact(it) if it.as_str() == host);
        let bindings = config.bindings.iter();
        let used_by: Vec<String> = bindings
            .filter(|binding| missing.is_for(binding) && shows(&binding.hostname))
            .map(|binding| binding.key().to_string())
            .collect();
        let made_anew = file.exists();
        changes.push(Change {
            kind: Kind::Certificate,
            name: format!("{host} ({})", file.display()),
            change: if made_anew { How::Changed } else { How::Added },
            keys: if made_anew {
                vec!["content".to_owned()]
            } else {
                Vec::new()
            },
            detail: Some(shown_by(&used_by)),
        });
    }
}
