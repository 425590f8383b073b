/** Times that only the site's object keeps; the ones that peers must know are in protocol/limits.ts. All in ms. */

/** A redial waits this long for its agent, whose control socket was lost too, to say hello. Less than DIAL_BACK_MS. */
export const REDIAL_WAIT_MS = 5_000;
/** A new session waits this long for an agent that was cut off a moment ago (a deploy, a network's hiccup) or is just connecting. */
export const RETURN_WAIT_MS = 5_000;
/** A session that a hello does not list is ended after this: the agent's own word on it may follow the hello. */
export const UNLISTED_GRACE_MS = 5_000;
/** An agent that has connected must say hello within this. */
export const HELLO_MS = 10_000;
/** Retries of claims in D1 and of ends that a SessionDO did not take. */
export const RETRY_FIRST_MS = 1_000;
export const RETRY_MAX_MS = 60_000;

export const retryAfter = (attempts: number): number => Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempts, 10));
