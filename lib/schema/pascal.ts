/** How Rust's names of functions and modules become names of types. */

/** `add_all` as `AddAll`. */
export function pascalCase(name: string): string {
  const words = name.split('_').filter((word) => word !== '');
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}
