//! The names of the contract, used as it says.

use busbar_types::SerializeError;

#[derive(busbar_types::Type)]
#[busbar(name = "market.Tick", crate = busbar_types)]
pub struct Tick {
    pub id: u64,
    pub name: String,
}

fn write<T: busbar_types::Type>(value: &T, out: &mut [u8]) -> Result<usize, SerializeError> {
    value.write_to_buffer(out)
}

fn main() {
    const HASH: u64 = <Tick as busbar_types::Type>::SCHEMA_HASH;
    let text: &'static str = <Tick as busbar_types::Type>::schema_text();
    assert_eq!(busbar_types::schema::hash_of(text.as_bytes()), HASH);
    let tick = Tick { id: 1, name: String::from("a") };
    assert!(write(&tick, &mut [0; 64]).is_ok());
    let _: Option<&ArchivedTick> = None;
}
