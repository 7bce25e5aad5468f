use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, SET_COOKIE};
use http_body_util::BodyExt;

use super::*;
use crate::handler::tests::facts;
use crate::model::Reason;

fn config() -> config::Respond {
    config::Respond {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]),
        body: "Hello, World!".to_owned(),
        delay: Duration::ZERO,
    }
}

fn at_once(respond: &Respond) -> Response<Body> {
    (respond.handle_now(&Request::new(Body::empty()), &facts("shop.test")))
        .expect("the answer is known")
        .unwrap()
}

#[test]
fn the_answer_is_known_at_once_and_in_memory_as_a_whole() {
    let respond = Respond::new(&config(), 2);
    for _ in 0..2 {
        let mut response = at_once(&respond);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(response.headers()[CONTENT_LENGTH], "13");
        assert_eq!(response.headers().len(), 2);
        assert_eq!(response.body_mut().take_full().unwrap(), "Hello, World!");
    }
}

#[test]
fn a_field_may_have_several_values() {
    let mut config = config();
    for value in ["a=1", "b=2"] {
        config
            .headers
            .append(SET_COOKIE, HeaderValue::from_static(value));
    }
    let response = at_once(&Respond::new(&config, 1));
    let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[test]
fn statuses_without_content_have_none() {
    for status in [204, 205, 304] {
        let mut config = config();
        config.status = StatusCode::from_u16(status).unwrap();
        let response = at_once(&Respond::new(&config, 1));
        assert_eq!(response.status(), status);
        assert_eq!(response.body().full_len(), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_answer() {
    let mut config = config();
    config.delay = Duration::from_secs(2);
    let respond = Respond::new(&config, 1);
    let facts = facts("shop.test");
    let began = tokio::time::Instant::now();
    let reply = respond.handle(Request::new(Body::empty()), &facts);
    assert!(matches!(reply, Reply::Later(_)));
    let response = reply.wait().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    let content = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "Hello, World!");
}

#[test]
fn each_thread_has_a_content_of_its_own() {
    let respond = Respond::new(&config(), 2);
    let mut places = respond.prepared.iter().map(|p| p.content.as_ptr());
    assert_ne!(places.next(), places.next());
}

#[test]
fn an_error_status_is_a_response_and_no_refusal() {
    let mut config = config();
    config.status = Reason::Internal.status().unwrap();
    assert_eq!(at_once(&Respond::new(&config, 1)).status(), 500);
}
