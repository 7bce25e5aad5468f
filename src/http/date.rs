//! The Date field (RFC 9110 section 6.6.1), written anew once a second and thread.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use nix::time::{ClockId, clock_gettime};

thread_local! {
    static DATE: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// The present time, as a field value.
pub(super) fn date() -> HeaderValue {
    let now = seconds();
    DATE.with_borrow_mut(|(second, value)| {
        if *second != now {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
            if let Ok(fresh) = HeaderValue::from_str(&text) {
                (*second, *value) = (now, fresh);
            }
        }
        value.clone()
    })
}

/// Seconds since the epoch, by the clock that the kernel keeps for whoever needs no more: it is read in a fifth of the time.
fn seconds() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
        .ok()
        .and_then(|now| u64::try_from(now.tv_sec()).ok())
        .unwrap_or_default()
}
