//! A program's own handler sees nothing that a client claims of certificates.

use std::sync::Mutex;

use http::{HeaderValue, Response, Uri};
use http_body_util::BodyExt as _;
use http_body_util::StreamBody;
use proptest::prelude::*;

use super::*;
use crate::model::{
    Activity, ClientAddr, Connection, LocalAddr, Protocol, Provenance, Reached, RoutePath,
    split_authority,
};

/// Keeps what it saw, and answers at once where it may.
#[derive(Default)]
struct Witness(Mutex<Vec<String>>);

impl Witness {
    fn see(&self, fields: &HeaderMap) {
        let names = fields.keys().map(|name| name.as_str().to_owned());
        self.0.lock().unwrap().extend(names);
    }
}

impl Handler for Witness {
    fn handle<'a>(&'a self, request: Request<Body>, _: &'a Facts) -> Reply<'a> {
        self.see(request.headers());
        Reply::later(async move {
            let content = request.into_body().collect().await.expect("content");
            if let Some(trailers) = content.trailers() {
                self.see(trailers);
            }
            Ok(Response::new(Body::full(content.to_bytes())))
        })
    }

    fn handle_now(&self, request: &Request<Body>, _: &Facts) -> Option<Outcome> {
        self.see(request.headers());
        Some(Ok(Response::new(Body::empty())))
    }
}

fn facts() -> Facts {
    let address = |text: &str| text.parse().expect("an address");
    Facts {
        connection: Arc::new(Connection {
            client: ClientAddr::new(address("192.0.2.7:4711")),
            local: LocalAddr::new(address("127.0.0.1:80")),
            tls: None,
            activity: Activity::default(),
        }),
        protocol: Protocol::Http1,
        host: split_authority("shop.test").expect("a host").0,
        host_port: None,
        path: RoutePath::parse(Uri::from_static("/").path_and_query().expect("a path"))
            .expect("a good path"),
        rules: None,
        provenance: Provenance::default(),
        journal: None,
        reached: Reached::default(),
    }
}

const FORGED: [&str; 5] = [
    "client-cert",
    "client_cert",
    "client.cert",
    "client-cert-chain",
    "client_cert-chain",
];

fn forged() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for name in FORGED.into_iter().chain(["client-certificate", "x-good"]) {
        fields.append(name, HeaderValue::from_static(":Zm9yZ2Vk:"));
        fields.append(name, HeaderValue::from_static("twice"));
    }
    fields
}

#[tokio::test]
async fn what_a_client_claims_reaches_no_handler_in_a_head_or_in_trailers() {
    let witness = Arc::new(Witness::default());
    let handler = Unforged::new(witness.clone());
    let pieces = [
        Ok::<_, BodyError>(Frame::data(Bytes::from_static(b"content"))),
        Ok(Frame::trailers(forged())),
    ];
    let content = Body::stream(StreamBody::new(futures_util::stream::iter(pieces)));
    let mut request = Request::new(content);
    *request.headers_mut() = forged();
    let facts = facts();
    assert!(handler.handle_now(&request, &facts).is_none());
    let response = handler
        .handle(request, &facts)
        .wait()
        .await
        .expect("a response");
    let content = response.into_body().collect().await.expect("content");
    assert_eq!(content.to_bytes(), "content");
    let mut seen = witness.0.lock().unwrap().clone();
    seen.sort();
    let kept = ["client-certificate", "x-good"];
    assert_eq!(seen, [kept[0], kept[0], kept[1], kept[1]]);
}

#[test]
fn a_request_without_claims_is_answered_as_soon_as_before() {
    let handler = Unforged::new(Arc::new(Witness::default()));
    let request = Request::new(Body::empty());
    assert!(handler.handle_now(&request, &facts()).is_some());
}

proptest! {
    #[test]
    fn a_name_is_ours_if_it_reads_so(name in "[a-z_.-]{0,20}|client[-_.]cert([-_.]chain)?") {
        let read = name.replace(['_', '.'], "-");
        let ours = read == "client-cert" || read == "client-cert-chain";
        prop_assert_eq!(is_client_certificate(&name), ours);
    }
}
