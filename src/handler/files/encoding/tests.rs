use http::HeaderValue;

use super::*;

fn accepted_of(fields: &[&'static str]) -> Vec<&'static str> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static(field));
    }
    accepted(&headers).map(Encoding::name).collect()
}

#[test]
fn the_client_ranks_the_codings() {
    let table: &[(&[&str], &[&str])] = &[
        (&[], &[]),
        (&[""], &[]),
        (&["gzip, deflate, br, zstd"], &["zstd", "br", "gzip"]),
        (&["gzip"], &["gzip"]),
        (&["GZIP"], &["gzip"]),
        (&["x-gzip"], &["gzip"]),
        (&["gzip;q=1.0, br;q=0.5"], &["gzip", "br"]),
        (&["br;q=0.8 , gzip ; Q=0.9"], &["gzip", "br"]),
        (&["gzip", "br"], &["br", "gzip"]),
        (&["br;q=0, gzip;q=0.001"], &["gzip"]),
        (&["*"], &["zstd", "br", "gzip"]),
        (&["*;q=0.1, zstd;q=0"], &["br", "gzip"]),
        (&["gzip, *;q=0"], &["gzip"]),
        (&["*;q=0"], &[]),
        (&["identity, gzip;q=0.5"], &[]),
        (&["identity;q=0.5, gzip, br;q=0.2"], &["gzip"]),
        (&["identity, gzip"], &["gzip"]),
        (&["identity;q=0"], &[]),
        (&["deflate, compress"], &[]),
        // What is malformed is refused.
        (&["gzip;q=2"], &[]),
        (&["gzip;q=0.5555"], &[]),
        (&["gzip;q=-1"], &[]),
        (&["gzip;q="], &[]),
        (&["gzip;level=9"], &[]),
        (&["gzip;q=1.999"], &["gzip"]),
        (&[";;;,,,=,;q=1"], &[]),
    ];
    for (fields, expected) in table {
        assert_eq!(accepted_of(fields), *expected, "{fields:?}");
    }
}
