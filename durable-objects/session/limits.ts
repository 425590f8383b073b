/**
 * Times of a session that only the object itself keeps; the ones that peers must know are in protocol/limits.ts.
 * All in ms.
 */

/** An agent that dialled unasked waits this long for the runner before the old coupling is ended (see machine.ts). */
export const AGENT_ALONE_MS = 3_000;
/** A dispatch that reached the agent's control socket is not repeated for this long: the agent is on its way. */
export const REDISPATCH_AFTER_MS = 4_000;
/** A session that nobody joined by then is over. */
export const OPENING_MAX_MS = 30_000;
/**
 * After an end that the agent reported, it closes its sockets itself. By this time an instance without sockets has
 * left memory, and one that is still here has a runner that does not let go: it is cut.
 */
export const END_LINGER_MS = 5 * 60_000;
/** How long an ended session answers a redial with its end; afterwards only D1 knows it. */
export const ENDED_KEEP_MS = 24 * 3600 * 1000;
/** Retries of what D1 and IdentityDO must still hear. */
export const RETRY_FIRST_MS = 1_000;
export const RETRY_MAX_MS = 60_000;
/** A kill waits this long for SiteDO before it goes on without. */
export const TELL_AGENT_MS = 250;
