/**
 * What detectors need of a text, and the character classes they share. Detectors take this instead of `string` so that
 * the tests can count every character they look at.
 */

export type Text = Pick<string, "length" | "charCodeAt" | "indexOf" | "slice">;

/** UTF-16 indexes; `end` is exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
export const isUpper = (code: number): boolean => code >= 0x41 && code <= 0x5a;
export const isLower = (code: number): boolean => code >= 0x61 && code <= 0x7a;
export const isAlphanumeric = (code: number): boolean => isDigit(code) || isUpper(code) || isLower(code);
/** Letters, digits and `_`; anything beyond ASCII counts as a letter. NaN, the end of the text, is none. */
export const isWord = (code: number): boolean => isAlphanumeric(code) || code === 0x5f || code > 0x7f;
/** RFC 4648 section 5, base64url. */
export const isBase64Url = (code: number): boolean => isAlphanumeric(code) || code === 0x5f || code === 0x2d;

/** The end of the run of characters of one class that starts at `from`, at most `limit` characters on. */
export function endOfRun(text: Text, from: number, of: (code: number) => boolean, limit = Number.POSITIVE_INFINITY): number {
  const stop = Math.min(text.length, from + limit);
  let at = from;
  while (at < stop && of(text.charCodeAt(at))) at++;
  return at;
}

/** Whether the text has exactly these ASCII characters at a place. */
export function startsAt(text: Text, at: number, expected: string): boolean {
  for (let i = 0; i < expected.length; i++) if (text.charCodeAt(at + i) !== expected.charCodeAt(i)) return false;
  return true;
}
