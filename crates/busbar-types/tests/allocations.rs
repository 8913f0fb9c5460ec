//! Counts allocations: a test binary of its own, because the allocator is one a process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use busbar_types::mapped::{Mapped, NewFile};
use busbar_types::rkyv::util::AlignedVec;
use busbar_types::{Type, access, access_unchecked};

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Type)]
struct Order {
    id: u64,
    symbol: String,
    tags: Vec<String>,
    note: Option<String>,
}

fn order(tags: usize) -> Order {
    let tag = |index| format!("a tag out of line {index}");
    Order {
        id: 1,
        symbol: String::from("BTC-USDT"),
        tags: (0..tags).map(tag).collect(),
        note: Some(String::from("a note out of line")),
    }
}

fn allocations_of<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNT.with(Cell::get);
    let value = run();
    (value, COUNT.with(Cell::get) - before)
}

/// [T02 T26] writing, refusing and accessing allocate nothing, and what is read lies in the buffer
#[test]
fn write_and_access_allocate_nothing() {
    let value = order(100);
    let mut out = AlignedVec::<16>::new();
    out.resize(16 << 10, 0);
    let (size, count) = allocations_of(|| value.write_to_buffer(&mut out));
    assert_eq!(count, 0, "write");
    let size = size.expect("room enough");
    let (error, count) = allocations_of(|| value.write_to_buffer(&mut out[..size - 1]));
    assert!(error.is_err());
    assert_eq!(count, 0, "refuse");
    value.write_to_buffer(&mut out).expect("room enough");

    let (archived, count) = allocations_of(|| access::<Order>(&out[..size]));
    assert_eq!(count, 0, "access");
    let archived = archived.expect("valid");
    assert_eq!((archived.id.to_native(), archived.note.is_some()), (1, true));
    let range = out.as_ptr_range();
    for text in [&archived.symbol, &archived.tags[0], &archived.tags[99]] {
        assert!(range.contains(&text.as_str().as_ptr()));
    }
    // SAFETY: just checked.
    let (_, count) = allocations_of(|| unsafe { access_unchecked::<Order>(&out[..size]) });
    assert_eq!(count, 0, "access unchecked");
}

/// [T02 T35] writing into a mapped file and accessing it there allocate nothing
#[test]
fn mapped_files_are_written_and_accessed_without_allocations() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("order");
    let value = order(100);
    let size = value.archived_size().expect("writable");
    let mut new = NewFile::create(&path, Order::SCHEMA_HASH, size).expect("room");
    let (written, count) = allocations_of(|| value.write_to_buffer(new.archive()));
    assert_eq!((written.expect("room"), count), (size, 0));
    new.publish().expect("a name");

    let mapped = Mapped::<Order>::open(&path).expect("valid");
    // SAFETY: nobody else knows the file.
    let bytes = unsafe { mapped.file().bytes() };
    let (checked, count) = allocations_of(|| access::<Order>(bytes));
    assert_eq!((checked.is_ok(), count), (true, 0), "checked access");
    let (archived, count) = allocations_of(|| mapped.get());
    assert_eq!((archived.id.to_native(), count), (1, 0));
    let (verified, count) = allocations_of(|| mapped.verify());
    assert_eq!((verified.is_ok(), count), (true, 0));
    let range = bytes.as_ptr_range();
    for text in [&archived.symbol, &archived.tags[0], &archived.tags[99]] {
        assert!(range.contains(&text.as_str().as_ptr()));
    }
}

/// [T02] lists too large for the stack borrow memory that the thread keeps
#[test]
fn large_lists_allocate_only_the_first_time() {
    let value = order(5000);
    let mut out = vec![0; 1 << 20];
    value.write_to_buffer(&mut out).expect("room enough");
    for _ in 0..3 {
        let (size, count) = allocations_of(|| value.write_to_buffer(&mut out));
        assert!(size.is_ok());
        assert_eq!(count, 0);
    }
}
