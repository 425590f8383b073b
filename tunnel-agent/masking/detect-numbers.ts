/**
 * Detectors of numbers that identify people and accounts: payment cards (ISO/IEC 7812 with the Luhn check), IBANs
 * (ISO 13616 with mod 97) and US social security numbers. Each looks at a bounded window from each place where one
 * can begin, so the work is linear in the text.
 */
import { endOfRun, isAlphanumeric, isDigit, isLower, isUpper, isWord, type Span, type Text } from "./text.ts";

const SPACE = 0x20;
const HYPHEN = 0x2d;
const MAX_CARD_DIGITS = 19;

/** Issuer prefixes and the lengths of their numbers. */
const ISSUERS: readonly { readonly prefix: RegExp; readonly lengths: readonly number[] }[] = [
  { prefix: /^4/, lengths: [13, 16, 19] },
  { prefix: /^(5[1-5]|2(22[1-9]|2[3-9]|[3-6]|7[01]|720))/, lengths: [16] },
  { prefix: /^3[47]/, lengths: [15] },
  { prefix: /^3(0[0-5]|[689])/, lengths: [14, 16] },
  { prefix: /^35/, lengths: [16] },
  { prefix: /^(6011|64[4-9]|65|62|60|81|82)/, lengths: [16, 17, 18, 19] },
  { prefix: /^(5[06-9]|6[37])/, lengths: [13, 15, 16, 17, 18, 19] },
];

/** Groups of digits with single spaces or hyphens between them, of which neighbours together make a card number. */
export function cards(text: Text): Span[] {
  const spans: Span[] = [];
  let at = 0;
  while (at < text.length) {
    if (!isDigit(text.charCodeAt(at))) {
      at++;
      continue;
    }
    const end = endOfRun(text, at, isDigit);
    const bounded = at === 0 || !isWord(text.charCodeAt(at - 1));
    const found = bounded && end - at <= MAX_CARD_DIGITS ? cardFrom(text, at) : -1;
    if (found > 0) spans.push({ start: at, end: found });
    at = found > 0 ? found : end;
  }
  return spans;
}

/** The end of the longest card number that starts with the group here; -1 for none. */
function cardFrom(text: Text, start: number): number {
  let digits = "";
  let at = start;
  let found = -1;
  for (;;) {
    const end = endOfRun(text, at, isDigit, MAX_CARD_DIGITS + 1);
    digits += text.slice(at, end);
    if (digits.length > MAX_CARD_DIGITS) return found;
    const next = text.charCodeAt(end);
    if (!isWord(next) && isCard(digits)) found = end;
    if ((next !== SPACE && next !== HYPHEN) || !isDigit(text.charCodeAt(end + 1))) return found;
    at = end + 1;
  }
}

const isCard = (digits: string): boolean =>
  ISSUERS.some(({ prefix, lengths }) => lengths.includes(digits.length) && prefix.test(digits)) && passesLuhn(digits);

/** ISO/IEC 7812-1 annex B. */
export function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 0x30;
    const weighted = i % 2 === 0 ? digit : digit * 2;
    sum += weighted > 9 ? weighted - 9 : weighted;
  }
  return sum % 10 === 0;
}

/** Lengths by country, from the IBAN registry (ISO 13616). */
const IBAN_LENGTHS: ReadonlyMap<string, number> = new Map(
  `AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27
  GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22
  MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28
  TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30`
    .split(/\s+/)
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))] as [string, number]),
);

/** Written together, or in groups with single spaces or hyphens; lower case too. */
export function ibans(text: Text): Span[] {
  const spans: Span[] = [];
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (!isWord(code)) {
      at++;
      continue;
    }
    // Only the beginning of a word can begin one.
    const end = isUpper(code) || isLower(code) ? ibanFrom(text, at) : -1;
    if (end > 0) spans.push({ start: at, end });
    at = end > 0 ? end : endOfRun(text, at, isWord);
  }
  return spans;
}

function ibanFrom(text: Text, start: number): number {
  const length = IBAN_LENGTHS.get(text.slice(start, start + 2).toUpperCase());
  if (length === undefined || !isDigit(text.charCodeAt(start + 2)) || !isDigit(text.charCodeAt(start + 3))) return -1;
  let iban = "";
  let at = start;
  while (iban.length < length) {
    const code = text.charCodeAt(at);
    if (isAlphanumeric(code)) iban += text.slice(at, at + 1).toUpperCase();
    else if ((code !== SPACE && code !== HYPHEN) || !isAlphanumeric(text.charCodeAt(at + 1))) return -1;
    at++;
  }
  return !isWord(text.charCodeAt(at)) && passesMod97(iban) ? at : -1;
}

/** ISO/IEC 7064 mod 97-10: the number with its first four characters at the end, letters as 10 to 35. */
export function passesMod97(iban: string): boolean {
  let rest = 0;
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36);
    rest = (value > 9 ? rest * 100 + value : rest * 10 + value) % 97;
  }
  return rest === 1;
}

/** AAA-GG-SSSS, without the areas, groups and serials that are never issued. */
export function socialSecurityNumbers(text: Text): Span[] {
  const spans: Span[] = [];
  for (let hyphen = text.indexOf("-", 3); hyphen >= 0; hyphen = text.indexOf("-", hyphen + 1)) {
    const start = hyphen - 3;
    const end = hyphen + 8;
    if (end > text.length || isWord(text.charCodeAt(start - 1)) || isWord(text.charCodeAt(end))) continue;
    if (text.charCodeAt(start - 1) === HYPHEN || text.charCodeAt(end) === HYPHEN) continue;
    const written = text.slice(start, end);
    if (/^(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}$/.test(written)) spans.push({ start, end });
  }
  return spans;
}
