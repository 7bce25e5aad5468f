//! What the first bytes on a cleartext port are taken for.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// What is sniffed of a client that sends these pieces and closes, and the bytes that were read for it.
async fn sniffed(pieces: &[&[u8]]) -> (Option<bool>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut client = TcpStream::connect(address).await.expect("a connection");
    let (mut stream, _) = listener.accept().await.expect("the same connection");
    let mut first = BytesMut::new();
    let send = async {
        for piece in pieces {
            client.write_all(piece).await.expect("a piece");
            tokio::task::yield_now().await;
        }
        client.shutdown().await.expect("the end");
    };
    let (version, ()) = tokio::join!(sniff(&mut stream, &mut first), send);
    (version, first.to_vec())
}

#[tokio::test]
async fn the_preface_is_http2_in_whatever_pieces() {
    let (version, first) = sniffed(&[PREFACE]).await;
    assert_eq!((version, &*first), (Some(true), PREFACE));
    let pieces: Vec<_> = PREFACE.chunks(1).collect();
    assert_eq!(sniffed(&pieces).await.0, Some(true));
}

#[tokio::test]
async fn whatever_else_is_http1_and_so_is_half_a_preface() {
    assert_eq!(sniffed(&[b"GET / HTTP/1.1\r\n"]).await.0, Some(false));
    // It begins as the preface does.
    assert_eq!(sniffed(&[b"P", b"OST / HTTP/1.1\r\n"]).await.0, Some(false));
    // A client that leaves in the middle is refused by whoever refuses half a head, and not in silence.
    let (version, first) = sniffed(&[b"PRI * HT"]).await;
    assert_eq!((version, &*first), (Some(false), &b"PRI * HT"[..]));
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_is_nothing() {
    assert_eq!(sniffed(&[]).await, (None, Vec::new()));
}
