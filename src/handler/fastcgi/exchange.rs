//! One request to one application, until its response's head.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::application::Application;
use super::connection::{Apart, Connection, NotSent, Sent, send};
use super::content::{Content, Sending};
use super::head::{Gather, Head};
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::record::Event;
use crate::clock::LazyTimer;
use crate::config::Upstream;
use crate::handler::notes::Notes;
use crate::handler::proxy::{Attempt, Progress, one_length, tells_length, to_client};
use crate::model::journal::AttemptStep;
use crate::model::{Body, Reason, Refusal};

/// Why there is no response.
pub(super) struct Failure {
    pub(super) attempt: Attempt,
    /// Whether the application has said anything.
    pub(super) heard: bool,
}

type Sender = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// Both directions of one request.
struct Exchange<'a> {
    application: &'a Upstream,
    /// None once it is done.
    sender: Option<Sender>,
    sent: Option<Sent>,
    inbound: Inbound,
    gather: Gather,
    progress: Option<Arc<Progress>>,
    notes: &'a Notes,
}

/// Sends a request and waits for its response's head.
pub(super) async fn run(
    application: &Application,
    connection: Connection,
    outbound: &mut Outbound,
) -> Result<Response<Body>, Failure> {
    let Connection {
        read,
        write,
        origin,
        ..
    } = connection;
    let sender = send(write, outbound.head.clone(), outbound.content.take());
    let mut exchange = Exchange {
        application: &application.name,
        sender: Some(Box::pin(sender)),
        sent: None,
        inbound: Inbound::new(read, application.name.clone()),
        gather: Gather::default(),
        progress: outbound.progress.take(),
        notes: &outbound.notes,
    };
    let began = Instant::now();
    let answered = exchange.head(application.response_timeout, began).await;
    let took = began.elapsed();
    let (head, rest) = answered.map_err(|attempt| Failure {
        attempt,
        heard: exchange.inbound.has_heard(),
    })?;
    let expects = Expects::of(&outbound.method, &head).map_err(|fault| Failure {
        attempt: Attempt::Final(protocol_broken(&application.name, fault)),
        heard: true,
    })?;
    let sending = match (exchange.sent, exchange.sender) {
        (Some(sent), _) => Sending::Done(sent),
        (None, Some(sender)) => Sending::Apart(Apart(tokio::spawn(sender))),
        (None, None) => Sending::Gone,
    };
    let content = Content::new(
        application,
        exchange.inbound,
        sending,
        origin,
        expects.length,
    );
    let Head { status, mut fields } = head;
    to_client(&mut fields, expects.tells_length);
    let mut content = Some((content, rest));
    let body = poll_fn(|cx| {
        let whole = content
            .take()
            .map(|(content, rest)| content.into_body(rest, expects.nothing, cx));
        Poll::Ready(whole.unwrap_or_default())
    });
    let mut response = Response::new(body.await);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    outbound.notes.answered(took);
    Ok(response)
}

impl Exchange<'_> {
    /// Waits for the head, for so long.
    async fn head(&mut self, timeout: Duration, began: Instant) -> Result<(Head, Bytes), Attempt> {
        let mut timer = LazyTimer::default();
        poll_fn(|cx| {
            if let Poll::Ready(answered) = self.poll(cx) {
                return Poll::Ready(answered);
            }
            // A long upload is no slow application: the time counts from its last piece.
            let progress = self.progress.as_ref();
            let since =
                progress.map_or(Some(began), |progress| progress.upstream_waited_for(began));
            match since {
                Some(since) if timer.poll_until(since + timeout, Instant::now(), cx) => {
                    let name = self.application;
                    let detail = format!("{name} did not begin its response in time");
                    let refusal = Refusal::new(Reason::UpstreamTimeout, detail);
                    Poll::Ready(Err(Attempt::Final(refusal)))
                }
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Both ways on, until there is a head.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Bytes), Attempt>> {
        if let Some(sender) = &mut self.sender
            && let Poll::Ready(sent) = sender.as_mut().poll(cx)
        {
            self.sender = None;
            if let Err(NotSent::Content(error)) = sent.outcome {
                let broke = self
                    .progress
                    .as_ref()
                    .and_then(|progress| progress.take_broke());
                let refusal = broke.unwrap_or_else(|| error.into());
                return Poll::Ready(Err(Attempt::Final(refusal)));
            }
            self.notes.note(|| AttemptStep::Sent);
            // One that takes no more may have answered all the same, or says now that it has closed.
            self.sent = Some(sent);
        }
        loop {
            let event = match ready!(self.inbound.poll_event(cx)) {
                Ok(event) => event,
                Err(broken) => {
                    return Poll::Ready(Err(Attempt::Final(broken.refusal(self.application))));
                }
            };
            match event {
                Event::Stdout(piece) => match self.gather.push(&piece) {
                    Ok(None) => {}
                    Ok(Some(whole)) => return Poll::Ready(Ok(whole)),
                    Err(fault) => return Poll::Ready(Err(self.broken(fault))),
                },
                Event::StdoutEnd | Event::Stderr(_) => {}
                Event::End {
                    application,
                    protocol,
                } => {
                    return Poll::Ready(Err(self.ended(application, protocol)));
                }
            }
        }
    }

    fn broken(&self, fault: impl std::fmt::Display) -> Attempt {
        Attempt::Final(protocol_broken(self.application, fault))
    }

    /// It is over without a response.
    fn ended(&self, status: u32, protocol: u8) -> Attempt {
        let name = self.application;
        match protocol {
            COMPLETE if self.gather.has_begun() => {
                self.broken("its response ends in the middle of its head")
            }
            COMPLETE => self.broken(format_args!(
                "it ended the request with status {status} and without a response"
            )),
            // It has done nothing: another may.
            OVERLOADED | CANNOT_MULTIPLEX => {
                let detail = format!("{name} takes no more requests just now");
                let refusal = Refusal::new(Reason::UpstreamConnect, detail);
                Attempt::Elsewhere(refusal.with_status(StatusCode::SERVICE_UNAVAILABLE))
            }
            UNKNOWN_ROLE => {
                self.broken("it is no responder: it speaks FastCGI for another purpose")
            }
            other => self.broken(format_args!(
                "it ended the request with the unknown status {other}"
            )),
        }
    }
}

/// What content a response has.
struct Expects {
    /// None is to come, whatever comes.
    nothing: bool,
    /// How much, if it says.
    length: Option<u64>,
    /// Whether its length is told to the client though there is nothing.
    tells_length: bool,
}

impl Expects {
    fn of(method: &Method, head: &Head) -> Result<Self, &'static str> {
        let is_said = head.fields.contains_key(http::header::CONTENT_LENGTH);
        let length = one_length(&head.fields);
        if is_said && length.is_none() {
            return Err(
                "its response says how long it is in more than one way, or no length at all",
            );
        }
        let nothing = *method == Method::HEAD
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        Ok(Self {
            nothing,
            length,
            tells_length: tells_length(method, head.status),
        })
    }
}

fn protocol_broken(name: &Upstream, fault: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::UpstreamProtocol, format!("{name}: {fault}"))
}

/// FastCGI 1.0 section 5.5.
const COMPLETE: u8 = 0;
const CANNOT_MULTIPLEX: u8 = 1;
const OVERLOADED: u8 = 2;
const UNKNOWN_ROLE: u8 = 3;
