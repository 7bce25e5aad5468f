use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const NAMES: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];

fn config() -> config::Sticky {
    config::Sticky {
        cookie: "portunus".into(),
        max_age: Duration::from_secs(1000),
        path: "/".into(),
        same_site: SameSite::Lax,
        key_file: None,
    }
}

fn sticky() -> Sticky {
    Sticky::new(&config(), &[7; 32], NAMES.into_iter())
}

fn value(cookie: &HeaderValue) -> String {
    let cookie = cookie.to_str().expect("ASCII");
    let pair = cookie.split(';').next().expect("a pair");
    pair.to_owned()
}

fn read(sticky: &Sticky, cookie: &str, now: u64) -> Option<Said> {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(cookie).expect("a cookie"));
    sticky.read(&headers, now)
}

#[test]
fn a_cookie_says_what_it_was_issued_for_until_it_is_too_old() {
    let sticky = sticky();
    let cookie = value(&sticky.issue(1, NOW, true));
    let said = |now| read(&sticky, &format!("a=b; {cookie}; c=d"), now);
    let (upstream, aging) = (1, false);
    assert_eq!(said(NOW + 500), Some(Said { upstream, aging }));
    let aging = true;
    assert_eq!(said(NOW + 501), Some(Said { upstream, aging }));
    assert_eq!(said(NOW + 1001), None);
}

#[test]
fn its_attributes_are_those_that_were_asked_for() {
    let attributes = |sticky: Sticky, secure| {
        let cookie = sticky.issue(0, NOW, secure);
        let cookie = cookie.to_str().expect("ASCII").to_owned();
        cookie.split_once("; ").expect("attributes").1.to_owned()
    };
    assert_eq!(
        attributes(sticky(), true),
        "Path=/; Max-Age=1000; HttpOnly; SameSite=Lax; Secure"
    );
    let mut config = config();
    config.max_age = Duration::ZERO;
    config.path = "/shop".into();
    let of = |config: &config::Sticky| Sticky::new(config, &[7; 32], NAMES.into_iter());
    assert_eq!(
        attributes(of(&config), false),
        "Path=/shop; HttpOnly; SameSite=Lax"
    );
    config.same_site = SameSite::None;
    assert_eq!(
        attributes(of(&config), false),
        "Path=/shop; HttpOnly; SameSite=None; Secure"
    );
}

#[test]
fn it_holds_when_upstreams_change_their_order_and_ends_with_its_own() {
    let cookie = value(&sticky().issue(2, NOW, true));
    let turned = Sticky::new(
        &config(),
        &[7; 32],
        ["http://c:80", "http://a:80"].into_iter(),
    );
    assert_eq!(read(&turned, &cookie, NOW).map(|it| it.upstream), Some(0));
    let without = Sticky::new(&config(), &[7; 32], ["http://a:80"].into_iter());
    assert_eq!(read(&without, &cookie, NOW), None);
}

#[test]
fn neither_another_key_nor_another_cookies_name_makes_it() {
    let cookie = value(&sticky().issue(0, NOW, true));
    let other = Sticky::new(&config(), &[8; 32], NAMES.into_iter());
    assert_eq!(read(&other, &cookie, NOW), None);
    let mut named = config();
    named.cookie = "other".into();
    let named = Sticky::new(&named, &[7; 32], NAMES.into_iter());
    assert_eq!(
        read(&named, &cookie.replace("portunus=", "other="), NOW),
        None
    );
}

#[test]
fn the_key_is_made_once_for_its_owner_alone_and_then_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state/sticky.key");
    let first = secret(&file).expect("it is made");
    assert_eq!(first.len(), 32);
    assert_eq!(secret(&file).expect("it is read"), first);
    let mode = std::fs::metadata(&file)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&file, b"short").expect("written");
    assert!(secret(&file).is_err());
}

proptest! {
    #[test]
    fn a_forged_cookie_is_as_none(at in 0_usize..56, digit in "[0-9a-f]", noise in "\\PC{0,80}") {
        let sticky = sticky();
        let cookie = value(&sticky.issue(0, NOW, true));
        let start = "portunus=".len() + at;
        let mut forged = cookie.clone();
        forged.replace_range(start..=start, &digit);
        if forged != cookie {
            prop_assert_eq!(read(&sticky, &forged, NOW), None);
        }
        if let Ok(noise) = HeaderValue::from_str(&format!("portunus={noise}")) {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, noise);
            prop_assert_eq!(sticky.read(&headers, NOW), None);
        }
    }
}
