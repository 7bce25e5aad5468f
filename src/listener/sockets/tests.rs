//! Sockets that are had, and reasons why not.

use std::net::TcpStream;

use super::*;

fn key(ip: &str, port: u16) -> SocketKey {
    SocketKey {
        transport: Transport::Tcp,
        scheme: Scheme::Http,
        ip: (ip != "*").then(|| ip.parse().expect("an address")),
        port,
    }
}

fn refused(key: SocketKey) -> BindError {
    listen(key, 1, true).err().expect("no socket")
}

#[test]
fn every_thread_has_a_socket_and_all_have_one_port() {
    let listening = listen(key("127.0.0.1", 0), 3, true).expect("a port");
    let [address] = *listening.addresses else {
        panic!("{:?}", listening.addresses);
    };
    assert_ne!(address.port(), 0);
    assert_eq!(listening.sockets.len(), 3);
    for sockets in &listening.sockets {
        let [socket] = &**sockets else {
            panic!("{sockets:?}");
        };
        assert_eq!(socket.local_addr().expect("bound"), address);
    }
    TcpStream::connect(address).expect("listened on");
}

#[test]
fn every_address_is_one_socket_of_each_family_and_neither_takes_the_others_clients() {
    let listening = listen(key("*", 0), 2, true).expect("a port");
    let port = listening.addresses[0].port();
    assert!(
        listening
            .addresses
            .iter()
            .all(|address| address.port() == port)
    );
    let v6 = listening.sockets[0]
        .iter()
        .find(|socket| socket.local_addr().expect("bound").is_ipv6())
        .expect("this machine has IPv6");
    assert!(SockRef::from(v6).only_v6().expect("an option"));
    assert_eq!(listening.sockets[0].len(), 2);
}

#[test]
fn a_port_that_somebody_has_is_taken_even_if_he_would_share_it() {
    let socket = socket(([127, 0, 0, 1], 0).into()).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a port");
    socket.listen(1).expect("listening");
    let port = TcpListener::from(socket.try_clone().expect("a copy"))
        .local_addr()
        .expect("bound")
        .port();
    for ip in ["127.0.0.1", "*"] {
        let error = refused(key(ip, port));
        let text = error.to_string();
        assert!(matches!(error, BindError::Taken { .. }), "{text}");
        assert!(
            text.contains(&format!("(pid {})", std::process::id())),
            "{text}"
        );
    }
    // The port of another address is another port.
    listen(key("127.0.0.2", port), 1, true).expect("a port");
    // And who has it himself may share it with himself.
    listen(key("127.0.0.1", port), 1, false).expect("the same port");
}

#[test]
fn an_address_of_another_machine_is_told_as_such() {
    let error = refused(key("192.0.2.1", 8080));
    assert!(matches!(error, BindError::NoSuchAddress(_)), "{error}");
    assert!(
        error.to_string().contains("192.0.2.1:8080 is no address"),
        "{error}"
    );
}

#[test]
fn a_key_reads_like_a_url() {
    assert_eq!(key("*", 80).to_string(), "http://*:80");
    assert_eq!(key("::1", 80).to_string(), "http://[::1]:80");
}

#[test]
fn an_adopted_socket_never_blocks() {
    let passed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let adopted = adopt(passed).expect("adopted");
    let error = adopted.accept().expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}
