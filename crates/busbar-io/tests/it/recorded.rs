//! Peers of earlier versions, as recorded: what they said goes on being understood, and what is
//! said to them is what they understand.
//!
//! A recording is one conversation over tcp: the dialer sends `hello`, and `on seven` on channel 7,
//! the listener `welcome`; then the dialer closes with status 7 and text `done`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use busbar_io::{ListenOptions, PipeOptions, dial, listen};
use busbar_proto::frame::HEADER_BYTES;
use busbar_proto::{CloseReason, Code, Hello};

use crate::support::PATIENCE;

/// A HELLO of version 0.1.0 as a frame: it has no sections.
const HELLO_BYTES: usize = HEADER_BYTES + 52;

const SESSION: std::ops::Range<usize> = HEADER_BYTES + 16..HEADER_BYTES + 32;

fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/it/fixtures/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn with_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads a HELLO frame, however long it is.
fn read_hello(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    stream.read_exact(&mut frame).unwrap();
    let len = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    frame.resize(HEADER_BYTES + len, 0);
    stream.read_exact(&mut frame[HEADER_BYTES..]).unwrap();
    frame
}

/// [D54] a dialer of version 0.1.0 talks to a listener of this one
#[test]
fn an_old_dialer_is_understood() {
    let mut listener = listen("tcp://127.0.0.1:0", ListenOptions::default()).unwrap();
    let address = listener.local_address().replace("tcp://", "");
    let old = thread::spawn(move || {
        let mut stream = with_patience(TcpStream::connect(address).unwrap());
        let said = recorded("0.1.0-dialer");
        // At a rate at which every frame comes in pieces.
        for piece in said.chunks(5) {
            stream.write_all(piece).unwrap();
        }
        let hello = read_hello(&mut stream);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        (said, hello, rest)
    });
    let mut pipe = listener.accept(Some(PATIENCE)).unwrap();
    for expected in ["hello", "on seven"] {
        assert_eq!(&pipe.recv(Some(PATIENCE)).unwrap()[..], expected.as_bytes());
    }
    let error = pipe.recv(Some(PATIENCE)).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Closed, "done"));
    drop(pipe);
    let (said, hello, _) = old.join().unwrap();
    // What an old end reads of a HELLO is where it always was, and it is asked for nothing new.
    let (theirs, ours) = (recorded("0.1.0-listener"), hello);
    assert_eq!(ours[HEADER_BYTES..][..8], theirs[HEADER_BYTES..][..8], "magic and versions");
    assert_eq!(ours[SESSION], said[SESSION]);
    let read = Hello::decode(&ours[HEADER_BYTES..]).unwrap();
    assert_eq!(read.limits, Hello::decode(&theirs[HEADER_BYTES..HELLO_BYTES]).unwrap().limits);
    assert_eq!(read.resume, None);
}

/// [D54] a dialer of this version talks to a listener of version 0.1.0
#[test]
fn an_old_listener_is_understood() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", socket.local_addr().unwrap());
    let old = thread::spawn(move || {
        let mut stream = with_patience(socket.accept().unwrap().0);
        let hello = read_hello(&mut stream);
        let mut said = recorded("0.1.0-listener");
        // A listener repeats the session of the dialer that it talks to.
        said[SESSION].copy_from_slice(&hello[SESSION]);
        for piece in said.chunks(5) {
            stream.write_all(piece).unwrap();
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    let mut pipe = dial(&address, PipeOptions::default(), PATIENCE).unwrap();
    assert_eq!(&pipe.recv(Some(PATIENCE)).unwrap()[..], b"welcome");
    pipe.send(0, b"hello", Some(PATIENCE)).unwrap();
    pipe.send(7, b"on seven", Some(PATIENCE)).unwrap();
    pipe.close(&CloseReason { code: None, status: 7, text: "done".to_owned() });
    // Byte for byte what a dialer of that version sends.
    assert_eq!(old.join().unwrap(), recorded("0.1.0-dialer")[HELLO_BYTES..]);
}
