//! A plugin in Rust: an `impl` block whose methods TypeScript calls. Build it with
//! `cargo build --release`.

use busbar_plugin::{Error, Host, Output, Plugin, Result, Type, abi::Status, plugin};

/// A point in the plane.
#[derive(Type)]
#[busbar(name = "geometry.Point")]
struct Point {
    x: f64,
    y: f64,
}

struct Geometry;

impl Plugin for Geometry {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self)
    }
}

#[plugin(id = "rust.geometry")]
impl Geometry {
    /// How far a point is from the origin.
    #[method(sync, idempotent)]
    fn length(&self, point: Point) -> f64 {
        point.x.hypot(point.y)
    }

    /// A point between two.
    #[method(sync, idempotent)]
    fn mix(&self, a: Point, b: Point, share: f64) -> Result<Point> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::of(Status::INVALID, "share is 0 to 1"));
        }
        Ok(Point { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share })
    }

    /// Bytes in, bytes out: FNV-1a.
    #[method(sync, idempotent)]
    fn checksum(&self, bytes: &[u8], out: &mut Output<'_>) -> Result<()> {
        let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        out.put_bytes(&bytes.iter().fold(0x811c_9dc5, step).to_le_bytes())
    }
}
