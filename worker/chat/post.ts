/** One POST to a chat channel, bounded in time. Redirects are not followed: they could lead a token elsewhere. */
import { CHAT_TIMEOUT_MS } from "../../protocol/limits.ts";

export interface Posted {
  readonly status: number;
  readonly ok: boolean;
  /** ms that the channel asks to be left alone (RFC 9110 section 10.2.3, in seconds); undefined: it does not say. */
  readonly after: number | undefined;
  /** The first characters of the body; of no interest beyond them. */
  readonly text: string;
}

const MAX_ANSWER = 64 * 1024;

/** null: no answer in time, or none at all. */
export async function post(url: string, headers: Readonly<Record<string, string>>, body: string): Promise<Posted | null> {
  const controller = new AbortController();
  // Cleared with the attempt: a timer left behind would keep the approval's object awake.
  const timer = setTimeout(() => controller.abort(), CHAT_TIMEOUT_MS);
  try {
    const response = await fetch(url, { method: "POST", headers, body, redirect: "manual", signal: controller.signal });
    const wait = Number(response.headers.get("retry-after") ?? "0");
    return {
      status: response.status,
      ok: response.ok,
      after: Number.isFinite(wait) && wait > 0 ? wait * 1000 : undefined,
      text: await readStart(response),
    };
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

async function readStart(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    // Leaving the loop cancels the stream.
    if (text.length > MAX_ANSWER) break;
  }
  return text;
}
