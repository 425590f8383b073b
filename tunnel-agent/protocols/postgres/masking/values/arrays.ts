/**
 * Arrays of the types that can be masked: element by element, in both formats, with NULLs and dimensions kept. An array
 * whose elements would all become NULL becomes NULL.
 *
 * Binary form (array_send): Int32 dimensions, flags (1: there are NULLs) and the elements' type, for each dimension Int32
 * size and lower bound, then each element as Int32 length and bytes.
 *
 * Does not: hide how many elements there are.
 */
import { each, NULL, type Family, type MaskOf, type ValueMask } from "./mask.ts";
import { rewriteArrayText } from "./array-text.ts";
import { decodeText } from "./text.ts";

const MAX_DIMENSIONS = 6;
const HEADER = 12;

const applied = (mask: ValueMask): MaskOf => (mask.kind === "constant" ? () => mask.bytes : mask.of);

function lengthField(bytes: Buffer | null): Buffer {
  const out = Buffer.alloc(4);
  out.writeInt32BE(bytes === null ? -1 : bytes.length);
  return out;
}

/** Null when it is malformed; the array itself where no element changed. */
function rewriteBinary(array: Buffer, elementOid: number, mask: MaskOf): Buffer | null {
  if (array.length < HEADER) return null;
  const dimensions = array.readInt32BE(0);
  const flags = array.readInt32BE(4);
  if (dimensions < 0 || dimensions > MAX_DIMENSIONS || (flags !== 0 && flags !== 1)) return null;
  if (array.readUInt32BE(8) !== elementOid || array.length < HEADER + dimensions * 8) return null;
  let count = dimensions === 0 ? 0 : 1;
  for (let i = 0; i < dimensions; i++) {
    const size = array.readInt32BE(HEADER + i * 8);
    if (size < 0) return null;
    count *= size;
  }
  let at = HEADER + dimensions * 8;
  // Every element takes four bytes at least: a count beyond that is a lie.
  if (count > (array.length - at) / 4) return null;
  const header = Buffer.from(array.subarray(0, at));
  const parts: Buffer[] = [header];
  let nulls = 0;
  let changed = false;
  for (let i = 0; i < count; i++) {
    if (array.length - at < 4) return null;
    const length = array.readInt32BE(at);
    at += 4;
    if (length < -1 || length > array.length - at) return null;
    const element = length === -1 ? null : array.subarray(at, at + length);
    at += Math.max(length, 0);
    const masked = element === null ? null : mask(element);
    if (masked !== element) changed = true;
    if (masked === null) nulls++;
    parts.push(lengthField(masked));
    if (masked !== null) parts.push(masked);
  }
  if (at !== array.length) return null;
  if (!changed) return array;
  header.writeInt32BE(nulls > 0 ? 1 : 0, 4);
  return Buffer.concat(parts);
}

function rewriteText(array: Buffer, mask: MaskOf): Buffer | null {
  const text = decodeText(array);
  let changed = false;
  const masked =
    text === null
      ? null
      : rewriteArrayText(text, (element) => {
          const bytes = Buffer.from(element, "utf8");
          const out = mask(bytes);
          if (out === bytes) return element;
          changed = true;
          return out === null ? null : out.toString("utf8");
        });
  return masked === null ? null : changed ? Buffer.from(masked, "utf8") : array;
}

/** How elements are masked, applied to each element of an array. */
export function elementwise(elementOid: number, format: 0 | 1, mask: MaskOf): MaskOf {
  return format === 0 ? (array) => rewriteText(array, mask) : (array) => rewriteBinary(array, elementOid, mask);
}

export const array =
  (elementOid: number, element: Family): Family =>
  (context) => {
    const mask = element(context);
    if (mask.kind === "constant" && mask.bytes === null) return NULL;
    return each(elementwise(elementOid, context.format, applied(mask)));
  };
