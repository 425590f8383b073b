/**
 * Request bodies and queries: size checked before anything is kept, content type exact, schema strict. What is
 * wrong is told to the sender by field name, without repeating values.
 */
import * as z from "zod";
import { err, ok, type Result } from "../protocol/result.ts";
import { DEFAULT_PAGE, MAX_PAGE, parseCursor, type PageRequest } from "../store/page.ts";
import type { GatewayContext } from "./env.ts";
import { refuse } from "./refusal.ts";

/** For every JSON body but a bundle's. */
export const MAX_JSON_BYTES = 64 * 1024;

/** The body's bytes; null when there are more than `limit`. Stops reading there. */
export async function readAtMost(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer> | null> {
  const declared = Number(request.headers.get("content-length") ?? "0");
  if (declared > limit) return null;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    // Leaving the loop cancels the stream.
    if (size > limit) return null;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Bytes of a body of exactly this media type; parameters other than UTF-8 are refused. */
export async function readBody(c: GatewayContext, type: string, limit: number): Promise<Result<Uint8Array<ArrayBuffer>, Response>> {
  const given = (c.req.header("content-type") ?? "").toLowerCase().replaceAll(" ", "");
  if (given !== type && given !== `${type};charset=utf-8`) {
    const detail = `Send content-type: ${type}.`;
    return err(await refuse(c, "bad_request", { reason: `content type ${given === "" ? "missing" : given}` }, { detail }));
  }
  const bytes = await readAtMost(c.req.raw, limit);
  if (bytes !== null) return ok(bytes);
  return err(await refuse(c, "too_large", { reason: `body over ${limit} bytes` }, { detail: `The limit is ${limit} bytes.` }));
}

/** A JSON body of this shape. `optional`: no body at all stands for `{}`. */
export async function readJson<T>(
  c: GatewayContext,
  schema: z.ZodType<T>,
  { limit = MAX_JSON_BYTES, optional = false }: { readonly limit?: number; readonly optional?: boolean } = {},
): Promise<Result<T, Response>> {
  const empty = optional && c.req.raw.body === null;
  const body = empty ? ok(new TextEncoder().encode("{}")) : await readBody(c, "application/json", limit);
  if (!body.ok) return body;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body.value));
  } catch {
    return err(await badRequest(c, "The body is not JSON in UTF-8."));
  }
  const parsed = schema.safeParse(json);
  return parsed.success ? ok(parsed.data) : err(await badRequest(c, `The body does not fit: ${describe(parsed.error)}.`));
}

/** Field by field, without the values that were sent. */
function describe(error: z.ZodError): string {
  const fields = error.issues.slice(0, 5).map((issue) => `${issue.path.length === 0 ? "it" : issue.path.join(".")}: ${issue.message}`);
  // A field's name is the sender's too: it may be any length.
  return fields.join("; ").slice(0, 512);
}

/** `detail` is about what the sender sent, so both it and the audit may have it. */
export const badRequest = (c: GatewayContext, detail: string): Promise<Response> =>
  refuse(c, "bad_request", { reason: detail }, { detail });

const count = z.coerce.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE);

/** ms since the epoch, or ISO 8601 (a date alone is its midnight in UTC). */
export const Time = z.string().transform((text, context): number => {
  const at = /^\d{1,15}$/.test(text) ? Number(text) : /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) context.addIssue({ code: "custom", message: "write ms since the epoch, or ISO 8601" });
  return at;
});

/** A filter's value. */
export const Filter = z.string().min(1).max(2048);

/** The query's filters and its page. An unknown or repeated parameter is refused: a misspelt filter must not list everything. */
export async function readQuery<Shape extends z.ZodRawShape>(
  c: GatewayContext,
  filters: z.ZodObject<Shape>,
): Promise<Result<{ filters: z.infer<z.ZodObject<Shape>>; page: PageRequest }, Response>> {
  const given: Record<string, string> = {};
  for (const [name, values] of Object.entries(c.req.queries())) {
    if (values.length > 1) return err(await badRequest(c, `The query repeats ${JSON.stringify(name.slice(0, 64))}.`));
    given[name] = values[0] ?? "";
  }
  const { limit, cursor, ...rest } = given;
  const page = count.safeParse(limit);
  if (!page.success) return err(await badRequest(c, `limit is a number from 1 to ${MAX_PAGE}.`));
  const from = cursor === undefined ? ok(null) : parseCursor(cursor);
  if (!from.ok) return err(await badRequest(c, "cursor is not one that this list gave."));
  const parsed = filters.strict().safeParse(rest);
  if (!parsed.success) return err(await badRequest(c, `The query does not fit: ${describe(parsed.error)}.`));
  return ok({ filters: parsed.data, page: { limit: page.data, cursor: from.value } });
}
