//! Libraries of types alone, by the two legacy entries, built from declarations of their own.

use busbar_types::format::Formats;
use busbar_types::registry::{ForeignValue, Registry};
use busbar_zone::{ErrorKind, Loader};

use crate::fixtures::{Fixture, registry, trusting};

/// What others declare: nothing of ours is included.
const LEGACY: &str = r#"
#include <stddef.h>
#include <stdint.h>
#include <string.h>
typedef uint32_t busbar_formats_t;
typedef struct PluginTypeDescriptor {
  const char *type_name;
  uint64_t schema_hash;
  busbar_formats_t formats;
  size_t (*serialize_into)(void *ctx, const void *typed_ptr, uint8_t *out_buf, size_t out_len);
  const char *(*get_schema_text)(void *ctx);
  void (*ctx_drop)(void *ctx);
  void *ctx;
} PluginTypeDescriptor;

static int drops;
int *count_drops(void) { return &drops; }
static size_t serialize(void *ctx, const void *value, uint8_t *out, size_t len) {
  size_t size = *(const uint8_t *)ctx;
  if (len < size) return 0;
  memcpy(out, value, size);
  return size;
}
static void drop(void *ctx) { (void)ctx; drops++; }
static const char *text(void *ctx) { (void)ctx; return 0; }
static uint8_t four = 4, eight = 8;
static const PluginTypeDescriptor D[] = {
  { "old.Four", 4, 1, serialize, 0, drop, &four },
  { "old.Eight", 8, 1, serialize, text, 0, &eight },
};
#ifdef REGISTER
void com_my_plugin_register(const PluginTypeDescriptor **slots, size_t n) {
#ifdef MANY
  static PluginTypeDescriptor many[MANY];
  static char names[MANY][16];
  for (size_t i = 0; i < MANY && i < n; i++) {
    many[i] = D[0];
    many[i].ctx_drop = 0;
    names[i][0] = 'T';
    for (size_t d = 0, rest = i; d < 4; d++, rest /= 10) names[i][4 - d] = (char)('0' + rest % 10);
    many[i].type_name = names[i];
    slots[i] = &many[i];
  }
#else
  if (n > 0) slots[0] = &D[REGISTER];
#endif
}
#endif
#ifdef GET
const PluginTypeDescriptor *com_my_plugin_get_descriptors(size_t *n) { *n = GET; return D; }
#endif
"#;

fn names(registry: &Registry) -> Vec<String> {
    registry.entries().iter().map(|entry| entry.type_name.clone()).collect()
}

/// [T15 T16 T22] libraries with one of the legacy entries, or both: the array is preferred
#[test]
fn legacy_entries() {
    for (defines, expected) in [
        (&["GET=2"][..], &["old.Eight", "old.Four"][..]),
        (&["REGISTER=1"], &["old.Eight"]),
        (&["GET=1", "REGISTER=1"], &["old.Four"]),
    ] {
        let (fixture, registry) = (Fixture::new(LEGACY, defines), registry());
        let loader = Loader::new(registry, trusting());
        // SAFETY: our own fixture.
        let types = unsafe { loader.load_types(&fixture.path, false) }.expect("it loads");
        assert_eq!(names(registry), expected, "{defines:?}");
        assert_eq!(types.names().count(), expected.len());
        drop(types);
        assert!(registry.entries().is_empty(), "{defines:?}");
    }
}

/// [T16 T21] a legacy library serializes; 0 is an error; its context is dropped once, after the
/// last use
#[test]
fn legacy_types_serialize() {
    let (fixture, registry) = (Fixture::new(LEGACY, &["GET=2"]), registry());
    let loader = Loader::new(registry, trusting());
    // SAFETY: our own fixture.
    let types = unsafe { loader.load_types(&fixture.path, false) }.expect("it loads");
    let entry = registry.lookup("old.Four", Some(4)).expect("registered");
    assert_eq!(entry.formats, Formats::RKYV);
    let value = 0x0403_0201_u32.to_le_bytes();
    let functions = entry.foreign.clone().expect("functions");
    // SAFETY: the library takes four bytes, and these stay.
    let value = unsafe { ForeignValue::new(functions, value.as_ptr().cast()) };
    let mut out = [0; 6];
    assert_eq!(value.write(Formats::RKYV, &mut out).expect("it fits"), 4);
    assert_eq!(out, [1, 2, 3, 4, 0, 0]);
    let error = value.write(Formats::RKYV, &mut out[..3]).expect_err("too small");
    assert!(error.to_string().contains("gives 0"), "{error}");
    assert!(value.write(Formats::JSON, &mut out).is_err(), "a format that it does not say to have");

    drop(types);
    assert!(registry.entries().is_empty());
    let writer = entry.writer.expect("a writer");
    assert_eq!(writer(&value, &mut out).expect("who has it, keeps it"), 4);
}

/// [T21 T22] more types than the first slots hold
#[test]
fn legacy_with_many_types() {
    for count in [64, 65, 700] {
        let define = format!("MANY={count}");
        let fixture = Fixture::new(LEGACY, &["REGISTER=0", &define]);
        let registry = registry();
        // SAFETY: our own fixture.
        let types = unsafe { Loader::new(registry, trusting()).load_types(&fixture.path, false) };
        let types = types.expect("it loads");
        assert_eq!(types.names().count(), count);
        drop(types);
    }
    let fixture = Fixture::new(LEGACY, &["GET=0"]);
    // SAFETY: our own fixture.
    let types = unsafe { Loader::new(registry(), trusting()).load_types(&fixture.path, false) };
    assert_eq!(types.expect("an empty array").names().count(), 0);
}

/// [T22] a legacy library is no plugin: it has no methods
#[test]
fn legacy_is_no_plugin() {
    let fixture = Fixture::new(LEGACY, &["GET=2"]);
    let options = busbar_zone::Options::new(busbar_zone::Mode::Inline);
    let error = crate::fixtures::load(&fixture.path, &options).expect_err("no plugin");
    assert_eq!(error.kind(), ErrorKind::Symbol);
}
