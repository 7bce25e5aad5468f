//! An application that does as it is told.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::config;

pub(super) struct Listener(TcpListener);

/// The application's end of one connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    /// Whether it is not to close the connection.
    pub(super) keeps: bool,
}

impl Listener {
    pub(super) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    pub(super) fn address(&self) -> config::Upstream {
        config::Upstream::Net {
            scheme: config::UpstreamScheme::FastCgi,
            host: "127.0.0.1".into(),
            port: self.0.local_addr().expect("an address").port(),
        }
    }

    pub(super) async fn accept(&self) -> Peer {
        let (stream, _) = self.0.accept().await.expect("a connection");
        Peer {
            stream,
            keeps: false,
        }
    }
}

impl Peer {
    /// The next record's type and content.
    async fn record(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 8];
        self.stream.read_exact(&mut header).await.expect("a header");
        assert_eq!(header[..1], [1]);
        assert_eq!(header[2..4], [0, 1], "request 1");
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        self.stream.read_exact(&mut content).await.expect("content");
        (header[1], content)
    }

    /// A stream to its end.
    async fn whole(&mut self, kind: u8) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let (is, content) = self.record().await;
            assert_eq!(is, kind);
            if content.is_empty() {
                return all;
            }
            all.extend(content);
        }
    }

    /// Reads the beginning of a request and its parameters.
    pub(super) async fn params(&mut self) -> BTreeMap<String, String> {
        let (kind, begin) = self.record().await;
        assert_eq!(
            (kind, &begin[..2]),
            (1, &[0, 1][..]),
            "a responder is asked"
        );
        self.keeps = begin[2] == 1;
        let params = self.whole(4).await;
        let text = |bytes| String::from_utf8(bytes).expect("text");
        pairs(&params)
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    pub(super) async fn stdin(&mut self) -> Vec<u8> {
        self.whole(5).await
    }

    /// One piece of content.
    pub(super) async fn piece(&mut self) -> Vec<u8> {
        let (kind, content) = self.record().await;
        assert_eq!(kind, 5);
        content
    }

    pub(super) async fn request(&mut self) -> Vec<u8> {
        self.params().await;
        self.stdin().await
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("somebody who reads");
    }

    async fn write(&mut self, kind: u8, content: &[u8]) {
        let [high, low] = (content.len() as u16).to_be_bytes();
        // PHP pads to eight bytes.
        let padding = (8 - content.len() % 8) as u8 % 8;
        let mut record = vec![1, kind, 0, 1, high, low, padding, 0];
        record.extend_from_slice(content);
        record.resize(record.len() + usize::from(padding), 0);
        self.say(&record).await;
    }

    pub(super) async fn stdout(&mut self, content: &[u8]) {
        self.write(6, content).await;
    }

    pub(super) async fn stderr(&mut self, content: &[u8]) {
        self.write(7, content).await;
    }

    pub(super) async fn end(&mut self, status: u32, protocol: u8) {
        let [a, b, c, d] = status.to_be_bytes();
        self.write(3, &[a, b, c, d, protocol, 0, 0, 0]).await;
    }

    /// One whole answer.
    pub(super) async fn answer(&mut self, response: &[u8]) {
        self.stdout(response).await;
        self.stdout(b"").await;
        self.end(0, 0).await;
    }

    /// Waits until the other end has closed.
    pub(super) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut rest).await;
    }
}

/// Reads parameters, as an application does.
pub(in crate::handler::fastcgi) fn pairs(mut bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fn length(bytes: &mut &[u8]) -> usize {
        let (length, taken) = match bytes {
            [short @ ..128, ..] => (u32::from(*short), 1),
            [a, b, c, d, ..] => (u32::from_be_bytes([a & 127, *b, *c, *d]), 4),
            _ => panic!("no length: {bytes:?}"),
        };
        *bytes = &bytes[taken..];
        length as usize
    }
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes), length(&mut bytes));
        let (pair, rest) = bytes.split_at(name + value);
        bytes = rest;
        pairs.push((pair[..name].to_vec(), pair[name..].to_vec()));
    }
    pairs
}
