/**
 * inet, cidr, macaddr, macaddr8. Binary form of the first two (network_send): family, bits, whether it is a cidr, number
 * of bytes, the bytes.
 *
 * A hashed inet or cidr is an IPv6 address of fd00::/8 (RFC 4193, addresses of nobody's) with 120 bits of the HMAC, whatever family
 * it was of; a hashed MAC address is a permutation of all of them.
 */
import { unreachable } from "../../../../../protocol/result.ts";
import { generaliseNetwork, parseMac, parseNetwork, printMac, printNetwork, type Network } from "../../../../masking/address.ts";
import type { KeyedHash } from "../../../../masking/keyed-hash.ts";
import { createPermutation } from "../../../../masking/permutation.ts";
import { constant, each, NULL, type Family, type Format } from "./mask.ts";
import { decodeText } from "./text.ts";

/** PGSQL_AF_INET and PGSQL_AF_INET6 (utils/inet.h). */
const V4 = 2;
const V6 = 3;

function read(cell: Buffer, format: Format): Network | null {
  if (format === 0) {
    const text = cell.length <= 64 ? decodeText(cell) : null;
    return text === null ? null : parseNetwork(text);
  }
  const family = cell[0];
  const bytes = family === V4 ? 4 : family === V6 ? 16 : 0;
  const bits = cell[1] ?? 0;
  if (bytes === 0 || cell.length !== 4 + bytes || cell[3] !== bytes || bits > bytes * 8) return null;
  return { address: cell.subarray(4), bits };
}

function write(network: Network, format: Format, cidr: boolean): Buffer {
  if (format === 0) return Buffer.from(printNetwork(network, cidr), "latin1");
  const { address, bits } = network;
  return Buffer.concat([Buffer.of(address.length === 4 ? V4 : V6, bits, cidr ? 1 : 0, address.length), address]);
}

function hashed(hash: KeyedHash, { address, bits }: Network): Network {
  const out = Buffer.from(hash.digest("inet", Uint8Array.of(bits, ...address)).slice(0, 32), "hex");
  out[0] = 0xfd;
  return { address: out, bits: 128 };
}

const network =
  (cidr: boolean): Family =>
  ({ strategy, format, hash }) => {
    const through = (change: (value: Network) => Network) =>
      each((cell) => {
        const value = read(cell, format);
        return value === null ? null : write(change(value), format, cidr);
      });
    switch (strategy.kind) {
      case "redact":
      case "partial":
      case "null":
        return NULL;
      case "zero":
        return constant(write({ address: new Uint8Array(4), bits: 32 }, format, cidr));
      case "hash":
        return through((value) => hashed(hash, value));
      case "generalise":
        return strategy.to === "network" ? through(generaliseNetwork) : NULL;
      default:
        return unreachable(strategy);
    }
  };

export const inet = network(false);
export const cidr = network(true);

/** What names the maker of a device: the first three bytes. */
const OUI_BYTES = 3;

export const macaddr =
  (bytes: 6 | 8): Family =>
  ({ strategy, format, hash }) => {
    const readMac = (cell: Buffer): Uint8Array | null =>
      format === 0 ? parseMac(cell.toString("latin1"), bytes) : cell.length === bytes ? cell : null;
    const writeMac = (address: Uint8Array): Buffer => Buffer.from(format === 0 ? printMac(address) : address);
    const through = (change: (address: Uint8Array) => Uint8Array) =>
      each((cell) => {
        const address = readMac(cell);
        return address === null ? null : writeMac(change(address));
      });
    switch (strategy.kind) {
      case "redact":
      case "partial":
      case "null":
        return NULL;
      case "zero":
        return constant(writeMac(new Uint8Array(bytes)));
      case "hash": {
        const permute = createPermutation(hash, `permutation mac${bytes}`, 2n ** BigInt(bytes * 8));
        return through((address) => {
          const permuted = permute(BigInt(`0x${Buffer.from(address).toString("hex")}`));
          return Buffer.from(permuted.toString(16).padStart(bytes * 2, "0"), "hex");
        });
      }
      case "generalise":
        return strategy.to === "network" ? through((address) => address.map((byte, at) => (at < OUI_BYTES ? byte : 0))) : NULL;
      default:
        return unreachable(strategy);
    }
  };
