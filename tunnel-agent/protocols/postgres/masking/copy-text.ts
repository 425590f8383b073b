/**
 * COPY's text format as the server writes it (manual of COPY, "Text Format"; CopyAttributeOutText): backslash escapes for the
 * delimiter, the backslash itself and control characters, so that a newline always ends a row; NULL is the null string,
 * unescaped.
 */
import { NEWLINE, type CopyFormat } from "./copy-format.ts";

const BACKSLASH = 0x5c;
/** Letters after a backslash, and what they stand for. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  Object.entries({ b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 }).map(([letter, code]) => [letter.charCodeAt(0), code]),
);
const LETTERS: ReadonlyMap<number, number> = new Map([...ESCAPES].map(([letter, code]) => [code, letter]));

/** `delimiter`: one byte. */
export function createTextFormat(delimiter: number, nullString: Buffer): CopyFormat {
  const isSpecial = (byte: number): boolean => byte === BACKSLASH || byte === delimiter || LETTERS.has(byte);

  return {
    rowEnd(bytes, from) {
      const newline = bytes.indexOf(NEWLINE, from);
      return newline < 0 ? -1 : newline + 1;
    },
    split(bytes, from, to, ends) {
      let fields = 0;
      for (let at = from; at < to; at++) {
        const byte = bytes[at];
        if (byte === BACKSLASH) at++;
        else if (byte === delimiter) {
          if (fields < ends.length) ends[fields] = at;
          fields++;
        }
      }
      if (fields < ends.length) ends[fields] = to;
      return fields + 1;
    },
    isNull: (field) => field.length === nullString.length && field.equals(nullString),
    isQuoted: () => false,
    decode(field) {
      if (!field.includes(BACKSLASH)) return field;
      const out = Buffer.allocUnsafe(field.length);
      let length = 0;
      for (let at = 0; at < field.length; at++) {
        let byte = field[at] ?? 0;
        if (byte === BACKSLASH && at + 1 < field.length) {
          at++;
          byte = field[at] ?? 0;
          byte = ESCAPES.get(byte) ?? byte;
        }
        out[length++] = byte;
      }
      return out.subarray(0, length);
    },
    encode(value) {
      if (value === null) return nullString;
      if (!value.some(isSpecial)) return value;
      const out: number[] = [];
      for (const byte of value) {
        if (isSpecial(byte)) out.push(BACKSLASH);
        out.push(LETTERS.get(byte) ?? byte);
      }
      return Buffer.from(out);
    },
  };
}
