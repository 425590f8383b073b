/**
 * Cedar source text from values. Every string that comes from a bundle passes through `cedarString` or
 * `cedarPattern`, so no name can end a literal and become policy.
 */

/** Cedar's escapes are Rust's: everything but printable ASCII becomes `\u{…}`. */
function escape(text: string): string {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (character === '"' || character === "\\") out += `\\${character}`;
    else if (code >= 0x20 && code < 0x7f) out += character;
    else out += `\\u{${code.toString(16)}}`;
  }
  return out;
}

export const cedarString = (text: string): string => `"${escape(text)}"`;

/** For `like`: `*` in the text stays a wildcard; nothing else is special. */
export const cedarPattern = (text: string): string => `"${escape(text)}"`;

/** `Target::"orders-db"`. */
export const cedarEntity = (type: string, id: string): string => `${type}::${cedarString(id)}`;
