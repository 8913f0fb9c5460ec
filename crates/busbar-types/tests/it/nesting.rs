//! Archives of strangers that are deeper or longer than any stack or patience: refused, wherever
//! bytes become values. Everything here runs on threads with little stack.

use std::fmt::Debug;
use std::thread;

use busbar_types::mapped::{self, Mapped};
use busbar_types::registry::TypeEntry;
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{DEPTH_MAX, ErrorKind, Limits, Type, access, json, read};

use crate::formats::archive;
use crate::samples::{Chain, Entry, Folder, Lists, Node};

/// What threads of musl's libc have, and a little more, as tests are not optimized.
const SMALL_STACK_BYTES: usize = 512 << 10;
const LARGE_STACK_BYTES: usize = 1 << 30;

fn on_a_stack_of<T: Send>(bytes: usize, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(bytes).spawn_scoped(scope, run);
        thread.expect("a thread").join().expect("no panic")
    })
}

/// The archive of a value that takes much stack to make, to write and to drop.
fn deep<T: Type>(make: impl FnOnce() -> T + Send) -> AlignedVec {
    on_a_stack_of(LARGE_STACK_BYTES, || {
        let mut aligned = AlignedVec::new();
        aligned.extend_from_slice(&archive(&make()));
        aligned
    })
}

fn chain(pointers: u32) -> Chain {
    let link = |next| Chain { value: String::from("link"), next };
    (0..pointers).fold(link(None), |inner, _| link(Some(Box::new(inner))))
}

fn node(pointers: u32) -> Node {
    let leaf = Node { value: 0, children: Vec::new() };
    (0..pointers).fold(leaf, |inner, value| Node { value, children: vec![inner] })
}

/// Two pointers for each folder in a folder: to its entries, and from the one that is a folder. The
/// innermost has its empty list behind one.
fn folder(pointers: u32) -> Folder {
    let leaf = Folder { name: String::from("leaf"), entries: Vec::new() };
    (0..pointers / 2).fold(leaf, |inner, _| {
        let entries = vec![Entry::File(String::from("f")), Entry::Folder(Box::new(inner))];
        Folder { name: String::from("folder"), entries }
    })
}

/// What all ways from bytes to a `T` say.
fn refused_everywhere<T: Type + Send + Debug>(bytes: &[u8], why: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("archive");
    mapped::write_bytes(&path, T::SCHEMA_HASH, bytes).expect("a file");
    on_a_stack_of(SMALL_STACK_BYTES, || {
        let reader = TypeEntry::of::<T>().expect("a type").reader.expect("a reader");
        let errors = [
            access::<T>(bytes).err(),
            read::<T>(bytes).err(),
            reader(bytes).err(),
            Mapped::<T>::open(&path).err(),
            Mapped::<T>::open_copy(&path).err(),
        ];
        for error in errors {
            let error = error.expect("it is refused");
            assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
            assert_eq!(error.path(), T::NAME);
            assert!(error.message().contains(why), "{error}");
        }
    });
}

fn check_depth<T: Type + Send + Debug>(name: &str, leaf: u32, make: fn(u32) -> T) {
    let deepest = deep(|| make(DEPTH_MAX - leaf));
    on_a_stack_of(SMALL_STACK_BYTES, || {
        access::<T>(&deepest).expect(name);
        assert_eq!(archive(&read::<T>(&deepest).expect(name)), deepest[..], "{name}");
    });
    for pointers in [DEPTH_MAX + 2, 1000, 100_000] {
        refused_everywhere::<T>(&deep(|| make(pointers)), "nested more than 128");
    }
}

/// [T35] archives of recursive types are read as deep as is documented, on a small stack, and are
/// refused if they are deeper, however deep: nobody's stack overflows
#[test]
fn deep_archives_are_refused() {
    check_depth("Chain", 0, chain);
    // The list of the innermost is empty, but there.
    check_depth("Node", 1, node);
    assert!(access::<Chain>(&deep(|| chain(DEPTH_MAX + 1))).is_err());
    assert!(access::<Node>(&deep(|| node(DEPTH_MAX))).is_err());
}

/// [T35] the same for types that mention each other
#[test]
fn deep_archives_of_circles_are_refused() {
    let deepest = deep(|| folder(DEPTH_MAX - 2));
    on_a_stack_of(SMALL_STACK_BYTES, || {
        read::<Folder>(&deepest).expect("as deep as it may be");
    });
    for pointers in [DEPTH_MAX + 2, 1000, 100_000] {
        refused_everywhere::<Folder>(&deep(|| folder(pointers)), "nested more than 128");
    }
}

fn lists(empties: usize) -> Lists {
    Lists {
        a: vec![1, 2, 3],
        b: vec![0.5],
        c: vec![vec![7]],
        d: Box::new([1]),
        e: Box::new([String::from("text")]),
        f: vec![(); empties],
    }
}

#[derive(Type, Debug)]
struct Nothing;

#[derive(Type, Debug)]
struct Bag {
    #[busbar(recursive)]
    bags: Vec<Self>,
    marks: Vec<(Nothing, [u8; 0])>,
}

/// Says in the archive that a list has another length.
fn announce(bytes: &mut [u8], length: u32, other: u32) {
    let places = bytes.windows(4).enumerate().filter(|(_, four)| *four == length.to_le_bytes());
    let places: Vec<_> = places.map(|(at, _)| at).collect();
    let [at] = places[..] else { panic!("{length} is there {} times", places.len()) };
    bytes[at..at + 4].copy_from_slice(&other.to_le_bytes());
}

/// [T35] lists of values that take no bytes end where those of TypeScript do, whatever they say
#[test]
fn endless_lists_are_refused() {
    let longest = deep(|| lists(4096));
    assert_eq!(read::<Lists>(&longest).expect("as long as it may be").f.len(), 4096);
    refused_everywhere::<Lists>(&deep(|| lists(4097)), "values of no bytes");
    let mut endless = deep(|| lists(1234));
    announce(&mut endless, 1234, u32::MAX);
    refused_everywhere::<Lists>(&endless, "values of no bytes");

    // What is made of other formats can be read, or is not made.
    let schema = Lists::schema().expect("a schema");
    let json = |empties| {
        let mut json = json::from_archive(&schema, Limits::default(), &longest).expect("JSON");
        json["f"] = vec![(); empties].into();
        json::to_archive(&schema, Limits::default(), &json)
    };
    assert_eq!(json(4096).expect("as long as it may be"), longest[..]);
    assert_eq!(json(4097).expect_err("too long").kind(), ErrorKind::ArchiveInvalid);

    let marks = |length| (0..length).map(|_| (Nothing, [])).collect();
    let inner = Bag { bags: Vec::new(), marks: marks(1234) };
    let mut bag = deep(|| Bag { bags: vec![inner], marks: marks(4096) });
    assert_eq!(read::<Bag>(&bag).expect("long enough").bags[0].marks.len(), 1234);
    announce(&mut bag, 1234, u32::MAX);
    refused_everywhere::<Bag>(&bag, "values of no bytes");
}

/// [T35] lists whose elements are the same bytes do not keep the reader busy for as many rounds as
/// there are paths to them
#[test]
fn shared_elements_are_refused() {
    const LEVELS: usize = 40;
    // A bag is two lists, distance and length each: both bags of a level have those of the last.
    let mut bytes = AlignedVec::<16>::new();
    let mut bags = |count: u32, distance: i32| {
        for (length, distance) in [(count, distance), (0, 0)] {
            bytes.extend_from_slice(&distance.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
    };
    (0..2).for_each(|_| bags(0, 0));
    for _ in 0..LEVELS {
        bags(2, -32);
        bags(2, -48);
    }
    let error = access::<Bag>(&bytes).err().expect("shared");
    assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
}
