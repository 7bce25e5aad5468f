use http::header::HOST;

use super::*;
use crate::model::HostName;
use crate::model::template::{Placeholder, Target};

fn filled(text: &str) -> FieldText {
    FieldText::Filled(Template::parse(text, Placeholder::ALL))
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

#[test]
fn fields_are_removed_then_set_then_added() {
    let mut fields = HeaderMap::new();
    for (field, value) in [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1"), ("d", "1")] {
        fields.append(name(field), HeaderValue::from_static(value));
    }
    let fixed = |text| FieldText::Fixed(HeaderValue::from_static(text));
    let changes = FieldChanges {
        remove: vec![name("a"), name("c")],
        set: vec![
            (name("b"), fixed("x")),
            (name("b"), fixed("y")),
            (name("c"), filled("{path}!")),
        ],
        add: vec![(name("d"), fixed("2")), (name("e"), filled("{query}"))],
    };
    let (uri, host) = (
        "/p?q".parse().unwrap(),
        HostName::parse("shop.test").unwrap(),
    );
    changes.apply(
        &mut fields,
        &Target {
            uri: &uri,
            host: &host,
        },
    );
    let all = |field: &str| {
        fields
            .get_all(field)
            .iter()
            .map(|it| it.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("a"), Vec::<&str>::new());
    assert_eq!(all("b"), ["x", "y"]);
    assert_eq!(all("c"), ["/p!"]);
    assert_eq!(all("d"), ["1", "2"]);
    assert_eq!(all("e"), ["q"]);
}

#[test]
fn a_field_that_says_nothing_is_not_sent_and_takes_the_clients_with_it() {
    let mut fields = HeaderMap::new();
    fields.insert(name("x-query"), HeaderValue::from_static("of the client"));
    let changes = FieldChanges {
        set: vec![(name("x-query"), filled("{query}"))],
        ..FieldChanges::default()
    };
    let (uri, host) = ("/p".parse().unwrap(), HostName::parse("shop.test").unwrap());
    changes.apply(
        &mut fields,
        &Target {
            uri: &uri,
            host: &host,
        },
    );
    assert!(fields.is_empty());
}

proptest::proptest! {
    /// Whatever a client sends, a value stays within its field, and within quotes around it.
    #[test]
    fn no_value_breaks_out(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
        let Ok(uri) = http::Uri::try_from([b"/", &bytes[..]].concat()) else { return Ok(()) };
        let host = HostName::parse("shop.test").unwrap();
        let changes = FieldChanges { set: vec![(HOST, filled("\"{uri}\""))], ..FieldChanges::default() };
        let mut fields = HeaderMap::new();
        changes.apply(&mut fields, &Target { uri: &uri, host: &host });
        let value = fields[HOST].to_str().unwrap();
        proptest::prop_assert_eq!(value.matches('"').count(), 2);
        proptest::prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}
