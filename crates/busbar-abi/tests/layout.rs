//! The header in C and the declarations in Rust are the same: what a compiled C and C++ program
//! prints of sizes, offsets and constants is what Rust says of them.
#![cfg(unix)]

use std::fmt::Write;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use busbar_abi as abi;

/// What both sides say, as lines of a name and a number.
#[derive(Default)]
struct Table {
    c: String,
    rust: String,
}

impl Table {
    fn row(&mut self, name: &str, expression: &str, value: i64) {
        writeln!(self.c, "  printf(\"{name} %lld\\n\", (long long)({expression}));").expect("row");
        writeln!(self.rust, "{name} {value}").expect("row");
    }
}

macro_rules! structs {
    ($table:ident; $($rust:ident = $c:literal { $($field:ident)* })*) => {
        $(
            $table.row($c, &format!("sizeof({})", $c), size_of::<abi::$rust>() as i64);
            $({
                let field = stringify!($field);
                let expression = format!("offsetof({}, {field})", $c);
                $table.row(field, &expression, offset_of!(abi::$rust, $field) as i64);
            })*
        )*
    };
}

macro_rules! constants {
    ($table:ident; $($value:expr => $c:literal)*) => {
        $($table.row($c, $c, i64::from($value));)*
    };
}

fn table() -> Table {
    let mut table = Table::default();
    structs! { table;
        Slice = "busbar_slice" { ptr len }
        Buf = "busbar_buf" { ptr cap len }
        TypeDescriptor = "PluginTypeDescriptor" {
            type_name schema_hash formats struct_size serialize_into get_schema_text ctx_drop ctx
            schema_hash_hi type_flags type_version encode decode drop_value transcode validate
        }
        Method = "busbar_method" { id flags name in_hash out_hash }
        Host = "busbar_host" {
            struct_size abi_minor host_data get_extension alloc dealloc log error complete
            request_get response_put on_zone_thread
        }
        Plugin = "busbar_plugin" {
            struct_size abi_minor plugin_data init activate deactivate destroy get_extension call
            start cancel
        }
        Manifest = "busbar_manifest" {
            magic struct_size abi_major abi_minor min_host_minor pointer_bits flags runtime id
            version target methods n_methods types n_types create
        }
        StateExtension = "busbar_ext_state" { struct_size reserved save load }
        Record = "busbar_record" {
            method in_offset in_length out_offset out_room out_length status reserved
        }
        BatchExtension = "busbar_ext_batch" { struct_size reserved call_batch }
        RequestExtension = "busbar_ext_request" { struct_size reserved handle_request }
        ParentExtension = "busbar_ext_parent" {
            struct_size reserved call start cancel object release
        }
        ObjectsExtension = "busbar_ext_objects" { struct_size reserved released }
    }
    constants! { table;
        abi::MAGIC => "BUSBAR_MAGIC"
        abi::ABI_MAJOR => "BUSBAR_ABI_MAJOR"
        abi::ABI_MINOR => "BUSBAR_ABI_MINOR"
        abi::formats::RKYV => "BUSBAR_FORMAT_RKYV"
        abi::formats::CAPNP => "BUSBAR_FORMAT_CAPNP"
        abi::formats::JSON => "BUSBAR_FORMAT_JSON"
        abi::formats::MSGPACK => "BUSBAR_FORMAT_MSGPACK"
        abi::formats::RAW => "BUSBAR_FORMAT_RAW"
        abi::log_level::ERROR => "BUSBAR_LOG_ERROR"
        abi::log_level::WARN => "BUSBAR_LOG_WARN"
        abi::log_level::INFO => "BUSBAR_LOG_INFO"
        abi::log_level::DEBUG => "BUSBAR_LOG_DEBUG"
        abi::log_level::TRACE => "BUSBAR_LOG_TRACE"
        abi::method::SYNC => "BUSBAR_METHOD_SYNC"
        abi::method::THREAD_SAFE => "BUSBAR_METHOD_THREAD_SAFE"
        abi::method::ONEWAY => "BUSBAR_METHOD_ONEWAY"
        abi::method::IDEMPOTENT => "BUSBAR_METHOD_IDEMPOTENT"
        abi::plugin_flag::UNLOADABLE => "BUSBAR_PLUGIN_UNLOADABLE"
        abi::plugin_flag::SINGLETON => "BUSBAR_PLUGIN_SINGLETON"
        abi::plugin_flag::OWN_RUNTIME => "BUSBAR_PLUGIN_OWN_RUNTIME"
        abi::plugin_flag::STATE => "BUSBAR_PLUGIN_STATE"
        abi::runtime::C => "BUSBAR_RUNTIME_C"
        abi::runtime::RUST => "BUSBAR_RUNTIME_RUST"
        abi::runtime::GO => "BUSBAR_RUNTIME_GO"
        abi::runtime::ZIG => "BUSBAR_RUNTIME_ZIG"
    }
    for number in (-14..=1).chain([-1000]) {
        let status = abi::Status(number);
        let name = status.name().unwrap_or("E_PLUGIN");
        let c = format!("BUSBAR_{name}");
        table.row(&c, &c, i64::from(number));
    }
    table
}

/// Compiles `source` with the header within reach, all warnings on, and runs it.
fn output_of(compiler: &str, standard: &str, extension: &str, source: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, program) =
        (folder.path().join(format!("layout.{extension}")), folder.path().join("layout"));
    std::fs::write(&file, source).expect("written");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(include)
        .arg("-o")
        .args([&program, &file])
        .output()
        .unwrap_or_else(|error| panic!("{compiler} is needed for this test: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(program).output().expect("it runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn program(rows: &str) -> String {
    let target = "  printf(\"%s\\n\", BUSBAR_TARGET);\n";
    format!(
        "#include <stdio.h>\n#include \"busbar_plugin.h\"\n\
         int main(void) {{\n{rows}{target}  return 0;\n}}\n"
    )
}

/// [T16 T20 T21 Z17] sizes, offsets and constants are the same in C, C++ and Rust
#[test]
fn layouts_are_the_same_in_c_and_rust() {
    let Table { c, rust } = table();
    let expected = format!("{rust}{}\n", abi::TARGET.to_str().expect("UTF-8"));
    let source = program(&c);
    for (compiler, standard, extension) in
        [("cc", "-std=c99", "c"), ("cc", "-std=c11", "c"), ("c++", "-std=c++17", "cc")]
    {
        let printed = output_of(compiler, standard, extension, &source);
        for (printed, expected) in printed.lines().zip(expected.lines()) {
            assert_eq!(printed, expected, "{compiler} {standard}");
        }
        assert_eq!(printed.lines().count(), expected.lines().count());
    }
}

/// [T16 T21] the legacy descriptor, as others declare it, is a prefix of ours: 56 bytes
#[test]
#[cfg(target_pointer_width = "64")]
fn legacy_descriptor_is_an_exact_prefix() {
    const LEGACY: &str = "
        typedef struct {
          const char *type_name;
          uint64_t schema_hash;
          uint32_t formats;
          size_t (*serialize_into)(void *, const void *, uint8_t *, size_t);
          const char *(*get_schema_text)(void *);
          void (*ctx_drop)(void *);
          void *ctx;
        } legacy;
    ";
    let (mut table, fields) = (Table::default(), std::cell::RefCell::new(Vec::new()));
    macro_rules! prefix {
        ($($field:ident)*) => {
            $(
                fields.borrow_mut().push(stringify!($field));
                let ours = offset_of!(abi::TypeDescriptor, $field);
                assert_eq!(ours, offset_of!(abi::LegacyTypeDescriptor, $field));
                let expression = concat!("offsetof(legacy, ", stringify!($field), ")");
                table.row(stringify!($field), expression, ours as i64);
            )*
        };
    }
    prefix! { type_name schema_hash formats serialize_into get_schema_text ctx_drop ctx }
    table.row("legacy", "sizeof(legacy)", 56);
    assert_eq!(size_of::<abi::LegacyTypeDescriptor>(), 56);
    assert_eq!(offset_of!(abi::TypeDescriptor, schema_hash_hi), 56);

    let source = program(&table.c).replace("int main", &format!("{LEGACY}\nint main"));
    let printed = output_of("cc", "-std=c11", "c", &source);
    let rows = printed.lines().filter(|line| *line != abi::TARGET.to_str().expect("UTF-8"));
    assert!(rows.eq(table.rust.lines()), "{printed}\n{}", table.rust);
}

/// [Z17] fields that a maker did not know read as null, sizes no version ever had are refused
#[test]
fn shorter_and_longer_structs_are_read() {
    let full = abi::TypeDescriptor {
        validate: Some(accept),
        ..abi::LegacyTypeDescriptor {
            type_name: c"a.B".as_ptr(),
            schema_hash: 7,
            formats: 1,
            serialize_into: None,
            get_schema_text: None,
            ctx_drop: None,
            ctx: std::ptr::null_mut(),
        }
        .into()
    };
    let with_size = |struct_size: u32| abi::TypeDescriptor { struct_size, ..full };
    let read = |size| {
        let descriptor = with_size(size);
        // SAFETY: a whole descriptor, whatever it says of its size.
        unsafe { abi::read_growing(&raw const descriptor) }
    };

    let size = size_of::<abi::TypeDescriptor>() as u32;
    assert!(read(size).is_ok_and(|it| it.validate.is_some() && it.schema_hash == 7));
    assert!(read(56).is_ok_and(|it| it.validate.is_none() && it.schema_hash == 7));
    assert_eq!(read(55).err(), Some(55));
    assert_eq!(read(0).err(), Some(0));

    let mut longer = [with_size(size + 64); 2];
    longer[1].schema_hash = 9;
    // SAFETY: there are two, and it says to be less than twice as long.
    let cut = unsafe { abi::read_growing(longer.as_ptr()) };
    assert!(cut.is_ok_and(|it| it.validate.is_some()), "what we do not know is left out");
}

unsafe extern "C" fn accept(_: *mut std::ffi::c_void, _: u32, _: abi::Slice) -> abi::Status {
    abi::Status::OK
}
