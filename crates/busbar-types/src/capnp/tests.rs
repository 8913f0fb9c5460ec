//! Schemas from a seed, held against what the `capnp` tool makes of their text.

mod random;
mod tool;
mod values;

use std::collections::BTreeMap;

use serde_json::json;

use self::random::Rng;
use self::tool::Tool;
use super::plan::{Body, Member, Node, Plan, Slot};
use super::*;
use crate::archive::count;
use crate::schema::{self, Field, Kind, Place, Scalar, Shape, TypeSchema};

/// What there is to know about the layout of a struct: its size, and where its fields and tags are.
type Facts = BTreeMap<u64, Vec<String>>;

/// Our layout, in the words of `capnp compile -ocapnp`.
fn facts_of(plan: &Plan) -> Facts {
    let nodes = plan.nodes().filter(|node| !matches!(node.body, Body::Enumeration(_)));
    nodes.map(|node| (node.id, struct_facts(node))).collect()
}

fn struct_facts(node: &Node) -> Vec<String> {
    let bytes = usize::from(node.size.data_words) * WORD;
    let mut facts = vec![format!("{bytes} bytes, {} ptrs", node.size.pointers)];
    match &node.body {
        Body::Record(members) => member_facts(members, "", &mut facts),
        Body::Choice(choice) => {
            facts.extend(choice.tag.map(|tag| span("tag bits ", tag, 16)));
            for (number, arm) in choice.arms.iter().enumerate() {
                let tag = match choice.tag {
                    Some(_) => format!("union tag = {number}"),
                    None => String::new(),
                };
                match (&arm.members[..], &*tag) {
                    ([], "") => facts.push(String::from("bits[0, 0)")),
                    ([], tag) => facts.push(format!("bits[0, 0), {tag}")),
                    (_, "") => {}
                    (_, tag) => facts.push(tag.to_owned()),
                }
                member_facts(&arm.members, "", &mut facts);
            }
        }
        Body::Enumeration(_) => unreachable!("left out"),
    }
    facts.sort();
    facts
}

fn member_facts(members: &[Member], tag: &str, facts: &mut Vec<String>) {
    members.iter().for_each(|member| slot_facts(&member.slot, tag, facts));
}

/// `tag` is what is said of members of a union.
fn slot_facts(slot: &Slot, tag: &str, facts: &mut Vec<String>) {
    match slot {
        Slot::Void => facts.push(format!("bits[0, 0){tag}")),
        Slot::Data { scalar, offset } => {
            let bits = if *scalar == Scalar::Bool { 1 } else { scalar.size_bytes() * 8 };
            facts.push(span("bits", *offset, bits) + tag);
        }
        Slot::Enum { offset, .. } => facts.push(span("bits", *offset, 16) + tag),
        Slot::Pointer { index, .. } => facts.push(format!("ptr[{index}]{tag}")),
        Slot::Wide { low, high, .. } => {
            facts.extend((!tag.is_empty()).then(|| tag[2..].to_owned()));
            facts.extend([low, high].map(|offset| span("bits", *offset, 64)));
        }
        Slot::Option { tag: at, some } => {
            facts.push(span("tag bits ", *at, 16));
            facts.push(String::from("bits[0, 0), union tag = 0"));
            slot_facts(some, ", union tag = 1", facts);
        }
    }
}

fn span(what: &str, offset: u32, bits: u32) -> String {
    format!("{what}[{}, {})", offset * bits, (offset + 1) * bits)
}

/// The layout in the comments of `capnp compile -ocapnp`.
fn facts_in(printed: &str) -> Facts {
    let mut facts = Facts::new();
    let mut structs: Vec<Option<u64>> = Vec::new();
    for line in printed.lines().map(str::trim) {
        let (code, comment) = line.split_once("  # ").unwrap_or((line, ""));
        if code == "}" {
            structs.pop();
            continue;
        }
        if code.ends_with('{') {
            let id = code.strip_prefix("struct ").map(|head| {
                let id = head.split_once("@0x").expect("an id").1.trim_end_matches(" {");
                u64::from_str_radix(id, 16).expect("an id")
            });
            // Groups and unions belong to the struct around them.
            structs.push(id.or_else(|| structs.last().copied().flatten()));
        }
        let Some(id) = structs.last().copied().flatten() else { continue };
        let found = facts.entry(id).or_default();
        if !comment.is_empty() {
            // How lists of such structs were once packed is not what this is about.
            found.push(comment.split(", packed as").next().unwrap_or_default().to_owned());
        }
    }
    facts.values_mut().for_each(|facts| facts.sort());
    facts
}

/// [T03] the layout of 4,000 random structs is what the schema compiler makes of their text
#[test]
fn layouts_are_those_of_the_compiler() {
    let (mut structs, mut fields) = (0, 0);
    for seed in 0.. {
        let capnp = Capnp::new(&random::schema(&mut Rng(seed), 1000)).expect("a plan");
        let Some(tool) = Tool::new(&capnp.text()) else { return };
        let printed = tool.run(&["compile", "-ocapnp", "schema.capnp"], &[]);
        let theirs = facts_in(&String::from_utf8(printed).expect("UTF-8"));
        let ours = facts_of(&capnp.plan);
        for (id, facts) in &ours {
            assert_eq!(theirs.get(id), Some(facts), "seed {seed}, struct @0x{id:016x}");
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
        structs += ours.len();
        fields += ours.values().map(|facts| facts.len() - 1).sum::<usize>();
        if structs >= 4_000 {
            break;
        }
    }
    assert!(fields > 20_000, "{fields} fields of {structs} structs");
}

/// One JSON value on each line.
fn lines(printed: &[u8]) -> Vec<Value> {
    let printed = std::str::from_utf8(printed).expect("UTF-8");
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// [T08 T37] random values of random types: the tool reads what we write, and we read what it
/// writes, in one segment and in many
#[test]
fn values_are_read_by_the_tool_and_from_it() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let schema = random::schema(&mut rng, 14);
        let capnp = Capnp::new(&schema).expect("a plan");
        let Some(tool) = Tool::new(&capnp.text()) else { return };
        let (mut archives, mut messages, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..10 {
            let value = values::of_type(&mut rng, &schema, schema.root());
            let archive = capnp.json_to_archive(&value).expect("an archive");
            messages.extend(capnp.encode(&archive).expect("a message"));
            // The order of hash maps is that of the archive.
            let value = capnp.archive_to_json(&archive).expect("JSON");
            expected.push(values::expected(&schema, &value));
            archives.push(archive);
        }
        let convert = |formats, more: &[&str], input: &[u8]| {
            let args = [&["convert", formats, "schema.capnp", capnp.root_name()], more].concat();
            tool.run(&args, input)
        };
        let printed = convert("binary:json", &["--short"], &messages);
        for (found, expected) in lines(&printed).iter().zip(&expected) {
            assert_eq!(values::difference(found, expected), None, "seed {seed}");
        }
        assert_eq!(lines(&printed).len(), expected.len());
        // Nobody accepts more than 512 segments.
        let longest = split(&messages).map(<[u8]>::len).max().unwrap_or_default();
        let in_many = format!("--segment-size={}", 2 + longest / WORD / 200);
        for more in [&[][..], &[in_many.as_str()]] {
            let written = convert("json:binary", more, &printed);
            let found = split(&written).map(|message| capnp.decode(message).expect("an archive"));
            let is_same = |(found, archive): (Vec<u8>, &Vec<u8>)| {
                let [found, value] =
                    [&found, archive].map(|one| capnp.archive_to_json(one).expect("JSON"));
                assert_eq!(values::difference(&found, &value), None, "seed {seed}");
            };
            found.zip(&archives).for_each(is_same);
            assert_eq!(split(&written).count(), archives.len());
        }
    }
}

/// The messages in a stream of them.
fn split(mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let word = |at: usize| {
            stream.get(at..at + 4).map(|word| u32::from_le_bytes(word.try_into().expect("four")))
        };
        let segments = count(word(0)? + 1);
        let head = (4 + segments * 4).next_multiple_of(WORD);
        let words = (0..segments).map(|index| word(4 + index * 4).map_or(0, count));
        let (message, rest) = stream.split_at(head + words.sum::<usize>() * WORD);
        stream = rest;
        Some(message)
    })
}

/// How many mutations hostile input is tried with.
fn rounds() -> usize {
    let rounds = std::env::var("BUSBAR_FUZZ_ROUNDS").ok();
    rounds.map_or(100_000, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Mutates what `prepare` makes of archives of random types, `rounds` times in all, and has it
/// `read`. Every error must be one that bytes can be the reason of.
fn fuzz(
    prepare: impl Fn(&Capnp, &[u8]) -> Vec<u8>,
    read: impl Fn(&Capnp, &[u8]) -> Result<(), Error>,
) {
    const PER_SAMPLE: usize = 500;
    let limits = Limits { bytes_max: 1 << 20, values_max: 1 << 16, ..Limits::default() };
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..rounds().div_ceil(PER_SAMPLE) as u64 {
        let mut rng = Rng(seed);
        let schema = random::schema(&mut rng, 14);
        let capnp = Capnp::new(&schema).expect("a plan").with_limits(limits);
        // Small ones, of which every byte means something.
        let archive = std::iter::repeat_with(|| {
            let value = values::of_type(&mut rng, &schema, schema.root());
            json::to_archive(&schema, Limits::default(), &value).expect("an archive")
        });
        let archive = archive.take(20).min_by_key(|archive| archive.len().abs_diff(1000));
        let sample = prepare(&capnp, &archive.expect("twenty"));
        for _ in 0..PER_SAMPLE {
            let mut bytes = sample.clone();
            random::mutate(&mut rng, &mut bytes);
            match read(&capnp, &bytes) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    refused += 1;
                    assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::ArchiveInvalid
                                | ErrorKind::SchemaVariant
                                | ErrorKind::SerializeFailed
                        ),
                        "seed {seed}: {error:?}"
                    );
                }
            }
        }
    }
    assert!(accepted > refused / 20 && refused > accepted / 20, "{accepted} and {refused}");
}

/// [T08] mutated messages give values or errors, and their values are good ones
#[test]
fn hostile_messages_are_refused_or_read() {
    fuzz(
        |capnp, archive| capnp.encode(archive).expect("a message"),
        |capnp, bytes| {
            let archive = capnp.decode(bytes)?;
            let value = capnp.archive_to_json(&archive).or_else(excused)?;
            if !value.is_null() {
                capnp.encode(&archive)?;
            }
            Ok(())
        },
    );
}

/// More values than the limits allow.
fn excused(error: Error) -> Result<Value, Error> {
    if error.message().contains("values") { Ok(Value::Null) } else { Err(error) }
}

/// [T08] mutated archives give messages and JSON, or errors
#[test]
fn hostile_archives_are_refused_or_read() {
    fuzz(
        |_, archive| archive.to_vec(),
        |capnp, bytes| {
            let message = capnp.encode(bytes);
            let value = capnp.archive_to_json(bytes);
            let back = match capnp.decode(&message?) {
                Ok(back) => back,
                // Keys are not compared before, and many elements without bytes are no message.
                Err(error)
                    if ["twice", "more than its size"]
                        .iter()
                        .any(|e| error.message().contains(e)) =>
                {
                    return Err(error);
                }
                Err(error) => panic!("we wrote what we do not read: {error:?}"),
            };
            let value = value.or_else(excused)?;
            if !value.is_null() {
                let again = capnp.archive_to_json(&back).expect("what we read");
                assert_eq!(values::difference(&again, &value), None);
            }
            Ok(())
        },
    );
}

fn place(kind: Kind) -> Box<Place> {
    Box::new(Place::new(kind))
}

fn mention(name: &str) -> Kind {
    Kind::Type { name: name.to_owned(), recursive: false }
}

fn structure(name: &str, fields: Vec<(&str, Kind)>) -> TypeSchema {
    let fields = fields.into_iter().map(|(name, kind)| Field::new(name, kind));
    TypeSchema::new_struct(name, Shape::Named, fields.collect())
}

fn one(kind: Kind) -> Capnp {
    let schema = Schema::new("a.One", [structure("a.One", vec![("value", kind)])]);
    Capnp::new(&schema.expect("a schema")).expect("a plan")
}

/// [T03] names that are words of Cap'n Proto, names that shadow each other, names with underscores
#[test]
fn names_that_others_have_are_told_apart() {
    let map = Kind::BTreeMap { key: place(Kind::String), value: place(mention("a.TagsEntry")) };
    let unit = |name: &str, tag| schema::Variant {
        name: name.to_owned(),
        tag,
        shape: Shape::Unit,
        fields: Vec::new(),
    };
    let types = [
        structure(
            "a.Root",
            vec![
                ("tags", map),
                ("entry", mention("a.TagsEntry")),
                ("text", mention("a.Text")),
                ("other", mention("b.c.Root")),
                ("union", Kind::String),
                ("_struct__of_", mention("a.void")),
                ("x1y", Kind::Option(place(Kind::Scalar(Scalar::U128)))),
            ],
        ),
        structure("a.TagsEntry", vec![("key", Kind::Scalar(Scalar::U8))]),
        structure("a.Text", vec![("text", Kind::String)]),
        structure("b.c.Root", vec![("void", Kind::Unit)]),
        TypeSchema::new_enum("a.void", vec![unit("enum", 0), unit("Using", 1)]),
    ];
    let capnp = Capnp::new(&Schema::new("a.Root", types).expect("a schema")).expect("a plan");
    let text = capnp.text();
    for line in [
        "tags @0 :List(Root.TagsEntry);",
        "value @1 : .TagsEntry;",
        "entry @1 : .TagsEntry;",
        "text @2 :TextType;",
        "other @3 :BCRoot;",
        "union @4 :Text;",
        "structOf @5 :VoidType;",
        "enum @0;",
    ] {
        assert!(text.contains(&format!(" {line}\n")), "{line:?} is not in\n{text}");
    }
    let Some(tool) = Tool::new(&text) else { return };
    assert!(!tool.run(&["compile", "-o-", "schema.capnp"], &[]).is_empty());
}

/// [T03] what cannot be told apart in Cap'n Proto is refused with what to do about it
#[test]
fn names_that_become_the_same_are_refused() {
    let refused = |types: Vec<TypeSchema>| {
        let root = types[0].name.clone();
        let schema = Schema::new(root, types).expect("a schema");
        let error = Capnp::new(&schema).map(|_| ()).expect_err("no plan");
        assert_eq!(error.kind(), ErrorKind::SchemaInvalid);
        error.to_string()
    };
    let fields = vec![("a_b", Kind::Unit), ("aB", Kind::Unit)];
    assert_eq!(
        refused(vec![structure("a.One", fields)]),
        "a.One: \"a_b\" and \"aB\" are both called \"aB\" in Cap'n Proto: rename one"
    );
    let both = vec![("a", mention("a.two")), ("b", mention("a.Two"))];
    let types =
        vec![structure("a.One", both), structure("a.two", vec![]), structure("a.Two", vec![])];
    assert_eq!(
        refused(types),
        "a.two: \"a.Two\" and \"a.two\" are both called \"Two\" in Cap'n Proto: rename one"
    );
    assert_eq!(
        refused(vec![structure("a.One", vec![("größe", Kind::Unit)])]),
        "a.One.größe: \"größe\" is no name in Cap'n Proto: it has ASCII letters only"
    );
}

/// [T08] every slice too small is refused with the size it takes
#[test]
fn small_slices_are_refused() {
    let capnp = one(Kind::Vec(place(Kind::String)));
    let archive = capnp.json_to_archive(&json!({ "value": ["a", "b c d e f g"] }));
    let archive = archive.expect("an archive");
    let message = capnp.encode(&archive).expect("a message");
    let mut out = vec![0xa5; message.len() + 16];
    for room in 0..message.len() {
        let error = capnp.encode_into(&archive, &mut out[..room]).expect_err("too small");
        assert_eq!(error.kind(), ErrorKind::BufferTooSmall);
        let said = format!("takes {} bytes, there are {room}", message.len());
        assert!(error.message().ends_with(&said), "{error}");
    }
    assert_eq!(out[message.len()..], [0xa5; 16]);
    let len = capnp.encode_into(&archive, &mut out).expect("room enough");
    assert_eq!(out[..len], message);
}

/// A message of one segment with these words.
fn message(words: &[u64]) -> Vec<u8> {
    let head = (words.len() as u64) << 32;
    [head].iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
}

/// [T08] a pointer may lead through two other segments
#[test]
fn far_pointers_are_followed() {
    let capnp = one(Kind::Scalar(Scalar::U64));
    let read = |segments: [&[u64]; 3]| {
        let sizes = segments.map(|segment| segment.len() as u64);
        let head = [2 | sizes[0] << 32, sizes[1] | sizes[2] << 32];
        let words = head.iter().chain(segments.into_iter().flatten());
        let message: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        capnp.to_json(&message).map(|mut value| value["value"].take())
    };
    let far = |landing: u64, is_double: bool, segment: u64| {
        landing << 3 | u64::from(is_double) << 2 | 2 | segment << 32
    };
    let size = 1 << 32;
    assert_eq!(read([&[far(1, false, 1)], &[9, size, 77], &[]]).expect("one step"), 77);
    let two_steps = read([&[far(1, true, 1)], &[9, far(1, false, 2), size], &[9, 78]]);
    assert_eq!(two_steps.expect("two steps"), 78);
    for wrong in [
        [&[far(0, false, 1)][..], &[far(0, false, 2)], &[size, 77]],
        [&[far(0, true, 1)], &[far(0, true, 2), size], &[77]],
        [&[far(0, true, 1)], &[far(0, false, 2), size | 1 << 2], &[77, 77]],
        [&[far(0, true, 1)], &[far(0, false, 2)], &[77]],
        [&[far(0, true, 1)], &[far(1, false, 2), size], &[77]],
        [&[far(0, false, 3)], &[size, 77], &[]],
    ] {
        let error = read(wrong).expect_err("nowhere");
        assert_eq!(error.kind(), ErrorKind::ArchiveInvalid);
    }
}

/// [T08] messages that say much with few bytes end soon
#[test]
fn messages_cannot_make_much_of_little() {
    // A pointer to the list behind it: half a billion elements of nothing.
    let list = 1 | ((1 << 29) - 1) << 35;
    let capnp = one(Kind::Vec(place(Kind::Unit)));
    let error = capnp.decode(&message(&[1 << 48, list])).expect_err("too many");
    let why = "a list has 536870911 values of no bytes, more than 4096";
    assert_eq!((error.kind(), error.message()), (ErrorKind::ArchiveInvalid, why));
    let array = Kind::Array { elem: place(Kind::Scalar(Scalar::U64)), length: 1 << 24 };
    let error = one(array).decode(&message(&[1 << 48, 0])).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::SerializeFailed);

    // A struct that contains itself.
    let recursive = Kind::Type { name: String::from("a.One"), recursive: true };
    let capnp = one(Kind::Option(place(Kind::Box(place(recursive)))));
    let some_of_itself = message(&[1 << 48 | 1 << 32, 1, 1 << 48 | 1 << 32 | 0xffff_fff8]);
    let error = capnp.decode(&some_of_itself).expect_err("no end");
    assert!(error.message().contains("more than 64 structs"), "{error}");

    // Seven lists, of which each contains the next one two hundred times.
    let mut kind = Kind::Vec(place(Kind::Scalar(Scalar::U8)));
    let mut words = vec![1 << 48, 1 | 6 << 32 | 200 << 35];
    for level in 1..=7 {
        kind = Kind::Vec(place(kind));
        let next = |at: u64| if level == 7 { 0 } else { (199 - at) << 2 | 1 | 6 << 32 | 200 << 35 };
        words.extend((0..200).map(next));
    }
    let error = one(kind).decode(&message(&words)).expect_err("far too much");
    assert!(error.message().contains("more than its size allows"), "{error}");
}

/// [T08] the deepest tree that we write is one that the tool and we read
#[test]
fn trees_are_as_deep_as_others_read_them() {
    let recursive = || Kind::Type { name: String::from("a.One"), recursive: true };
    let map = Kind::BTreeMap { key: place(Kind::Unit), value: place(recursive()) };
    for (kind, wrap) in [
        (Kind::Vec(place(recursive())), (|inner| json!([inner])) as fn(Value) -> Value),
        (Kind::Option(place(Kind::Box(place(recursive())))), |inner| inner),
        (Kind::Vec(place(Kind::Option(place(recursive())))), |inner| json!([inner])),
        (map, |inner| json!([[null, inner]])),
    ] {
        let empty = if matches!(kind, Kind::Option(_)) { Value::Null } else { json!([]) };
        let capnp = one(kind);
        let limits = Limits { depth_max: 200, ..Limits::default() };
        let mut value = json!({ "value": empty });
        let mut deepest = None;
        for _ in 0..70 {
            value = json!({ "value": wrap(value) });
            let archive = json::to_archive(&capnp.schema, limits, &value).expect("an archive");
            match capnp.encode(&archive) {
                Ok(message) => deepest = Some((message, archive)),
                Err(error) => {
                    assert!(error.message().contains("nested"), "{error}");
                    break;
                }
            }
        }
        let (message, archive) = deepest.expect("some depth");
        assert_eq!(capnp.decode(&message).expect("no deeper than we read"), archive);
        let Some(tool) = Tool::new(&capnp.text()) else { continue };
        tool.run(&["decode", "--short", "schema.capnp", "One"], &message);
    }
}
