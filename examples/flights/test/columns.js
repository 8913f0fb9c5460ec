// @ts-check
/** Three flights as dataset.js would give them: the input of the tests beside this file. */

/** @returns {import('../dataset.js').FlightColumns} */
export function threeFlights() {
  return {
    length: 3,
    departureMicros: Float64Array.of(
      Date.UTC(2001, 0, 1, 0, 1) * 1000,
      Date.UTC(2001, 5, 30, 23, 59) * 1000,
      Date.UTC(2001, 2, 4, 23, 0) * 1000,
    ),
    delayMinutes: Int16Array.of(15, -80, 16),
    distanceMiles: Uint16Array.of(249, 250, 4962),
    origin: ['LAS', 'ABE', 'LAS'],
    destination: ['PHL', 'LAS', 'ZZZ'],
  };
}
