/** What the two formats of COPY that are text have in common for who masks their rows. */

export interface CopyFormat {
  /** The end of the row that goes on at bytes[from…], its newline included; -1 when it goes on beyond them. Remembers where it is. */
  rowEnd(bytes: Buffer, from: number): number;
  /**
   * Where each field of the row bytes[from, to), without its newline, ends; the next begins one byte on. Returns how many
   * fields there are; those beyond `ends` are counted only.
   */
  split(bytes: Buffer, from: number, to: number, ends: Int32Array): number;
  isNull(field: Buffer): boolean;
  /** Whether the field at bytes[from…] is written in a form that its replacement is to have too. */
  isQuoted(bytes: Buffer, from: number): boolean;
  /** A field's value in the type's text format; it is not NULL. */
  decode(field: Buffer): Buffer;
  encode(value: Buffer | null, quoted: boolean): Buffer;
}

export const NEWLINE = 0x0a;
export const CARRIAGE_RETURN = 0x0d;
