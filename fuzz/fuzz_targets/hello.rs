//! HELLO and reasons from anybody: read or refused; what is read says the same when it is written,
//! and agrees with itself.

#![no_main]

use busbar_proto::{CloseReason, Hello, negotiate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(hello) = Hello::decode(data) {
        let written = hello.encode();
        assert!(written.len() <= Hello::BYTES_MAX);
        assert_eq!(Hello::decode(&written).expect("our own"), hello);
        // Only a resume section without its capability is refused.
        assert!(negotiate(&hello, &hello).is_ok() || hello.resume.is_some());
    }
    for reason in
        [CloseReason::decode(data), CloseReason::decode_reject(data)].into_iter().flatten()
    {
        let written = reason.encode();
        assert_eq!(CloseReason::decode(&written).expect("our own").text, reason.text);
    }
});
