//! A value written straight into a memory-mapped file, and read there by another program.
//!
//! ```text
//! cargo run --example mapped_file -- write /tmp/position
//! cargo run --example mapped_file -- read /tmp/position
//! ```

use std::env;
use std::error::Error;
use std::io::{self, Write};

use busbar_types::Type;
use busbar_types::mapped::{self, Mapped};

#[derive(Type)]
#[busbar(name = "example.Position")]
struct Position {
    id: u64,
    latitude: f64,
    longitude: f64,
    name: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", path] => {
            let name = String::from("Frauenkirche, Munich");
            let position = Position { id: 7, latitude: 48.1386, longitude: 11.5736, name };
            // The archive is made in the file's own pages; nothing is allocated or copied for it.
            let bytes = mapped::write(path, &position)?;
            writeln!(out, "{bytes} bytes of {}", Position::NAME)?;
        }
        ["read", path] => {
            // Checked here, once: whatever is in the file, this is an error or a valid archive.
            let mapped = Mapped::<Position>::open(path)?;
            let position = mapped.get();
            let (latitude, longitude) = (position.latitude, position.longitude);
            writeln!(out, "{} {}: {latitude}, {longitude}", position.id, position.name)?;
            // Somebody who does not keep to the format may have changed the file meanwhile.
            mapped.verify()?;
        }
        _ => return Err("usage: mapped_file write|read <path>".into()),
    }
    Ok(())
}
