/**
 * Detectors of credentials and addresses: private keys, JWTs, tokens with a known prefix, passwords in URLs, and e-mail
 * addresses. Each starts from a mark that it searches for and looks at a bounded window, or passes over what it has
 * read, so the work is linear in the text.
 */
import { endOfRun, isAlphanumeric, isBase64Url, isWord, startsAt, type Span, type Text } from "./text.ts";

const AT = 0x40;
const DOT = 0x2e;
const COLON = 0x3a;
const HYPHEN = 0x2d;

/** RFC 7468 blocks whose label ends in PRIVATE KEY; one that is cut off goes to the end of the text. */
export function privateKeys(text: Text): Span[] {
  const spans: Span[] = [];
  const begin = "-----BEGIN ";
  for (let start = text.indexOf(begin); start >= 0;) {
    const label = text.slice(start + begin.length, start + begin.length + 48);
    if (!/^[A-Z0-9 ]{0,32}PRIVATE KEY/.test(label)) {
      start = text.indexOf(begin, start + begin.length);
      continue;
    }
    const footer = text.indexOf("-----END ", start);
    const close = footer < 0 ? -1 : text.indexOf("-----", footer + 9);
    // The footer's own dashes are near, or this is no footer.
    const end = close < 0 || close - footer > 64 ? text.length : close + 5;
    spans.push({ start, end });
    start = text.indexOf(begin, end);
  }
  return spans;
}

/** RFC 7519 in the compact form of RFC 7515 or 7516: a header that is base64url of `{"`, and two to four more parts. */
export function jsonWebTokens(text: Text): Span[] {
  const spans: Span[] = [];
  for (let start = text.indexOf("eyJ"); start >= 0;) {
    let end = endOfRun(text, start, isBase64Url);
    let parts = 1;
    while (parts < 5 && text.charCodeAt(end) === DOT) {
      const next = endOfRun(text, end + 1, isBase64Url);
      if (next === end + 1 && parts === 1) break;
      end = next;
      parts++;
    }
    // A header and a payload are enough: the signature may have been cut off.
    if (parts >= 2 && end - start >= 24) spans.push({ start, end });
    start = text.indexOf("eyJ", end);
  }
  return spans;
}

/** Prefixes that their issuers document, and the least number of characters that follow. */
const TOKENS: readonly { readonly prefix: string; readonly min: number }[] = [
  // AWS access key ids; secret access keys have no mark of their own.
  ...["AKIA", "ASIA", "ABIA", "ACCA"].map((prefix) => ({ prefix, min: 16 })),
  ...["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].map((prefix) => ({ prefix, min: 30 })),
  { prefix: "github_pat_", min: 40 },
  ...["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "gloas-"].map((prefix) => ({ prefix, min: 16 })),
  ...["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xapp-", "xwfp-"].map((prefix) => ({ prefix, min: 10 })),
  ...["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"].map((prefix) => ({ prefix, min: 16 })),
  ...["sk-ant-", "sk-proj-", "sk-svcacct-"].map((prefix) => ({ prefix, min: 16 })),
  { prefix: "AIza", min: 30 },
  { prefix: "ya29.", min: 20 },
  { prefix: "GOCSPX-", min: 20 },
  { prefix: "npm_", min: 30 },
  { prefix: "pypi-", min: 30 },
  { prefix: "dckr_pat_", min: 20 },
  { prefix: "dop_v1_", min: 40 },
  { prefix: "hf_", min: 30 },
  { prefix: "hvs.", min: 20 },
  { prefix: "SG.", min: 30 },
  { prefix: "shpat_", min: 30 },
  { prefix: "bkua_", min: 30 },
  { prefix: "CCIPAT_", min: 20 },
  { prefix: "SCRAM-SHA-256$", min: 20 },
];

const isTokenCharacter = (code: number): boolean => isBase64Url(code) || code === DOT;
const isVerifierCharacter = (code: number): boolean =>
  isAlphanumeric(code) || code === 0x24 || code === COLON || code === 0x2b || code === 0x2f || code === 0x3d;

const FIRST = new Set(TOKENS.map(({ prefix }) => prefix.charCodeAt(0)));

export function prefixedTokens(text: Text): Span[] {
  const spans: Span[] = [];
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (!isWord(code)) {
      at++;
      continue;
    }
    const end = FIRST.has(code) ? tokenFrom(text, at) : -1;
    if (end > 0) spans.push({ start: at, end });
    // A token may stand after a word and a hyphen or dot: words end there.
    at = end > 0 ? end : endOfRun(text, at, isWord);
  }
  return spans;
}

function tokenFrom(text: Text, start: number): number {
  const token = TOKENS.find(({ prefix }) => startsAt(text, start, prefix));
  if (token === undefined) return -1;
  const from = start + token.prefix.length;
  const end = endOfRun(text, from, token.prefix.startsWith("SCRAM") ? isVerifierCharacter : isTokenCharacter, 1024);
  return end - from >= token.min ? end : -1;
}

const MAX_USERINFO = 512;

/** `scheme://user:password@host` (RFC 3986 section 3.2.1): the user and the password; the rest of the URL may stay. */
export function urlPasswords(text: Text): Span[] {
  const spans: Span[] = [];
  for (let mark = text.indexOf("://"); mark >= 0; mark = text.indexOf("://", mark + 3)) {
    const start = mark + 3;
    const stop = Math.min(text.length, start + MAX_USERINFO);
    let colon = false;
    let end = -1;
    for (let at = start; at < stop; at++) {
      const code = text.charCodeAt(at);
      if (code === AT) end = at;
      else if (code === COLON && end < 0) colon = true;
      // White space, quotes, angle brackets, `/`, `?`, `#`, `\`, `(`, `)`: the authority has ended.
      else if (code <= 0x20 || "\"'<>/?#\\()`".includes(text.slice(at, at + 1))) break;
    }
    if (colon && end > start) spans.push({ start, end });
  }
  return spans;
}

const MAX_LOCAL = 64;
const MAX_DOMAIN = 253;
/** RFC 5322 section 3.2.3's atext, and letters beyond ASCII (RFC 6531). */
const isLocalCharacter = (code: number): boolean => isWord(code) || ".!#$%&*+-/=?^{|}~".includes(String.fromCharCode(code));
const isDomainCharacter = (code: number): boolean => isWord(code) || code === HYPHEN || code === DOT;

/** The end of the longest domain name here, with a top-level domain that is no number; -1 for none. */
function endOfDomain(text: Text, from: number): number {
  const run = text.slice(from, endOfRun(text, from, isDomainCharacter, MAX_DOMAIN));
  const gap = run.indexOf("..");
  const labels = (gap < 0 ? run : run.slice(0, gap)).split(".");
  for (; labels.length > 1; labels.pop()) {
    const top = (labels.at(-1) ?? "").replace(/-+$/, "");
    if (top.length < 2 || /^\d+$/.test(top)) continue;
    const before = labels.slice(0, -1).join(".");
    return before === "" ? -1 : from + before.length + 1 + top.length;
  }
  return -1;
}

export function emailAddresses(text: Text): Span[] {
  const spans: Span[] = [];
  let before = 0;
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    let start = at;
    const floor = Math.max(before, at - MAX_LOCAL);
    while (start > floor && isLocalCharacter(text.charCodeAt(start - 1))) start--;
    const end = endOfDomain(text, at + 1);
    if (start === at || end < 0) continue;
    spans.push({ start, end });
    before = end;
  }
  return spans;
}
