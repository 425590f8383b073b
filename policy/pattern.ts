/**
 * Names with `*`, which stands for any characters or none. Linear in the name for each piece between stars; nothing
 * else is special, so no pattern of a user is ever a regular expression (GW-25).
 */
export function matchesPattern(pattern: string, name: string): boolean {
  if (!pattern.includes("*")) return pattern === name;
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop() ?? "";
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

/**
 * Whether every name that fits `narrow` fits `wide`. Sound for any two patterns: a star of `narrow` can only be matched by
 * a star of `wide`, since it is compared as a character that no name has.
 */
export const coversPattern = (wide: string, narrow: string): boolean => matchesPattern(wide, narrow.replaceAll("*", "\0"));
