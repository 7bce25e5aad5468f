//! A connection whose response overtakes its request's content.

use std::future::{pending, poll_fn};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::link::Link;
use super::receiving::Broken;
use super::sending::Stopped;

/// A connection that moves its bytes in a task of its own.
///
/// A client may take a response only once it has sent all of its request. Were the request's content moved along by whoever
/// takes the response, the two would wait for each other.
///
/// Dropping it closes the connection: it is not used again.
pub(super) struct Apart {
    task: JoinHandle<()>,
    pub(super) pieces: mpsc::Receiver<Piece>,
}

/// What comes of such a connection; its last is `End` or a failure.
pub(super) enum Piece {
    Frame(Frame<Bytes>),
    End,
    Broken(Broken),
    /// The request's content broke, and with it the response.
    UploadBroke,
}

impl Apart {
    pub(super) fn new(link: Link) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let task = tokio::spawn(run(link, sender));
        Self { task, pieces }
    }
}

async fn run(link: Link, pieces: mpsc::Sender<Piece>) {
    let Link {
        stream,
        mut sending,
        mut receiving,
        ..
    } = link;
    let (mut from, mut to) = tokio::io::split(stream);
    let upload = async {
        match poll_fn(|cx| sending.poll(&mut to, cx)).await {
            Err(Stopped::Content) => {}
            // Where the connection broke, the response tells.
            Ok(()) | Err(Stopped::Wire(_)) => pending().await,
        }
    };
    let download = async {
        loop {
            let piece = match poll_fn(|cx| receiving.poll_content(&mut from, cx)).await {
                Some(Ok(frame)) => Piece::Frame(frame),
                Some(Err(broken)) => Piece::Broken(broken),
                None => Piece::End,
            };
            let last = !matches!(piece, Piece::Frame(_));
            if pieces.send(piece).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = upload => {
            let _ = pieces.send(Piece::UploadBroke).await;
        }
        () = download => {}
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.task.abort();
    }
}
