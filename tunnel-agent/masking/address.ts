/**
 * Network addresses as text and bytes: IPv4 in dotted decimals, IPv6 as RFC 4291 section 2.2 writes it, MAC addresses.
 * Strict: what has another form, a zone or a leading zero that could mean octal, is not an address here.
 */
import { hex } from "./keyed-hash.ts";

export interface Network {
  /** 4 bytes or 16. */
  readonly address: Uint8Array;
  /** Length of the prefix, bits. */
  readonly bits: number;
}

/** What generalising keeps of an address: its site's usual prefix. */
export const NETWORK_BITS = { v4: 24, v6: 48 } as const;

function parseV4(text: string): Uint8Array | null {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) return null;
  return Uint8Array.from(parts, Number);
}

function parseV6(text: string): Uint8Array | null {
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text)) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const sides = halves.map((half) => (half === "" ? [] : half.split(":")));
  const words = sides.map((side, index) => expandV4(side, index === sides.length - 1));
  if (words.some((side) => side === null)) return null;
  const [head, tail] = [words[0] ?? [], words[1] ?? []];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = [...head, ...Array.from({ length: halves.length === 1 ? 0 : missing }, () => 0), ...tail];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

/** Words of one side of `::`; dotted decimals may end the last. */
function expandV4(side: readonly string[], last: boolean): number[] | null {
  const words: number[] = [];
  for (const [index, part] of side.entries()) {
    if (part.includes(".")) {
      const v4 = last && index === side.length - 1 ? parseV4(part) : null;
      if (v4 === null) return null;
      words.push(((v4[0] ?? 0) << 8) | (v4[1] ?? 0), ((v4[2] ?? 0) << 8) | (v4[3] ?? 0));
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null;
      words.push(Number.parseInt(part, 16));
    }
  }
  return words;
}

/** `10.1.2.3`, `10.1.0.0/16`, `2001:db8::1/64`; null for anything else. */
export function parseNetwork(text: string): Network | null {
  const slash = text.indexOf("/");
  const written = slash < 0 ? text : text.slice(0, slash);
  const address = written.includes(":") ? parseV6(written) : parseV4(written);
  if (address === null) return null;
  const most = address.length * 8;
  if (slash < 0) return { address, bits: most };
  const suffix = text.slice(slash + 1);
  return /^(?:0|[1-9]\d{0,2})$/.test(suffix) && Number(suffix) <= most ? { address, bits: Number(suffix) } : null;
}

/** IPv6 without `::`, which every reader takes. The prefix is left out of a host's address unless it is asked for. */
export function printNetwork({ address, bits }: Network, always: boolean): string {
  const words = [0, 2, 4, 6, 8, 10, 12, 14].map((at) => (((address[at] ?? 0) << 8) | (address[at + 1] ?? 0)).toString(16));
  const written = address.length === 4 ? address.join(".") : words.join(":");
  return always || bits !== address.length * 8 ? `${written}/${bits}` : written;
}

/** The network that it is in: at most /24 or /48, the rest zero. */
export function generaliseNetwork({ address, bits }: Network): Network {
  const kept = Math.min(bits, address.length === 4 ? NETWORK_BITS.v4 : NETWORK_BITS.v6);
  const masked = address.map((byte, index) => byte & (0xff00 >> Math.max(0, Math.min(8, kept - index * 8))));
  return { address: masked, bits: kept };
}

/** `08:00:2b:01:02:03`, or eight bytes so; null for anything else. */
export function parseMac(text: string, bytes: 6 | 8): Uint8Array | null {
  if (text.length !== bytes * 3 - 1 || !/^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2})+$/.test(text)) return null;
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

export const printMac = (bytes: Uint8Array): string => Array.from(bytes, (_, at) => hex(bytes, at, at + 1)).join(":");
