/**
 * Text on its way into D1: capped, well formed, and without characters that would let one record look like two
 * (GW-22). Values that people filter by (names, ids) are validated elsewhere and do not pass through here.
 */

// C0, DEL, C1, line and paragraph separators, and the bidirectional controls that reorder what is displayed (GW-13).
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
// A compact JWS, whole or cut: base64url parts, the first of which begins `{"`.
const TOKEN = /eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*/g;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Cuts to `limit` UTF-16 units without leaving half a character. */
export function cut(text: string, limit: number): string {
  return (text.length <= limit ? text : text.slice(0, limit)).toWellFormed();
}

/** One line for the audit: control characters as JSON escapes, tokens blotted out, at most about `limit` characters. */
export function auditText(text: string, limit: number): string {
  // Cut first, so that no input makes the expressions below work hard; and after, since escapes grow the text.
  return cut(cut(text, limit).replace(TOKEN, "[token]").replace(UNSEEN, escaped), limit);
}

/** D1 ends a text at NUL; a statement that holds one is shown with its picture instead. */
export const withoutNul = (text: string): string => text.replaceAll("\0", "\u2400");
