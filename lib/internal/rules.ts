/** Rules of options: a standard value, and the check that says what is accepted. */

import { invalidArgument, show } from '../errors.js';
import { checkObject, unknownOption } from './checks.js';

/** Values of options by name. */
export type Values = Record<string, unknown>;

/** What holds for one option. */
export interface Rule {
  readonly standard: unknown;
  /** Throws unless the value is acceptable. */
  readonly check: (name: string, value: unknown) => void;
}

/** Rules by name. */
export type Rules = Readonly<Record<string, Rule>>;

/** The values of all options that `rules` knows. Throws for others. */
export function checked(options: unknown, rules: Rules): Values {
  const values: Values = {};
  for (const [name, rule] of Object.entries(rules)) values[name] = rule.standard;
  if (options === undefined) return values;
  for (const [name, value] of Object.entries(checkObject(options as object))) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) throw unknownOption(name, Object.keys(rules));
    if (value === undefined) continue;
    rule.check(name, value);
    values[name] = value;
  }
  return values;
}

/**
 * The values of what is chosen by `true`, with standard values, or by an object; `null` if `false`
 * has ruled it out.
 */
export function chosen(name: string, given: unknown, rules: Rules): Values | null {
  if (given === false) return null;
  if (given === true) return checked(undefined, rules);
  if (given !== null && typeof given === 'object') return checked(given, rules);
  const accepted = `true, false or { ${Object.keys(rules).join(', ')} }`;
  throw invalidArgument(`${name} is ${show(given)}; it must be ${accepted}`);
}

/** One of several texts. */
export function choice<T extends string>(standard: T | undefined, choices: readonly T[]): Rule {
  return {
    standard,
    check(name, value) {
      if ((choices as readonly unknown[]).includes(value)) return;
      const list = choices.map((each) => `'${each}'`).join(', ');
      throw invalidArgument(`${name} is ${show(value)}; it must be one of ${list}`);
    },
  };
}

/** An integer of a range. */
export function integer(standard: number | undefined, min: number, max: number): Rule {
  return {
    standard,
    check(name, value) {
      if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return;
      throw invalidArgument(`${name} is ${show(value)}; it must be an integer, ${min} to ${max}`);
    },
  };
}
