//! A record from a request's steps: what each says of the request, and of itself.

use http::HeaderMap;
use http::header::HeaderName;
use serde_json::{Value, json};

use super::record::{Attempt, Head, QueuePassport, Record, Room, Step, ms};
use super::redact::Redaction;
use crate::model::journal::{self, AttemptStep, Noted, RequestHead};

/// A record that is being written.
pub(super) struct Writing<'a> {
    pub(super) record: &'a mut Record,
    pub(super) redaction: &'a Redaction,
    pub(super) room: Room,
}

impl Writing<'_> {
    /// Takes a step into it.
    pub(super) fn take(&mut self, noted: &Noted) {
        let at = ms(noted.after);
        let more = self.step(&noted.step, at);
        let Value::Object(more) = more else { return };
        self.record.steps.push(Step {
            ms: at,
            step: noted.step.name().to_owned(),
            more,
        });
    }

    /// Notes what a step says of the request as a whole, and gives what it says of itself.
    fn step(&mut self, step: &journal::Step, at: f64) -> Value {
        use journal::Step;
        match step {
            Step::HeadRead(head) => {
                self.record.request = Some(self.request_head(head));
                json!({})
            }
            Step::BindingSought { host, local } => {
                self.record.host = Some(host.as_str().to_owned());
                json!({ "host": host.as_str(), "local": local.to_string() })
            }
            Step::BindingFound { binding, site } => {
                let binding = binding.to_string();
                self.record.binding = Some(binding.clone());
                self.record.site = Some(site.to_string());
                json!({ "binding": binding, "site": site })
            }
            Step::RouteFound { route, pool } => {
                self.record.route = Some(route.to_string());
                self.record.pool = Some(pool.to_string());
                json!({ "route": route, "pool": pool })
            }
            Step::QueueEntered {
                position,
                length,
                running,
            } => self.entered_queue(at, *position, *length, *running),
            Step::QueueLeft => {
                let wait = self.left_queue(at, true);
                json!({ "wait_ms": wait })
            }
            Step::Rewritten { target } => json!({ "target": self.target(target.as_str()) }),
            Step::Attempt(number, step) => self.attempt(*number, step, at),
            Step::Refused { reason, detail } => {
                self.left_queue(at, false);
                let detail = self.short(detail);
                self.record.detail = Some(detail.clone());
                json!({ "reason": reason.as_str(), "detail": detail })
            }
            Step::ResponseHead(head) => {
                let status = head.status.as_u16();
                self.record.response = Some(Head {
                    status: Some(status),
                    ..self.head(&head.fields)
                });
                json!({ "status": status })
            }
            Step::LastByte { bytes } | Step::Cut { bytes } => {
                self.record.bytes_sent = *bytes;
                self.record.complete = matches!(step, Step::LastByte { .. });
                json!({ "bytes": bytes })
            }
            Step::HeadUnread
            | Step::HandlerBegan
            | Step::Paused
            | Step::HandlerAnswered
            | Step::FirstByte => json!({}),
        }
    }

    fn request_head(&mut self, head: &RequestHead) -> Head {
        let target = head.target.as_ref();
        let target = target.map(|target| self.target(target.as_str()));
        let method = Some(self.short(head.method.as_str()));
        Head {
            version: Some(format!("{:?}", head.version)),
            method,
            target,
            ..self.head(&head.fields)
        }
    }

    fn entered_queue(&mut self, at: f64, position: u32, length: u32, running: u32) -> Value {
        self.record.queue = Some(QueuePassport {
            position,
            length,
            running,
            entered_ms: at,
            ..QueuePassport::default()
        });
        json!({ "position": position, "length": length, "running": running })
    }

    /// The wait in the queue is over, if there was one; gives how long it was.
    fn left_queue(&mut self, at: f64, admitted: bool) -> f64 {
        match &mut self.record.queue {
            Some(queue) if queue.wait_ms == 0.0 && !queue.admitted => {
                queue.wait_ms = thousandths(at - queue.entered_ms);
                queue.admitted = admitted;
                queue.wait_ms
            }
            _ => 0.0,
        }
    }

    fn attempt(&mut self, number: u32, step: &AttemptStep, at: f64) -> Value {
        let detail = match step {
            AttemptStep::Failed { detail, .. } => self.short(detail),
            _ => String::new(),
        };
        let attempts = &mut self.record.attempts;
        let known = attempts.iter().position(|it| it.number == number);
        let known = known.unwrap_or_else(|| {
            attempts.push(Attempt {
                number,
                ..Attempt::default()
            });
            attempts.len() - 1
        });
        let attempt = &mut attempts[known];
        let mut more = json!({ "attempt": number });
        match step {
            AttemptStep::Began { upstream, cause } => {
                attempt.upstream = upstream.to_string();
                attempt.cause = cause.as_str().to_owned();
                attempt.began_ms = at;
                more["upstream"] = json!(upstream);
                more["cause"] = json!(cause.as_str());
            }
            AttemptStep::Kept => attempt.kept_connection = true,
            AttemptStep::Connected { to } => {
                attempt.kept_connection = false;
                more["to"] = json!(to.map(|to| to.to_string()));
            }
            AttemptStep::Secured { version } => more["version"] = json!(version),
            AttemptStep::Stale | AttemptStep::Sent => {}
            AttemptStep::Answered { status } => {
                attempt.ended_ms = Some(at);
                attempt.status = Some(status.as_u16());
                more["status"] = json!(status.as_u16());
            }
            AttemptStep::Failed { reason, .. } => {
                attempt.ended_ms = Some(at);
                attempt.reason = Some(reason.as_str().to_owned());
                attempt.detail = Some(detail.clone());
                more["reason"] = json!(reason.as_str());
                more["detail"] = json!(detail);
            }
        }
        more
    }

    fn head(&mut self, fields: &HeaderMap) -> Head {
        let room = self.room.fields;
        let mut written = Vec::with_capacity(fields.len().min(room));
        for (name, value) in fields.iter().take(room) {
            let value = self.redaction.field(name, value);
            let value = self.short(&value);
            written.push((self.name(name), value));
        }
        let left_out = fields.len() - written.len();
        self.record.shortened |= left_out > 0;
        Head {
            fields: written,
            fields_left_out: left_out,
            ..Head::default()
        }
    }

    fn name(&mut self, name: &HeaderName) -> String {
        self.short(name.as_str())
    }

    fn target(&mut self, target: &str) -> String {
        let target = self.redaction.target(target);
        self.short(&target)
    }

    fn short(&mut self, text: &str) -> String {
        let end = text.floor_char_boundary(self.room.value);
        if end == text.len() {
            return text.to_owned();
        }
        self.record.shortened = true;
        format!("{}… [{} bytes more]", &text[..end], text.len() - end)
    }
}

/// To a microsecond, as all times are: the difference of two such numbers may have more digits.
fn thousandths(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}
