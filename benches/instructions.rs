//! Instruction counts of the hot paths, by callgrind: the same on every run, whatever else the machine does.
//!
//! `just bench` fails on what costs more than its bound.

#![allow(missing_docs, reason = "the macros make items that nobody reads")]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use portunus::binding::Table;
use portunus::config;
use portunus::http::h1::head::{HeadLimits, read};
use portunus::http::{Published, Thread, h1, h2};
use portunus::model::{Activity, ClientAddr, Connection, HostName, LocalAddr};
use portunus::report::Report;
use portunus::server::{LibraryHandlers, edge};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A bound that fails the run: about an eighth above what was measured when it was set. What becomes dearer on purpose raises
/// its bound in the same commit, and says why.
fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

fn configuration(bindings: usize) -> config::Config {
    configured(bindings, "type = \"respond\"")
}

fn configured(bindings: usize, handler: &str) -> config::Config {
    let mut text = format!(
        "[server]\nthreads = 1\n[[site]]\nname = \"s\"\n[[site.route]]\npath = \"/\"\npool = \"p\"\n\
         [[pool]]\nname = \"p\"\n[pool.handler]\n{handler}\n",
    );
    for index in 0..bindings {
        text.push_str(&format!(
            "[[binding]]\nprotocol = \"http\"\nport = 8080\nhostname = \"host{index}.test\"\nprotocols = [\"http/1.1\", \"h2\"]\nsite = \"s\"\n"
        ));
    }
    config::parse(&text, Path::new("bench.toml"))
        .config
        .expect("the configuration has no errors")
}

fn local() -> LocalAddr {
    LocalAddr::new(SocketAddr::from(([127, 0, 0, 1], 8080)))
}

fn table(bindings: usize) -> (Table, HostName) {
    let table = Table::build(&configuration(bindings).bindings);
    (
        table,
        HostName::parse(&format!("host{}.test", bindings / 2)).expect("a host"),
    )
}

#[library_benchmark(config = at_most(1_000))]
#[bench::of_10(args = (10), setup = table)]
#[bench::of_10000(args = (10_000), setup = table)]
fn binding_lookup((table, host): (Table, HostName)) -> (Table, HostName) {
    black_box(
        table
            .endpoint(local())
            .and_then(|endpoint| endpoint.find(black_box(&host))),
    );
    // Handed out, so that dropping it is not counted.
    (table, host)
}

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: host5.test\r\n\r\n";
const BROWSER: &[u8] = b"GET /index.html?a=b HTTP/1.1\r\nHost: host5.test\r\nConnection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"156\", \"Not:A-Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef\r\n\r\n";

#[library_benchmark(config = at_most(8_000))]
#[bench::small(SMALL)]
#[bench::browser(BROWSER)]
fn head_reading(bytes: &[u8]) {
    let limits = HeadLimits {
        bytes: 32 * 1024,
        fields: 100,
        target: 16 * 1024,
    };
    black_box(read(black_box(bytes), &limits));
}

fn pool() -> Arc<portunus::pool::Pool> {
    let config = configuration(1);
    let edge = edge(&config, &LibraryHandlers::new(), &Arc::new(Report::none())).expect("an edge");
    Arc::clone(&edge.pools[0])
}

#[library_benchmark(config = at_most(1_500))]
#[bench::free_slot(setup = pool)]
fn pool_admission(pool: Arc<portunus::pool::Pool>) -> Arc<portunus::pool::Pool> {
    let entry = black_box(pool.enter());
    drop(entry);
    pool
}

/// A connection in memory, its driver running, and one exchange behind it: what follows finds everything warm.
struct Pipe {
    runtime: tokio::runtime::Runtime,
    client: DuplexStream,
    request: &'static [u8],
    response: usize,
}

fn pipe(request: &'static [u8], http2: bool, config: &config::Config) -> Pipe {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let edge = edge(config, &LibraryHandlers::new(), &Arc::new(Report::none())).expect("an edge");
    let thread = Thread::new(Published::new(edge));
    let client = ClientAddr::new(SocketAddr::from(([127, 0, 0, 1], 40_000)));
    let connection = Arc::new(Connection {
        client,
        local: local(),
        tls: None,
        activity: Activity::default(),
    });
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut pipe = Pipe {
        runtime,
        client: ours,
        request,
        response: 0,
    };
    pipe.runtime.block_on(async {
        if http2 {
            tokio::spawn(h2::drive(theirs, BytesMut::new(), thread, connection));
        } else {
            tokio::spawn(h1::drive(theirs, BytesMut::new(), thread, connection));
        }
        pipe.client
            .write_all(request)
            .await
            .expect("the driver reads");
        let mut room = [0; 4096];
        pipe.response = pipe
            .client
            .read(&mut room)
            .await
            .expect("the driver answers");
        pipe.client
            .write_all(request)
            .await
            .expect("the driver reads");
        pipe.response = pipe
            .client
            .read(&mut room)
            .await
            .expect("the driver answers");
    });
    pipe
}

fn pipe_http1() -> Pipe {
    pipe(SMALL, false, &configuration(10))
}

/// As [`pipe_http1`], to an upstream on a thread of its own, whose instructions are not counted. It answers whatever it reads.
fn pipe_proxied() -> Pipe {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = upstream.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut connection, _) = upstream.accept().expect("a connection");
        let mut room = [0; 4096];
        while let Ok(1..) = connection.read(&mut room) {
            connection.write_all(ANSWER).expect("somebody who reads");
        }
    });
    let handler = format!("type = \"proxy\"\nupstreams = [\"http://127.0.0.1:{port}\"]");
    pipe(SMALL, false, &configured(10, &handler))
}

/// As nginx answers.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!";

#[library_benchmark(config = at_most(1_450_000))]
#[bench::http1(setup = pipe_http1)]
#[bench::proxied(config = at_most(4_000_000), setup = pipe_proxied)]
fn hundred_requests(mut pipe: Pipe) -> Pipe {
    let Pipe {
        runtime,
        client,
        request,
        response,
    } = &mut pipe;
    runtime.block_on(async {
        let mut room = [0; 4096];
        for _ in 0..100 {
            client.write_all(request).await.expect("the driver reads");
            client
                .read_exact(&mut room[..*response])
                .await
                .expect("the driver answers");
        }
    });
    pipe
}

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [
        binding_lookup,
        head_reading,
        pool_admission,
        hundred_requests
    ]
);
main!(library_benchmark_groups = hot_paths);
