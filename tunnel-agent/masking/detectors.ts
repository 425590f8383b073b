/**
 * Masks what looks sensitive in text that will be stored: e-mail addresses, payment cards, IBANs, social security
 * numbers, tokens, private keys and passwords in URLs.
 *
 * Guarantees: linear time on any text; what is replaced leaves nothing of itself but its class; masking twice changes
 * nothing. No patterns of users (GW-25).
 * Does not: protect anything by itself. Detectors add masking and never justify an allow (PG-33): a value that is
 * split, encoded or spelled out is not found.
 */
import { DETECTOR_CLASSES, type DetectorClass } from "../../policy/detectors.ts";
import { cards, ibans, socialSecurityNumbers } from "./detect-numbers.ts";
import { emailAddresses, jsonWebTokens, prefixedTokens, privateKeys, urlPasswords } from "./detect-secrets.ts";
import type { Span, Text } from "./text.ts";

export { DETECTOR_CLASSES };

const DETECTORS: Readonly<Record<DetectorClass, (text: Text) => Span[]>> = {
  "private-key": privateKeys,
  jwt: jsonWebTokens,
  token: prefixedTokens,
  "url-password": urlPasswords,
  email: emailAddresses,
  card: cards,
  iban: ibans,
  ssn: socialSecurityNumbers,
};

const EVERY_DETECTOR: ReadonlySet<DetectorClass> = new Set(DETECTOR_CLASSES);

export interface Finding extends Span {
  readonly class: DetectorClass;
}

/** How often what lies between findings is looked through again, where each time finds more. */
const MAX_PASSES = 8;

/** Of the whole text, in order and without overlaps: where two meet, one finding covers both. */
function findOnce(text: Text, detectors: ReadonlySet<DetectorClass>): Finding[] {
  const all = DETECTOR_CLASSES.filter((name) => detectors.has(name)).flatMap((name) =>
    DETECTORS[name](text).map((span): Finding => ({ ...span, class: name })),
  );
  // Stable: of two that begin together the preferred class comes first.
  all.sort((a, b) => a.start - b.start);
  const merged: Finding[] = [];
  for (const finding of all) {
    const last = merged.at(-1);
    if (last === undefined || finding.start >= last.end) merged.push(finding);
    else if (finding.end > last.end) merged[merged.length - 1] = { ...last, end: finding.end };
  }
  return merged;
}

/**
 * What these detectors find, in order and without overlaps. What lies between findings is looked through again on its
 * own: a number that runs on into a token begins and ends nowhere until the token is gone.
 */
export function findSensitive(text: Text, detectors: ReadonlySet<DetectorClass> = EVERY_DETECTOR, passes = MAX_PASSES): Finding[] {
  const found = findOnce(text, detectors);
  if (found.length === 0 || passes <= 1) return found;
  const out: Finding[] = [];
  let before = 0;
  const between = (end: number): void => {
    const from = before;
    if (end <= from) return;
    for (const finding of findSensitive(text.slice(from, end), detectors, passes - 1)) {
      out.push({ ...finding, start: finding.start + from, end: finding.end + from });
    }
  };
  for (const finding of found) {
    between(finding.start);
    out.push(finding);
    before = finding.end;
  }
  between(text.length);
  return out;
}

/** Each finding as `[class]`; the rest as it was. */
export function maskText(text: string): string {
  const findings = findSensitive(text);
  if (findings.length === 0) return text;
  let out = "";
  let before = 0;
  for (const finding of findings) {
    out += `${text.slice(before, finding.start)}[${finding.class}]`;
    before = finding.end;
  }
  return out + text.slice(before);
}
