// @ts-check
/**
 * Airports as numbers: the three letters of an IATA code, base 26. A number takes 2 bytes in a
 * message and is an index into an array for the aggregator, where a string would have to be hashed.
 */

/** Numbers of airports are below this. */
export const AIRPORT_NUMBERS = 26 ** 3;

/**
 * The number of an airport.
 *
 * @param {string} code three letters A–Z; dataset.js has checked it
 */
export function airportNumber(code) {
  let number = 0;
  for (let i = 0; i < 3; i += 1) number = number * 26 + (code.charCodeAt(i) - LETTER_A);
  return number;
}

/**
 * The IATA code of an airport.
 *
 * @param {number} number
 */
export function airportCode(number) {
  const letters = [Math.floor(number / 676), Math.floor(number / 26) % 26, number % 26];
  return String.fromCharCode(...letters.map((letter) => LETTER_A + letter));
}

const LETTER_A = 65;
