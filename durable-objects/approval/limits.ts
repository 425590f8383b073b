/** Times that only an approval's object keeps; the ones that peers must know are in protocol/limits.ts. All in ms. */
import { CHAT_TIMEOUT_MS } from "../../protocol/limits.ts";

/** An attempt to pay what is owed or to tell a channel counts as lost after this: longer than any attempt lasts. */
export const LEASE_MS = CHAT_TIMEOUT_MS + 10_000;
const FIRST_MS = 1_000;
const LAST_MS = 5 * 60_000;

/** 1 s, 2 s, 4 s, … 5 min. */
export const retryAfter = (attempts: number): number => Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(Math.max(0, attempts - 1), 20));
