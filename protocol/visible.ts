/**
 * Text of others made visible before a person decides on it or reads it (GW-13, GW-22): characters that reorder, hide or
 * act are shown as escapes, everything else stays as it is. No I/O.
 *
 * It does not tell letters that look alike apart (a Cyrillic `а` stays one), and it escapes no markup: that is the
 * business of whoever writes into HTML or a chat message.
 */

/** C0 and C1 controls, line separators, bidirectional controls, invisible and blank-looking characters, tags, lone surrogates. */
const UNSEEN =
  /[\p{Cc}\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]|\p{Cs}/gu;

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
