//! Where a pool's supervisor is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::view::PoolView;
use crate::config;
use crate::worker::Tally;

/// Where a pool's supervisor is asked. Once it is dropped, the workers end.
#[derive(Debug)]
pub struct Desk {
    orders: mpsc::Sender<Order>,
    tally: Arc<Tally>,
}

/// What a supervisor is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Other workers in place of these; answered when they serve.
    Recycle(Answer),
    Stop(Answer),
    Start(Answer),
    /// Other settings.
    Reload(Box<config::Process>),
    /// The workers are to end for good; answered when they have.
    End(oneshot::Sender<()>),
    Show(oneshot::Sender<PoolView>),
}

/// What came of it, in a sentence, or why nothing did.
pub(super) type Answer = oneshot::Sender<Result<String, String>>;

impl Desk {
    pub(super) fn new(tally: &Arc<Tally>) -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let desk = Self {
            orders: sender,
            tally: Arc::clone(tally),
        };
        (desk, orders)
    }

    /// What is counted of the workers, at once and whatever the supervisor is at.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Replaces the workers, and says what came of it.
    pub fn recycle(&self) -> impl Future<Output = Result<String, String>> + Send + use<> {
        self.ask(Order::Recycle)
    }

    /// Stops the pool.
    pub fn stop(&self) -> impl Future<Output = Result<String, String>> + Send + use<> {
        self.ask(Order::Stop)
    }

    /// Starts the pool, if it is stopped or disabled.
    pub fn start(&self) -> impl Future<Output = Result<String, String>> + Send + use<> {
        self.ask(Order::Start)
    }

    /// Has the workers started by other settings from now on, and replaces those that are there.
    pub fn reload(&self, settings: config::Process) {
        if let Err(error) = self.orders.try_send(Order::Reload(Box::new(settings))) {
            tracing::error!(%error, "the supervisor of a pool does not take its new settings");
        }
    }

    /// Ends the workers; done when they are gone.
    pub fn end(&self) -> impl Future<Output = ()> + Send + use<> {
        let (reply, done) = oneshot::channel();
        let sent = self.orders.try_send(Order::End(reply));
        async move {
            if sent.is_ok() {
                // Dropped unsent, they are gone as well.
                let _ = done.await;
            }
        }
    }

    /// How everything stands; none where nobody is there to say.
    pub fn show(&self) -> impl Future<Output = Option<PoolView>> + Send + use<> {
        let (reply, view) = oneshot::channel();
        let sent = self.orders.try_send(Order::Show(reply));
        async move {
            sent.ok()?;
            view.await.ok()
        }
    }

    fn ask(
        &self,
        order: fn(Answer) -> Order,
    ) -> impl Future<Output = Result<String, String>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.try_send(order(reply));
        async move {
            if sent.is_err() {
                return Err("the pool's supervisor is too busy to be asked; try again".to_owned());
            }
            match tokio::time::timeout(ANSWER_WAIT, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err("the pool ends".to_owned()),
                Err(_) => {
                    Ok("it is under way; `portunus show pools` tells what comes of it".to_owned())
                }
            }
        }
    }
}

/// Orders come from people.
const ORDERS_MAX: usize = 64;

/// Less than an administrator's client waits. A start may take longer.
const ANSWER_WAIT: Duration = Duration::from_secs(45);
