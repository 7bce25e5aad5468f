//! Whatever the pieces are in which a socket takes and gives, the messages are the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::Framing;
use super::receiving::{Broken, Receiving};
use super::sending::{Sending, Stopped};
use super::*;
use crate::model::BodyError;

/// A socket that gives and takes so many bytes at a time, and has nothing in between.
struct Dribble {
    said: Bytes,
    steps: Vec<usize>,
    turn: usize,
    heard: Vec<u8>,
}

impl Dribble {
    fn new(said: &[u8], steps: &[usize]) -> Self {
        Self {
            said: Bytes::copy_from_slice(said),
            steps: steps.to_vec(),
            turn: 0,
            heard: Vec::new(),
        }
    }

    /// How many bytes may pass now; every other time none.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.turn += 1;
        if self.turn % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.steps[self.turn / 2 % self.steps.len()])
    }
}

impl AsyncRead for Dribble {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = std::task::ready!(self.step(cx));
        let step = step.min(self.said.len()).min(buf.remaining());
        buf.put_slice(&self.said.split_to(step));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Dribble {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let step = std::task::ready!(self.step(cx)).min(bytes.len());
        self.heard.extend_from_slice(&bytes[..step]);
        Poll::Ready(Ok(step))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let this = self.get_mut();
        let step = std::task::ready!(this.step(cx)).min(all);
        let end = this.heard.len() + step;
        for slice in slices {
            let room = end - this.heard.len();
            this.heard
                .extend_from_slice(&slice[..room.min(slice.len())]);
        }
        Poll::Ready(Ok(step))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A response as it was understood: its content, its trailers, and whether nothing was left over.
#[derive(Debug, PartialEq)]
struct Understood {
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
    clean: bool,
}

async fn receive(said: &[u8], steps: &[usize]) -> Result<Understood, Broken> {
    let mut stream = Dribble::new(said, steps);
    let mut receiving = Receiving::new();
    let (asked, mut spare) = (Method::GET, HeaderMap::new());
    poll_fn(|cx| receiving.poll_head(&mut stream, cx, &asked, &mut spare)).await?;
    let mut understood = Understood {
        content: Vec::new(),
        trailers: None,
        clean: false,
    };
    while let Some(frame) = poll_fn(|cx| receiving.poll_content(&mut stream, cx)).await {
        match frame?.into_data() {
            Ok(data) => understood.content.extend_from_slice(&data),
            Err(frame) => understood.trailers = frame.into_trailers().ok(),
        }
    }
    understood.clean = receiving.is_clean();
    Ok(understood)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Content in pieces, as it lies on the wire with a length and in chunks.
fn framed(pieces: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let whole = pieces.concat();
    let mut length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\nx-sum: 1\r\n\r\n");
    let mut plain = std::mem::take(&mut length).into_bytes();
    plain.extend_from_slice(&whole);
    (plain, chunked)
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let small = proptest::collection::vec(any::<u8>(), 0..40);
    let large = (4000_usize..20_000).prop_map(|length| vec![b'x'; length]);
    proptest::collection::vec(prop_oneof![4 => small, 1 => large], 0..6)
}

fn steps() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(
        prop_oneof![1_usize..8, 1_usize..20_000, 16_384_usize..70_000],
        1..6,
    )
}

/// Content in these pieces, which is waited for in between; of known length or not.
struct Given {
    pieces: Vec<Vec<u8>>,
    known: bool,
    ready: bool,
}

impl http_body::Body for Given {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.ready = !self.ready;
        if self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.pieces.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.pieces.remove(0);
        Poll::Ready(Some(Ok(http_body::Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.known && self.pieces.iter().all(Vec::is_empty)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let length = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        match self.known {
            true => http_body::SizeHint::with_exact(length),
            false => http_body::SizeHint::default(),
        }
    }
}

/// What an upstream hears of a request, framed as its head says.
async fn send(body: Body, steps: &[usize]) -> (Vec<u8>, Result<(), Stopped>) {
    let mut request = Request::post("/").body(body).expect("a request");
    let mut stream = Dribble::new(&[], steps);
    let mut sending = Sending::default();
    sending.begin(&mut request);
    let outcome = poll_fn(|cx| sending.poll(&mut stream, cx)).await;
    assert_eq!(sending.is_done(), outcome.is_ok());
    (stream.heard, outcome)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_response_is_the_same_in_whatever_pieces_it_comes(pieces in pieces(), steps in steps()) {
        let (length, chunked) = framed(&pieces);
        let content = pieces.concat();
        let read = block_on(receive(&length, &steps)).expect("a response");
        prop_assert_eq!(&read.content, &content);
        prop_assert!(read.clean && read.trailers.is_none());
        let read = block_on(receive(&chunked, &steps)).expect("a response");
        prop_assert_eq!(&read.content, &content);
        prop_assert!(read.clean);
        prop_assert_eq!(&read.trailers.expect("trailers")["x-sum"], "1");
    }

    #[test]
    fn a_response_that_is_cut_anywhere_is_not_whole(
        pieces in pieces(),
        steps in steps(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (length, chunked) = framed(&pieces);
        for said in [length, chunked] {
            let said = &said[..cut.index(said.len())];
            let read = block_on(receive(said, &steps));
            prop_assert!(matches!(read, Err(Broken::Cut(None))), "{read:?}");
        }
    }

    #[test]
    fn what_comes_behind_a_response_is_seen(pieces in pieces(), steps in steps()) {
        let (length, chunked) = framed(&pieces);
        for mut said in [length, chunked] {
            said.push(b'H');
            let mut whole = steps.clone();
            whole.iter_mut().for_each(|step| *step = (*step).max(said.len()));
            let read = block_on(receive(&said, &whole)).expect("a response");
            prop_assert!(!read.clean || said.len() > 16 * 1024);
            prop_assert_eq!(read.content, pieces.concat());
        }
    }

    #[test]
    fn a_request_is_the_same_in_whatever_pieces_it_goes(pieces in pieces(), steps in steps(), known: bool) {
        let content = pieces.concat();
        let given = Given { pieces, known, ready: false };
        let (heard, outcome) = block_on(send(Body::stream(given), &steps));
        prop_assert!(outcome.is_ok());
        let end = memchr::memmem::find(&heard, b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&heard[..end]).into_owned();
        if known && !content.is_empty() {
            let length = format!("content-length: {}", content.len());
            prop_assert!(head.ends_with(&length), "{head}");
        }
        if known {
            prop_assert_eq!(&heard[end + 4..], &content[..]);
        } else {
            let mut said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            said.extend_from_slice(&heard[end + 4..]);
            let read = block_on(receive(&said, &[usize::MAX])).expect("chunks");
            prop_assert!(read.clean);
            prop_assert_eq!(read.content, content);
        }
    }
}

#[tokio::test]
async fn head_and_small_content_leave_in_one_write() {
    for body in [Body::empty(), Body::full("content")] {
        let mut request = Request::post("/").body(body).expect("a request");
        let mut stream = Dribble::new(&[], &[usize::MAX]);
        let mut sending = Sending::default();
        sending.begin(&mut request);
        poll_fn(|cx| sending.poll(&mut stream, cx))
            .await
            .expect("all is sent");
        assert_eq!(stream.turn, 2, "one write, and one before it that waited");
    }
}

#[tokio::test]
async fn content_that_is_shorter_or_longer_than_it_says_is_not_sent_to_its_end() {
    /// Says that it has five bytes.
    struct Five(Body);
    impl http_body::Body for Five {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(5)
        }
    }
    for content in ["four", "sixsix"] {
        let (heard, outcome) = send(Body::stream(Five(Body::full(content))), &[1000]).await;
        assert!(matches!(outcome, Err(Stopped::Content)), "{content}");
        assert!(!heard.ends_with(b"sixsix"));
    }
}

#[tokio::test]
async fn interim_heads_come_before_the_response() {
    let said = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for step in [1, 7, 1000] {
        let mut stream = Dribble::new(said, &[step]);
        let mut receiving = Receiving::new();
        let (asked, mut spare) = (Method::GET, HeaderMap::new());
        for status in [103, 200] {
            let head = poll_fn(|cx| receiving.poll_head(&mut stream, cx, &asked, &mut spare));
            let head = head.await.expect("a head");
            assert_eq!(
                (head.status.as_u16(), head.framing),
                (status, Framing::Length(0))
            );
        }
        assert!(receiving.is_clean());
    }
}

#[tokio::test]
async fn interim_heads_without_end_are_no_response() {
    let said = b"HTTP/1.1 103 Early\r\n\r\n".repeat(1000);
    let mut stream = Dribble::new(&said, &[1000]);
    let mut receiving = Receiving::new();
    let (asked, mut spare) = (Method::GET, HeaderMap::new());
    // What there was before another response is of no matter.
    for _ in 0..2 {
        receiving.begin();
        for number in 0..=100 {
            let head = poll_fn(|cx| receiving.poll_head(&mut stream, cx, &asked, &mut spare));
            assert_eq!(head.await.is_ok(), number < 100, "{number}");
        }
    }
}
