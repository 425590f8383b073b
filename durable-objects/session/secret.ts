/**
 * The two secrets of a session: the resume secret (runner) and the dial secret (agent). The object keeps only
 * their SHA-256: 256 random bits need no salt and no slow hash. Comparison takes the same time for any input.
 */

const encoder = new TextEncoder();

/** SHA-256, lower-case hex. */
export async function hashSecret(secret: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(secret)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether two hashes of `hashSecret` are the same; `null` (no secret was made yet) matches nothing. */
export function sameHash(presented: string, kept: string | null | undefined): boolean {
  if (kept === null || kept === undefined) return false;
  const a = encoder.encode(presented);
  const b = encoder.encode(kept);
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}
