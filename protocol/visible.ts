/**
 * Text of others made visible before a person decides on it or reads it (GW-13, GW-22): characters that reorder, hide or
 * act are shown as escapes, everything else stays as it is. No I/O.
 *
 * It does not tell letters that look alike apart (a Cyrillic `а` stays one), and it escapes no markup: that is the
 * business of whoever writes into HTML or a chat message.
 */

/** Code points that reorder, hide, look like nothing or act; first and last of each range. */
const UNSEEN_RANGES: readonly (readonly [number, number])[] = [
  [0x00, 0x1f], // C0 controls
  [0x7f, 0x9f], // DEL and C1 controls
  [0xad, 0xad], // soft hyphen
  [0x34f, 0x34f], // combining grapheme joiner
  [0x61c, 0x61c], // Arabic letter mark
  [0x115f, 0x1160], // Hangul fillers
  [0x17b4, 0x17b5], // Khmer inherent vowels
  [0x180b, 0x180f], // Mongolian selectors and separator
  [0x200b, 0x200f], // zero-width characters and direction marks
  [0x2028, 0x202e], // line separators, embeddings and overrides of direction
  [0x2060, 0x206f], // joiners, invisible operators, isolates
  [0x2800, 0x2800], // blank Braille pattern
  [0x3164, 0x3164], // Hangul filler
  [0xd800, 0xdfff], // lone surrogates
  [0xfe00, 0xfe0f], // variation selectors
  [0xfeff, 0xfeff], // byte order mark
  [0xffa0, 0xffa0], // halfwidth Hangul filler
  [0xfff0, 0xfffb], // unassigned, interlinear annotation
  [0xe0000, 0xe0fff], // tags and further selectors
];

const point = (code: number): string => `\\u{${code.toString(16)}}`;
const UNSEEN = new RegExp(`[${UNSEEN_RANGES.map(([first, last]) => `${point(first)}-${point(last)}`).join("")}]`, "gu");

const escape = (character: string): string => {
  const code = character.codePointAt(0) ?? 0;
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
};

/** One line: line feeds as `\n`, tabs as a space. */
export const visibleLine = (text: string): string =>
  text.replace(UNSEEN, (character) => (character === "\n" ? "\\n" : character === "\t" ? " " : escape(character)));

/** Several lines: line feeds and tabs are kept. */
export const visibleLines = (text: string): string =>
  text.replace(UNSEEN, (character) => (character === "\n" || character === "\t" ? character : escape(character)));

/** Blanks that push what follows out of sight. */
const LONG_BLANK = /(?<![^\S\n])[^\S\n]{200,}|\n(?:[^\S\n]*\n){20,}/u;

/** What a reader of the text should be warned of, in sentences; empty when there is nothing. */
export function warningsOf(text: string): readonly string[] {
  const warnings: string[] = [];
  if (visibleLines(text) !== text) warnings.push("It holds control or invisible characters, which are shown as escapes.");
  if (LONG_BLANK.test(text)) warnings.push("It holds a long run of blanks: read to the very end.");
  return warnings;
}
