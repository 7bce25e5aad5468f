//! One CA as this process deals with it: what is configured, its files, its ledger, its account.

use std::sync::{Mutex, PoisonError};

use instant_acme::Account;

use super::client::{self, RetryAfter};
use super::fault::Fault;
use super::ledger::Ledger;
use super::now;
use super::store::{Lock, Store};
use crate::config::Acme;

/// One CA.
pub(super) struct Office {
    pub(super) acme: Acme,
    pub(super) store: Store,
    ledger: Mutex<Ledger>,
    /// Of several orders at once one makes the account.
    opening: tokio::sync::Mutex<()>,
    /// Nobody else orders from this CA as long as this lives.
    _lock: Lock,
}

impl Office {
    /// Opens it; none where another process has it open.
    pub(super) fn open(acme: &Acme) -> Result<Option<Self>, Fault> {
        let store = Store::at(&acme.folder);
        let failed = |what: &'static str| {
            let folder = acme.folder.clone();
            move |error: std::io::Error| Fault::file(&folder, what, &error)
        };
        store.make(None).map_err(failed("made"))?;
        let Some(lock) = store.lock().map_err(failed("locked"))? else {
            return Ok(None);
        };
        let mut ledger = store.ledger().map_err(failed("read"))?;
        ledger.recover(now());
        store.save(&ledger).map_err(failed("written"))?;
        Ok(Some(Self {
            acme: acme.clone(),
            store,
            ledger: Mutex::new(ledger),
            opening: tokio::sync::Mutex::default(),
            _lock: lock,
        }))
    }

    /// Looks into the ledger.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes into the ledger, and brings it to the disk.
    pub(super) fn note(&self, write: impl FnOnce(&mut Ledger)) -> Result<(), Fault> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut ledger);
        let saved = self.store.save(&ledger);
        saved.map_err(|error| {
            Fault::file(&self.store.folder().join("ledger.json"), "written", &error)
        })
    }

    /// The account at the CA.
    pub(super) async fn account(&self, retry_after: &RetryAfter) -> Result<Account, Fault> {
        let _alone = self.opening.lock().await;
        client::account(&self.acme, &self.store, retry_after).await
    }
}
