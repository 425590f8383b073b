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

/** What these detectors find, in order and without overlaps: where two meet, one finding covers both. */
export function findSensitive(text: Text, detectors: ReadonlySet<DetectorClass> = EVERY_DETECTOR): Finding[] {
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
