/**
 * Belt and braces for invariant 1: knows the credentials that were read and takes them out of any text that is
 * about to be logged or recorded. It finds a value as it is and in its JSON form; it does not find transformed ones
 * (base64, hashes) and leaves values shorter than MIN_LENGTH alone, since they would mangle ordinary text. That no
 * code puts a credential into such a text in the first place is the real rule.
 */
const MIN_LENGTH = 8;
/** Values kept for one reference: a rotated one may still be in use by open connections. */
const KEPT = 4;

export const REDACTED = "[redacted credential]";

export class Redactor {
  readonly #byReference = new Map<string, string[]>();
  #needles: readonly string[] = [];

  add(reference: string, value: string): void {
    if (value.length < MIN_LENGTH) return;
    const values = this.#byReference.get(reference) ?? [];
    if (values.includes(value)) return;
    this.#byReference.set(reference, [value, ...values].slice(0, KEPT));
    const all = new Set<string>();
    for (const known of this.#byReference.values()) {
      for (const text of known) {
        all.add(text);
        all.add(JSON.stringify(text).slice(1, -1));
      }
    }
    // Longest first, so that a value that contains another goes as a whole.
    this.#needles = [...all].sort((a, b) => b.length - a.length);
  }

  redact(text: string): string {
    let clean = text;
    for (const needle of this.#needles) if (clean.includes(needle)) clean = clean.replaceAll(needle, REDACTED);
    return clean;
  }
}
