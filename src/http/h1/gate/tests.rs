//! The gate passes the same bytes on, and refuses for the same reason, however they arrive.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::h1::wire::Wire;
use crate::model::Reason;

fn limits() -> GateLimits {
    GateLimits {
        head: HeadLimits {
            bytes: 2048,
            fields: 10,
            target: 512,
        },
        header_wait: Duration::from_secs(15),
        idle: Duration::from_secs(120),
        min_send_rate: Some(240),
    }
}

/// What comes out of the gate when these pieces go in one after the other, and why it stopped.
async fn passed(pieces: Vec<Vec<u8>>) -> (Vec<u8>, Option<Reason>) {
    let (mut client, server) = tokio::io::duplex(64);
    let wire = Wire::new(crate::http::h1::nobody());
    let mut gate = Gate::new(server, Arc::clone(&wire), limits(), BytesMut::new());
    let sending = async move {
        for piece in pieces {
            // A gate that has refused reads no more.
            if client.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let (mut out, mut room) = (Vec::new(), [0; 37]);
        loop {
            match gate.read(&mut room).await {
                Ok(0) | Err(_) => break,
                Ok(read) => out.extend_from_slice(&room[..read]),
            }
            if out.ends_with(STAND_IN) {
                break;
            }
        }
        drop(gate);
        out
    };
    let (out, ()) = tokio::join!(reading, sending);
    let reason = wire.take_end().map(|refusal| refusal.reason);
    (out, reason)
}

const STREAMS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\nHost: a\n\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
    "\r\n\r\nGET / HTTP/1.0\r\n\r\n",
];

proptest! {
    #[test]
    fn splitting_the_bytes_anywhere_changes_no_verdict(
        stream in prop::sample::select(STREAMS),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let bytes = stream.as_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
        let whole = runtime.block_on(passed(vec![bytes.to_vec()]));
        let split = runtime.block_on(passed(pieces));
        prop_assert_eq!(&split.1, &whole.1);
        // A body that breaks may have been passed on further or less far when that shows; heads never.
        if whole.1.is_none() || whole.0.ends_with(STAND_IN) {
            prop_assert_eq!(String::from_utf8_lossy(&split.0), String::from_utf8_lossy(&whole.0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_less_than_the_least_rate_is_cut_off() {
    // The client's side is kept, and nothing is read from it.
    let (_client, server) = tokio::io::duplex(1024);
    let wire = Wire::new(crate::http::h1::nobody());
    let mut gate = Gate::new(server, Arc::clone(&wire), limits(), BytesMut::new());
    let sent = gate.write_all(&[0; 64 * 1024]).await;
    assert_eq!(sent.expect_err("too slow").kind(), io::ErrorKind::TimedOut);
    let refusal = wire.take_end().expect("a reason");
    assert_eq!(refusal.reason, Reason::TimerMinBytesPerSecond);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_little_but_enough_is_not() {
    let (mut client, server) = tokio::io::duplex(1024);
    let wire = Wire::new(crate::http::h1::nobody());
    let mut gate = Gate::new(server, Arc::clone(&wire), limits(), BytesMut::new());
    let reading = async {
        let mut room = [0; 1024];
        for _ in 0..64 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.read_exact(&mut room).await.expect("content");
        }
    };
    let content = [0; 64 * 1024];
    let (sent, ()) = tokio::join!(gate.write_all(&content), reading);
    sent.expect("341 bytes a second are enough");
}
