//! The aggregation of flights as a plugin: what aggregate.js does, in Rust, fed packed flights.
//!
//! A flight takes 12 bytes, little-endian: origin, destination (u16 each, as airports.js numbers
//! them), departure (u32, seconds), delay (i16, minutes), distance (u16, miles).

use std::sync::{Mutex, PoisonError};

use busbar_plugin::abi::Status;
use busbar_plugin::{Error, Host, Plugin, Result, Type, plugin};

const FLIGHT_BYTES: usize = 12;
const AIRPORTS: usize = 26 * 26 * 26;
const LATE_MINUTES: i16 = 15;
/// As DISTANCE_BANDS of groups.js; the last band has no bound.
const BAND_BOUNDS: [u16; 4] = [250, 500, 1000, 2000];

/// Delays of the flights of one group, in minutes.
#[derive(Type, Clone, Copy, Default)]
#[busbar(name = "flights.GroupCell")]
struct GroupCell {
    group: u16,
    flights: u32,
    #[busbar(number)]
    sum: i64,
    max: i16,
    late: u32,
}

/// The cells of all groups with flights.
#[derive(Type)]
#[busbar(name = "flights.Groups")]
struct Groups {
    flights: u32,
    origin: Vec<GroupCell>,
    destination: Vec<GroupCell>,
    hour: Vec<GroupCell>,
    distance: Vec<GroupCell>,
}

struct Tally(Vec<GroupCell>);

impl Tally {
    fn new(groups: usize) -> Self {
        let cell = |group| GroupCell { group: group as u16, ..GroupCell::default() };
        Self((0..groups).map(cell).collect())
    }

    fn add(&mut self, group: usize, delay: i16) -> Result<()> {
        let Some(cell) = self.0.get_mut(group) else {
            let message = format!("a flight names group {group}, which is none");
            return Err(Error::of(Status::INVALID, message));
        };
        cell.max = if cell.flights == 0 { delay } else { cell.max.max(delay) };
        cell.flights += 1;
        cell.sum += i64::from(delay);
        cell.late += u32::from(delay > LATE_MINUTES);
        Ok(())
    }

    fn cells(&self) -> Vec<GroupCell> {
        self.0.iter().filter(|cell| cell.flights > 0).copied().collect()
    }
}

struct Totals {
    flights: u32,
    origin: Tally,
    destination: Tally,
    hour: Tally,
    distance: Tally,
}

struct Aggregator(Mutex<Totals>);

impl Plugin for Aggregator {
    fn create(_host: Host) -> Result<Self> {
        Ok(Self(Mutex::new(Totals {
            flights: 0,
            origin: Tally::new(AIRPORTS),
            destination: Tally::new(AIRPORTS),
            hour: Tally::new(24),
            distance: Tally::new(BAND_BOUNDS.len() + 1),
        })))
    }
}

#[plugin(id = "flights.aggregator")]
impl Aggregator {
    /// Adds packed flights.
    #[method(sync)]
    fn add(&self, flights: &[u8]) -> Result<()> {
        if !flights.len().is_multiple_of(FLIGHT_BYTES) {
            return Err(Error::of(Status::INVALID, "the last flight is cut off"));
        }
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for flight in flights.chunks_exact(FLIGHT_BYTES) {
            let word = |at: usize| u16::from_le_bytes([flight[at], flight[at + 1]]);
            let departure = u32::from(word(4)) | u32::from(word(6)) << 16;
            let (delay, distance) = (word(8).cast_signed(), word(10));
            totals.origin.add(word(0).into(), delay)?;
            totals.destination.add(word(2).into(), delay)?;
            totals.hour.add((departure / 3600 % 24) as usize, delay)?;
            let band = BAND_BOUNDS.iter().filter(|bound| distance >= **bound).count();
            totals.distance.add(band, delay)?;
            totals.flights += 1;
        }
        Ok(())
    }

    /// What was added so far.
    #[method(sync)]
    fn result(&self) -> Groups {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Groups {
            flights: totals.flights,
            origin: totals.origin.cells(),
            destination: totals.destination.cells(),
            hour: totals.hour.cells(),
            distance: totals.distance.cells(),
        }
    }
}
