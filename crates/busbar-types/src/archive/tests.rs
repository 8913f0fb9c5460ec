//! Writing into memory of every size and alignment.

use rkyv::util::AlignedVec;

use super::*;
use crate::Type;

#[derive(Type, Debug, PartialEq, Clone)]
#[busbar(name = "market.Position")]
struct Position {
    id: u64,
    pos: [f32; 3],
    vel: [f32; 3],
    flags: u32,
    ts: u64,
}

#[derive(Type, Debug, PartialEq)]
struct Basket {
    positions: Vec<Position>,
    names: Vec<Vec<String>>,
    note: Option<String>,
}

fn basket(names: usize) -> Basket {
    let position = Position { id: 7, pos: [0.5; 3], vel: [1.5; 3], flags: 1, ts: 9 };
    let name = |index: usize| vec![format!("name {index} out of line"), index.to_string()];
    Basket {
        positions: vec![position; 3],
        names: (0..names).map(name).collect(),
        note: Some(String::from("note")),
    }
}

/// [T25 T26] the published hash is a constant of the derived type
#[test]
fn the_published_hash_is_a_constant() {
    const HASH: u64 = <Position as Type>::SCHEMA_HASH;
    assert_eq!(HASH, 0x800e_54b1_aa53_8d22);
}

/// [T34] every buffer too small is refused with the size it takes, and nothing behind it is touched
#[test]
fn small_buffers_are_refused_and_never_overrun() {
    let value = basket(3);
    let size = value.archived_size().expect("a size");
    for room in 0..size {
        let mut out = vec![0xa5; size + 64];
        match value.write_to_buffer(&mut out[..room]) {
            Err(SerializeError::BufferTooSmall { required, available }) => {
                assert_eq!((required, available), (size, room));
            }
            other => panic!("{room} bytes of {size} gave {other:?}"),
        }
        assert!(out[room..].iter().all(|&byte| byte == 0xa5), "touched bytes behind {room}");
    }
    let mut out = vec![0xa5; size + 64];
    assert_eq!(value.write_to_buffer(&mut out).expect("room enough"), size);
    assert!(out[size..].iter().all(|&byte| byte == 0xa5));
}

/// [T07 T12] slice and pointer forms write the same bytes at every address
#[test]
fn the_same_bytes_at_every_address() {
    let value = basket(40);
    let expected = rkyv::to_bytes::<BoxedError>(&value).expect("rkyv's own archive");
    for offset in 0..17 {
        let mut memory = AlignedVec::<16>::new();
        memory.resize(expected.len() + 17, 0);
        let n = value.write_to_buffer(&mut memory[offset..]).expect("room enough");
        assert_eq!(memory[offset..offset + n], expected[..]);

        let target = &mut memory[offset..];
        target.fill(0);
        // SAFETY: the memory is ours and as long as said.
        let n = unsafe { value.write_to_ptr(target.as_mut_ptr(), target.len()) }.expect("room");
        assert_eq!(memory[offset..offset + n], expected[..]);
    }
    let mut aligned = AlignedVec::<16>::new();
    aligned.extend_from_slice(&expected);
    assert_eq!(access::<Basket>(&aligned).expect("valid").names.len(), 40);
    assert_eq!(read::<Basket>(&aligned).expect("valid"), value);
}

/// [T35] damaged archives and misaligned bytes are errors
#[test]
fn damaged_archives_are_refused() {
    let value = basket(2);
    let mut bytes = rkyv::to_bytes::<BoxedError>(&value).expect("an archive");
    let last = bytes.len() - 1;
    let error = access::<Basket>(&bytes[1..]).err().expect("misaligned");
    assert_eq!((error.kind(), error.path()), (ErrorKind::ArchiveInvalid, "busbar_types.Basket"));
    assert!(access::<Basket>(&bytes[..last]).is_err(), "one byte short");
    // The tag of the option is the first byte of the last 12.
    bytes[last - 11] = 9;
    assert!(access::<Basket>(&bytes).is_err(), "a tag that no option has");
}

/// [T02] lists larger than the stack piece use the thread's arena, again and again
#[test]
fn large_lists_reuse_the_arena() {
    for names in [1, 2000, 3, 5000, 10] {
        let value = basket(names);
        let mut out = AlignedVec::<16>::new();
        out.resize(value.archived_size().expect("a size"), 0);
        value.write_to_buffer(&mut out).expect("room enough");
        assert_eq!(read::<Basket>(&out).expect("valid"), value);
    }
}
