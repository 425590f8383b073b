/**
 * Recordings in R2: `recordings/<session>/<segment, 8 digits>.ndjson`, each object written once and never
 * overwritten (retention deletes it whole); segments are numbered from 0. This is the source of truth; D1 only indexes it. No authorisation here.
 */

const prefix = (session: string): string => `recordings/${session}/`;
const key = (session: string, n: number): string => `${prefix(session)}${String(n).padStart(8, "0")}.ndjson`;

/**
 * `stored`: written by this call. `present`: the same bytes were there. `different`: other bytes were there, and stay.
 * `sha256` is of `bytes`; R2 checks it on the way in.
 */
export async function putSegment(
  bucket: R2Bucket,
  session: string,
  n: number,
  bytes: Uint8Array,
  sha256: ArrayBuffer,
): Promise<"stored" | "present" | "different"> {
  const written = await bucket.put(key(session, n), bytes, {
    onlyIf: new Headers({ "If-None-Match": "*" }),
    httpMetadata: { contentType: "application/x-ndjson" },
    sha256,
  });
  if (written !== null) return "stored";
  const there = await bucket.head(key(session, n));
  const known = there?.checksums.sha256;
  return known !== undefined && equalBytes(new Uint8Array(known), new Uint8Array(sha256)) ? "present" : "different";
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** Keys of a session's segments in order. */
async function* segmentKeys(bucket: R2Bucket, session: string): AsyncGenerator<string> {
  let cursor: string | undefined;
  do {
    const listed = await bucket.list({ prefix: prefix(session), ...(cursor === undefined ? {} : { cursor }) });
    for (const object of listed.objects) yield object.key;
    cursor = listed.truncated ? listed.cursor : undefined;
  } while (cursor !== undefined);
}

/** For retention alone. Throws when R2 does not let an object go. */
export async function deleteRecording(bucket: R2Bucket, session: string): Promise<void> {
  const keys: string[] = [];
  for await (const name of segmentKeys(bucket, session)) keys.push(name);
  // R2 takes at most 1,000 keys in one call.
  for (let from = 0; from < keys.length; from += 1000) await bucket.delete(keys.slice(from, from + 1000));
}

/**
 * The recording as stored so far, segments concatenated in order, one in memory at a time. A segment that has not
 * arrived is missing from it: the chain shows that, and `verify` says so.
 */
export function readRecording(bucket: R2Bucket, session: string): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream();
  const pump = async (): Promise<void> => {
    for await (const name of segmentKeys(bucket, session)) {
      const object = await bucket.get(name);
      if (object === null) throw new Error(`segment ${name} is listed and cannot be read`);
      await object.body.pipeTo(writable, { preventClose: true, preventAbort: true });
    }
    await writable.close();
  };
  // The reader sees the failure as a broken body; there is nobody else to tell.
  pump().catch((error: unknown) => writable.abort(error).catch(() => undefined));
  return readable;
}
