/**
 * Texts: text, varchar, bpchar, name, "char", xml, and literals of type unknown. Their bytes are the same in both formats,
 * in UTF-8, which the gateway holds both ends to.
 *
 * Does not: keep a column's length limit, which is not part of the wire format; no client checks it.
 */
import { isAscii, isUtf8 } from "node:buffer";
import { unreachable } from "../../../../../protocol/result.ts";
import { generaliseText } from "../../../../masking/generalise.ts";
import { textToken } from "../../../../masking/keyed-hash.ts";
import { HIDDEN, marker, partialText } from "../../../../masking/strategies.ts";
import { constant, each, NULL, type Family, type MaskContext, type ValueMask } from "./mask.ts";

/** NAMEDATALEN - 1, bytes. */
const MAX_NAME = 63;

/** The text of a value; null when it is not UTF-8. */
export const decodeText = (value: Buffer): string | null => (isUtf8(value) ? value.toString("utf8") : null);

/** bpchar's blanks at the end are padding, which comparisons ignore. */
function withoutPadding(value: Buffer): Buffer {
  let end = value.length;
  while (end > 0 && value[end - 1] === 0x20) end--;
  return value.subarray(0, end);
}

const asIs = (value: Buffer): Buffer => value;

const ALL_HIDDEN = Buffer.from(HIDDEN, "latin1");
const ASCII_DOMAIN = /^(?=.{1,253}$)\w(?:[\w.-]*\w)?\.[A-Za-z][A-Za-z0-9-]*$/;

/** partialText of a text whose characters are bytes, without making a string of it. */
function partialAscii(value: Buffer, keep: Parameters<typeof partialText>[1]): Buffer {
  const at = keep === "domain" ? value.lastIndexOf(0x40) : 0;
  const first = keep === "domain" ? 0 : keep.first;
  const last = keep === "domain" ? value.length - at : keep.last;
  if (keep === "domain") {
    if (at < 1 || !ASCII_DOMAIN.test(value.toString("latin1", at + 1))) return ALL_HIDDEN;
  } else if (!(value.length - first - last >= Math.max(1, (first + last) / 2)) || first < 0 || last < 0) return ALL_HIDDEN;
  const out = Buffer.allocUnsafe(first + HIDDEN.length + last);
  value.copy(out, 0, 0, first);
  out.write(HIDDEN, first, "latin1");
  value.copy(out, first + HIDDEN.length, value.length - last);
  return out;
}

function texts(context: MaskContext, significant: (value: Buffer) => Buffer, fit: (masked: string) => Buffer): ValueMask {
  const { strategy, hash } = context;
  const redacted = fit(marker(context.class));
  const read = (value: Buffer): string | null => decodeText(significant(value));
  switch (strategy.kind) {
    case "redact":
      return constant(redacted);
    case "zero":
      return constant("");
    case "null":
      return NULL;
    case "hash":
      return each((value) => Buffer.from(textToken(hash, significant(value)), "latin1"));
    case "partial": {
      const { keep } = strategy;
      return each((value) => {
        const shown = significant(value);
        if (isAscii(shown)) return partialAscii(shown, keep);
        const text = decodeText(shown);
        return text === null ? null : fit(partialText(text, keep));
      });
    }
    case "generalise":
      return each((value) => {
        const text = read(value);
        const general = text === null ? null : generaliseText(text, strategy.to);
        return general === null ? redacted : fit(general);
      });
    default:
      return unreachable(strategy);
  }
}

const whole = (masked: string): Buffer => Buffer.from(masked, "utf8");

/** Cut to a name's length, at a character's end. */
function cutToName(masked: string): Buffer {
  const bytes = whole(masked);
  if (bytes.length <= MAX_NAME) return bytes;
  let end = MAX_NAME;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

export const text: Family = (context) => texts(context, asIs, whole);
export const bpchar: Family = (context) => texts(context, withoutPadding, whole);
export const name: Family = (context) => texts(context, asIs, cutToName);

/** Part of a document is no document: what would keep a part of it redacts it. */
export const xml: Family = (context) => {
  const { kind } = context.strategy;
  return kind === "partial" || kind === "generalise" ? constant(marker(context.class)) : texts(context, asIs, whole);
};

/** "char" is one byte: no room for a marker or a token. Its zero is written as nothing in text. */
export const singleByte: Family = ({ strategy, format }) => (strategy.kind === "zero" ? constant(format === 0 ? "" : Buffer.of(0)) : NULL);
