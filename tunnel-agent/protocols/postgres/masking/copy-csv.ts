/**
 * COPY's CSV format as the server writes it (manual of COPY, "CSV Format"; CopyAttributeOutCSV): fields in quotes where they
 * must be or FORCE_QUOTE says so, an escape character before quotes and itself inside them, newlines inside quotes; NULL is
 * the null string without quotes.
 */
import { CARRIAGE_RETURN, NEWLINE, type CopyFormat } from "./copy-format.ts";

/** Where a reader is: between quotes or not, and right after an escape there. */
interface Place {
  quoted: boolean;
  escaped: boolean;
}

/** Alone on a line this would end the data. */
const END_OF_DATA = Buffer.from("\\.");

/** All of them one byte; `escape` is the quote itself unless COPY says otherwise. */
export function createCsvFormat(delimiter: number, nullString: Buffer, quote: number, escape: number): CopyFormat {
  /** Reads a byte: true when it is outside of quotes and no quote. */
  const isPlain = (place: Place, byte: number): boolean => {
    if (!place.quoted) {
      place.quoted = byte === quote;
      return byte !== quote;
    }
    // With the quote as its own escape, two of them leave the quotes and enter them again: the same.
    if (place.escaped) place.escaped = false;
    else if (escape !== quote && byte === escape) place.escaped = true;
    else if (byte === quote) place.quoted = false;
    return false;
  };

  const needsQuotes = (value: Buffer): boolean =>
    value.equals(nullString) ||
    value.equals(END_OF_DATA) ||
    value.some((byte) => byte === delimiter || byte === quote || byte === NEWLINE || byte === CARRIAGE_RETURN);

  const row: Place = { quoted: false, escaped: false };

  return {
    rowEnd(bytes, from) {
      for (let at = from; at < bytes.length; at++) {
        const byte = bytes[at] ?? 0;
        if (isPlain(row, byte) && byte === NEWLINE) return at + 1;
      }
      return -1;
    },
    split(bytes, from, to, ends) {
      let fields = 0;
      const place: Place = { quoted: false, escaped: false };
      for (let at = from; at < to; at++) {
        const byte = bytes[at] ?? 0;
        if (!isPlain(place, byte) || byte !== delimiter) continue;
        if (fields < ends.length) ends[fields] = at;
        fields++;
      }
      if (fields < ends.length) ends[fields] = to;
      return fields + 1;
    },
    isNull: (field) => field.length === nullString.length && field.equals(nullString),
    isQuoted: (bytes, from) => bytes[from] === quote,
    decode(field) {
      if (!field.includes(quote)) return field;
      const out = Buffer.allocUnsafe(field.length);
      let length = 0;
      let quoted = false;
      for (let at = 0; at < field.length; at++) {
        const byte = field[at] ?? 0;
        const next = field[at + 1];
        if (quoted && byte === escape && (next === quote || next === escape)) {
          out[length++] = next;
          at++;
        } else if (byte === quote) quoted = !quoted;
        else out[length++] = byte;
      }
      return out.subarray(0, length);
    },
    encode(value, quoted) {
      if (value === null) return nullString;
      if (!quoted && !needsQuotes(value)) return value;
      const out: number[] = [quote];
      for (const byte of value) {
        if (byte === quote || byte === escape) out.push(escape);
        out.push(byte);
      }
      out.push(quote);
      return Buffer.from(out);
    },
  };
}
