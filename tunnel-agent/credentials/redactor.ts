/**
 * Belt and braces for invariant 1: knows the credentials that were read and takes them out of every log line and every
 * recorded event, both JSON. It does not find transformed ones (base64, hashes), and leaves values shorter than
 * MIN_LENGTH alone: a password such as `postgres` would mangle ordinary text. That no code puts a credential into such
 * a text in the first place is the real rule.
 */
const MIN_LENGTH = 12;
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
      // As it stands inside a JSON string; the bare form could match JSON's own quotes and commas.
      for (const text of known) all.add(JSON.stringify(text).slice(1, -1));
    }
    // Longest first, so that a value that contains another goes as a whole.
    this.#needles = [...all].sort((a, b) => b.length - a.length);
  }

  /** `json`: a JSON text. It stays one. */
  redact(json: string): string {
    let clean = json;
    for (const needle of this.#needles) if (clean.includes(needle)) clean = clean.replaceAll(needle, REDACTED);
    return clean;
  }
}
