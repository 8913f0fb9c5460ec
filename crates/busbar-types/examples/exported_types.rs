//! A library with three types, as plugins are: what tests and documentation read types from.

use busbar_types::Type;

/// Where something is.
#[derive(Type)]
#[busbar(name = "game.Position")]
struct Position {
    /// Meters east, north, up.
    at: [f32; 3],
}

/// What happened to somebody.
#[derive(Type)]
#[busbar(name = "game.Happening")]
enum Happening {
    /// Came in.
    Joined {
        /// Under which name.
        name: String,
    },
    /// Was hit.
    Hit(u32),
    /// Went away.
    Left,
}

/// One happening in a game.
#[derive(Type)]
#[busbar(name = "game.Event")]
struct Event {
    /// Milliseconds since the game began.
    #[busbar(number)]
    time: u64,
    /// Where.
    position: Position,
    /// What.
    what: Happening,
}

busbar_types::export_types!(Position, Happening, Event);
