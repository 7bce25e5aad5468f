//! The paths of the API, and its answers: JSON, or text for who asks for `text/plain`, in UTF-8; a failure is always
//! `{"error": "…"}`.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Declined, Filter, Form, PoolOrder, Probe, Question, Told, Wanted, dashboard, query};
use crate::model::{plain_json, plain_lines};
use crate::report::metrics::CONTENT_TYPE as EXPOSITION;

const POOLS: &str = "/v1/pools";
const CONNECTIONS: &str = "/v1/connections";
const EXPLAIN: &str = "/v1/explain";
const ALL: Filter = Filter {
    limit: None,
    client: None,
};

/// Where what happens is told as it happens: an answer that goes on, and so no question.
pub(super) const EVENTS: &str = "/v1/events";

/// Every path but those of single pools, with its method and what it asks.
static PATHS: [(&str, Method, Question); 19] = [
    ("/v1/certificates", Method::GET, Question::Certificates),
    (POOLS, Method::GET, Question::Pools),
    ("/v1/service", Method::GET, Question::Service),
    ("/v1/bindings", Method::GET, Question::Bindings),
    (CONNECTIONS, Method::GET, Question::Connections(ALL)),
    ("/v1/tls-failures", Method::GET, Question::TlsFailures),
    ("/v1/overview", Method::GET, Question::Overview),
    ("/v1/history", Method::GET, Question::History),
    ("/v1/refusals", Method::GET, Question::Refusals(Wanted::ANY)),
    (EXPLAIN, Method::GET, Question::Explain(None)),
    ("/metrics", Method::GET, Question::Metrics),
    ("/livez", Method::GET, Question::Live(Probe::NEW)),
    ("/readyz", Method::GET, Question::Ready(Probe::NEW)),
    ("/v1/openapi.json", Method::GET, Question::OpenApi),
    ("/v1/plan", Method::GET, Question::Plan),
    ("/v1/login-codes", Method::POST, Question::LoginCode),
    ("/v1/reload", Method::POST, Question::Reload),
    ("/v1/stop", Method::POST, Question::Stop { now: false }),
    ("/v1/stop-now", Method::POST, Question::Stop { now: true }),
];

/// What a request asks, or the answer to one that asks nothing.
pub(super) fn question(method: &Method, uri: &Uri) -> Result<Question, Box<Response<Full<Bytes>>>> {
    let path = uri.path();
    let known = PATHS.iter().find(|(known, ..)| *known == path);
    let found = known.map(|(_, method, question)| (method.clone(), question.clone()));
    let Some((asked_with, question)) = found.or_else(|| Some((Method::POST, of_pool(path)?)))
    else {
        let mut paths: Vec<_> = PATHS.iter().map(|(path, ..)| (*path).to_owned()).collect();
        paths.push(EVENTS.to_owned());
        let orders = PoolOrder::ALL.iter();
        paths.extend(orders.map(|order| format!("{POOLS}/NAME/{}", order.as_str())));
        let error = json!({ "error": "there is nothing at this path", "paths": paths });
        return Err(Box::new(respond(StatusCode::NOT_FOUND, &error)));
    };
    if *method != asked_with {
        let text = format!("{path} takes {asked_with}");
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &text);
        let allow = HeaderValue::from_str(asked_with.as_str());
        if let Ok(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
        return Err(Box::new(response));
    }
    match (question, uri.query()) {
        (Question::Live(_), Some(query)) => Ok(Question::Live(probe(query))),
        (Question::Ready(_), Some(query)) => Ok(Question::Ready(probe(query))),
        // Somebody means something by it, which would not be done: a reload that was to be a dry run, say.
        (question, Some(_)) if question.action().is_some() => {
            let text = format!("{path} takes no query; GET /v1/plan tells what a reload would do");
            Err(Box::new(error(StatusCode::BAD_REQUEST, &text)))
        }
        (question, query) => {
            let question = query::of(question, query.unwrap_or_default());
            question.map_err(|why| Box::new(error(StatusCode::BAD_REQUEST, &why)))
        }
    }
}

/// Every method and path that there is, as the document writes it.
#[cfg(test)]
pub(super) fn all() -> Vec<(String, String)> {
    let paths = PATHS.iter();
    let paths = paths.map(|(path, method, _)| (method.to_string(), (*path).to_owned()));
    let orders = PoolOrder::ALL.iter();
    let orders = orders.map(|order| {
        let path = format!("{POOLS}/{{name}}/{}", order.as_str());
        (Method::POST.to_string(), path)
    });
    let events = [(Method::GET.to_string(), EVENTS.to_owned())];
    paths.chain(orders).chain(events).collect()
}

/// As Kubernetes' own servers take it: `verbose`, whatever it is set to, and `exclude=NAME` as often as one likes; what else
/// there is means nothing, since who watches may put something there for a cache.
fn probe(query: &str) -> Probe {
    let mut probe = Probe::NEW;
    for part in query.split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "verbose" => probe.verbose = true,
            "exclude" => {
                let name = percent_decode_str(value).decode_utf8_lossy();
                probe.exclude.push(name.into_owned());
            }
            _ => {}
        }
    }
    probe
}

/// What a path asks of one pool.
fn of_pool(path: &str) -> Option<Question> {
    let (name, order) = (path.strip_prefix(POOLS)?.strip_prefix('/')?).split_once('/')?;
    let order = PoolOrder::ALL.into_iter().find(|it| it.as_str() == order)?;
    let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
    Some(Question::Pool { name, order })
}

/// How a question is asked.
pub(super) fn path(question: &Question) -> (Method, String) {
    if let Question::Pool { name, order } = question {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        return (Method::POST, format!("{POOLS}/{name}/{}", order.as_str()));
    }
    if let Question::Connections(filter) = question {
        return (
            Method::GET,
            format!("{CONNECTIONS}{}", query::filtered(*filter)),
        );
    }
    if let Question::Explain(Some(asked)) = question {
        return (Method::GET, format!("{EXPLAIN}{}", query::explains(asked)));
    }
    let (path, method, _) = PATHS
        .iter()
        .find(|(_, _, asked)| asked == question)
        .unwrap_or(&PATHS[0]);
    (method.clone(), (*path).to_owned())
}

/// The document that describes all of it, for programs.
pub(super) const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// The form in which an answer is asked for.
pub(super) fn form(accept: Option<&HeaderValue>) -> Form {
    match accept.is_some_and(|accept| accept.as_bytes() == TEXT) {
        true => Form::Text,
        false => Form::Json,
    }
}

/// The response to what was asked, in the form in which it was.
pub(super) fn answer(
    question: &Question,
    answer: Result<Told, Declined>,
    form: Form,
) -> Response<Full<Bytes>> {
    match answer {
        Ok(told) if *question == Question::Metrics => {
            with_content(StatusCode::OK, EXPOSITION, told.content)
        }
        // Whoever asks it looks at the status, and a person at the text.
        Ok(told) if matches!(question, Question::Live(_) | Question::Ready(_)) => {
            with_content(StatusCode::OK, PLAIN, told.content)
        }
        Err(Declined(why)) if matches!(question, Question::Live(_) | Question::Ready(_)) => {
            with_content(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why)
        }
        Ok(told) if *question == Question::OpenApi => {
            with_content(StatusCode::OK, JSON, told.content)
        }
        // Whoever looks at it on a terminal is told what clients sent, too.
        Ok(told) => match form {
            Form::Json => with_content(StatusCode::OK, JSON, plain_json(told.content)),
            Form::Text => with_content(StatusCode::OK, PLAIN, plain_lines(told.content)),
        },
        Err(Declined(why)) if matches!(question, Question::Explain(_)) => {
            error(StatusCode::BAD_REQUEST, &why)
        }
        // The server goes on as it was: a conflict with what it is, not a fault of it.
        Err(Declined(why)) => error(StatusCode::CONFLICT, &why),
    }
}

pub(super) fn error(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = respond(status, &json!({ "error": why }));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"portunus\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn respond(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    with_content(status, JSON, plain_json(format!("{value:#}\n")))
}

/// `kind`: its media type.
pub(super) fn with_content(
    status: StatusCode,
    kind: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    dashboard::harden(fields);
    response
}

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// What `Accept` holds where the form for a person is wanted; anything else is a program's.
pub(super) const TEXT: &[u8] = b"text/plain";
