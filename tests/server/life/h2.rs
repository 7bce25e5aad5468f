//! As little of an HTTP/2 client as a drain needs: cleartext, prior knowledge, no compression.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::raw;

pub const DATA: u8 = 0;
pub const GOAWAY: u8 = 7;

pub fn connect(port: u16) -> TcpStream {
    let mut stream = raw::connect(port);
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .expect("sent");
    stream
}

pub fn get(stream: &mut TcpStream, id: u8, path: &str) {
    // :method GET, :scheme http, then :path and :authority as they are.
    let mut block = vec![0x82, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x09localhost");
    let mut frame = vec![0, 0, block.len() as u8, 1, 0x05, 0, 0, 0, id];
    frame.extend_from_slice(&block);
    stream.write_all(&frame).expect("sent");
}

/// Reads up to a frame of this type and stream that has a payload, answering pings and settings.
pub fn read_until(stream: &mut TcpStream, kind: u8, id: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).expect("its payload");
        match (head[3], head[4] & 1) {
            (4, 0) => stream.write_all(b"\0\0\0\x04\x01\0\0\0\0").expect("sent"),
            (6, 0) => {
                stream.write_all(b"\0\0\x08\x06\x01\0\0\0\0").expect("sent");
                stream.write_all(&payload).expect("sent");
            }
            _ => {}
        }
        if head[3] == kind && head[8] == id && !payload.is_empty() {
            return payload;
        }
    }
}
