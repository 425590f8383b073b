/**
 * Detectors: what they find and what they leave, and that their work grows with the text's length only (GW-25).
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DETECTOR_CLASSES, findSensitive, maskText } from "../../../tunnel-agent/masking/detectors.ts";
import { passesLuhn, passesMod97 } from "../../../tunnel-agent/masking/detect-numbers.ts";
import type { Text } from "../../../tunnel-agent/masking/text.ts";

/** Put together here, so that no scanner of repositories takes them for leaks. */
const together = (...parts: readonly string[]): string => parts.join("");
const TOKEN = {
  aws: together("AKIA", "IOSFODNN7EXAMPLE"),
  github: together("ghp_", "0123456789abcdefghijklmnopqrstuvwxyz"),
  githubPat: together("github_pat_", "11ABCDEFG0abcdefghijkl_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0"),
  gitlab: together("glpat-", "abcdefghij0123456789"),
  slack: together("xoxb-", "123456789012-abcdefghijkl"),
  stripe: together("sk_live_", "abcdefghijklmnop01234567"),
  google: together("AIza", "SyA0123456789abcdefghijklmnopqrstuv"),
  npm: together("npm_", "abcdefghijklmnopqrstuvwxyz0123456789"),
  scram: together("SCRAM-SHA-256$", "4096:c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy"),
};
const JWT = ["eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJqb2IifQ", "c2lnbmF0dXJl"].join(".");
const PRIVATE = together("PRIVATE", " KEY-----");
const KEY = `-----BEGIN RSA ${PRIVATE}\nMIIE\n-----END RSA ${PRIVATE}`;

describe("found", () => {
  it.each([
    ["mail anna.b+tag@mail.example.co.uk, now", "mail [email], now"],
    ["<o'brien@example.org>", "<o'[email]>"],
    ["jörg@müller.de;x@y.zz", "[email];[email]"],
    ["anna@example.org.0 anna@example.org..x anna@example.org-", "[email].0 [email]..x [email]-"],
    ["4111111111111111", "[card]"],
    ["'4111 1111 1111 1111','5500-0000-0000-0004'", "'[card]','[card]'"],
    ["4111111111111111 5500000000000004", "[card] [card]"],
    ["378282246310005 6011000990139424 3530111333300000 30569309025904", "[card] [card] [card] [card]"],
    ["DE89370400440532013000", "[iban]"],
    ["to GB82 WEST 1234 5698 7654 32.", "to [iban]."],
    ["nl91abna0417164300", "[iban]"],
    ["ssn=078-05-1120", "ssn=[ssn]"],
    [`Bearer ${JWT} rest`, "Bearer [jwt] rest"],
    [`'${JWT.slice(0, JWT.lastIndexOf("."))}'`, "'[jwt]'"],
    ...Object.values(TOKEN).map((token) => [`token="${token}";`, 'token="[token]";']),
    ["postgres://app:s3cr%40t@db:5432/shop?x", "postgres://[url-password]@db:5432/shop?x"],
    ["https://u:p@ss@h/", "https://[url-password]@h/"],
    [`a ${KEY} b`, "a [private-key] b"],
    [`-----BEGIN ${PRIVATE}\nMIIEcut`, "[private-key]"],
    [`DE893704004405320130004111111111111111${JWT}`, "DE893704004405320130004111111111111111[jwt]"],
    [`DE89370400440532013000${JWT}`, "[iban][jwt]"],
    [`078-05-1120${KEY}`, "[ssn][private-key]"],
    ["redis://:secret@h.example.com/0", "redis://[url-password]/0"],
  ])("%s", (text, masked) => {
    expect(maskText(text)).toBe(masked);
  });
});

describe("left alone", () => {
  it.each([
    "SELECT id, total FROM orders WHERE id = 1234567890123456 AND at > '2026-11-01T10:00:00Z'",
    "4111111111111112",
    "x4111111111111111",
    "41111111111111111111111",
    "DE89370400440532013001",
    "DEAD370400440532013000",
    "000-12-3456 666-12-3456 900-12-3456 123-00-4567 1-078-05-1120",
    "user@localhost @mention a@b 1@2.3 x@y..de",
    "eyJ is a prefix",
    "postgres://db:5432/shop?options=a@b",
    "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
    "AKIA short, ghp_short",
    "550e8400-e29b-41d4-a716-446655440000",
    "",
  ])("%s", (text) => {
    expect(maskText(text)).toBe(text);
  });
});

describe("check digits", () => {
  it("accept the standards' own examples and no neighbour", () => {
    expect(passesLuhn("4111111111111111")).toBe(true);
    expect(passesLuhn("4111111111111121")).toBe(false);
    expect(passesMod97("GB82WEST12345698765432")).toBe(true);
    expect(passesMod97("GB28WEST12345698765432")).toBe(false);
  });
});

const sensitive = fc.constantFrom(
  "anna@example.org",
  "4111 1111 1111 1111",
  "DE89370400440532013000",
  "078-05-1120",
  JWT,
  KEY,
  "db://u:pass@h/",
  ...Object.values(TOKEN),
);
const plain = fc.string({ maxLength: 12 });

describe("any text", () => {
  it("is masked once: a second time changes nothing", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(sensitive, plain), { maxLength: 8 }), (parts) => {
        const once = maskText(parts.join(""));
        expect(maskText(once)).toBe(once);
      }),
    );
  });

  it("keeps everything outside its findings, and findings never overlap", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(sensitive, plain), { maxLength: 8 }), (parts) => {
        const text = parts.join(" ");
        let before = 0;
        let rebuilt = "";
        for (const { start, end, class: name } of findSensitive(text)) {
          expect(start).toBeGreaterThanOrEqual(before);
          expect(end).toBeGreaterThan(start);
          expect(DETECTOR_CLASSES).toContain(name);
          rebuilt += `${text.slice(before, start)}[${name}]`;
          before = end;
        }
        expect(maskText(text)).toBe(rebuilt + text.slice(before));
      }),
    );
  });

  it("leaves nothing of what stands between spaces", () => {
    fc.assert(
      fc.property(sensitive, plain, plain, (value, left, right) => {
        expect(maskText(`${left} ${value} ${right}`)).not.toContain(value);
      }),
    );
  });
});

/** Counts the characters that are looked at; a search counts as the characters it passes over. */
class CountedText implements Text {
  steps = 0;
  readonly length: number;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    this.length = text.length;
  }

  charCodeAt(at: number): number {
    this.steps++;
    return this.#text.charCodeAt(at);
  }

  indexOf(search: string, from = 0): number {
    const found = this.#text.indexOf(search, from);
    this.steps += (found < 0 ? this.length : found) - from + 1;
    return found;
  }

  slice(start: number, end: number): string {
    this.steps += Math.max(0, Math.min(end, this.length) - start);
    return this.#text.slice(start, end);
  }
}

describe("work", () => {
  const hostile = [
    "a",
    "@",
    "a@",
    "a@a.",
    "a@b.cd",
    "1",
    "1 ",
    "4-",
    "4111 1111 1111 1111 ",
    "-",
    "078-05-112",
    "DE89",
    "DE89 3704 ",
    "eyJ",
    "eyJ.",
    "eyJa.b.",
    "://",
    "a://b:c",
    "://a:b@",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY----- -----END ",
    "ghp_",
    "AKIA",
    "github_pat_a",
    "é",
    "[email]",
    "\0",
  ];

  it.each(hostile)("is linear in repetitions of %j", (unit) => {
    const steps = (length: number): number => {
      const text = new CountedText(unit.repeat(Math.ceil(length / unit.length)).slice(0, length));
      findSensitive(text);
      return text.steps;
    };
    const small = steps(16 * 1024);
    const large = steps(256 * 1024);
    // 16 times the text: 16 times the work, and some for the ends. Quadratic work would be 256 times.
    expect(large).toBeLessThan(small * 18);
    expect(large).toBeLessThan(256 * 1024 * 400);
  });
});
