/**
 * Every limit that one peer imposes on another, named, with its unit. A size is checked before anything is
 * allocated for it. docs/limits.md repeats this table for operators.
 */

// ── the stream between connector and agent ──
/** Payload bytes in one DATA frame: exactly what Node reads from a socket at once, so that one read is one frame. */
export const MAX_FRAME_PAYLOAD = 64 * 1024;
/** Bytes of one text control message on a session socket. */
export const MAX_SESSION_CONTROL = 64 * 1024;
/** Credit of one direction of one stream, bytes: what a sender may have unconsumed, and so must keep for a resume. */
export const STREAM_WINDOW = 1024 * 1024;
/** Streams open at once in one session. */
export const MAX_STREAMS = 256;
/** How long both ends keep a session whose socket was lost, ms. */
export const RESUME_WINDOW_MS = 60_000;
/** Silence after which an end-to-end ping is sent, and after which the socket counts as lost, ms. */
export const PING_AFTER_MS = 15_000;
export const LOST_AFTER_MS = 35_000;

// ── control socket between agent and SiteDO ──
/** Bytes of one control message; a bundle travels in one. */
export const MAX_AGENT_CONTROL = 1024 * 1024;
/** How long an agent may take to dial back, ms. */
export const DIAL_BACK_MS = 10_000;
/** How long an agent may take to answer a question about a target (posture, plan), ms. */
export const ASK_TIMEOUT_MS = 15_000;
/** Questions that one site's agents may be answering at once. */
export const MAX_OPEN_QUESTIONS = 16;

// ── identity ──
export const MAX_TOKEN_BYTES = 16 * 1024;
/** A token's `iat` may be this old at most, s; its `exp` is advisory (IDENTITY.md). */
export const MAX_TOKEN_AGE_S = 600;
/** The most that a bundle may allow an issuer's tokens instead, s. */
export const TOKEN_AGE_CEILING_S = 24 * 3600;
/** Clock skew accepted, s (GW-08). */
export const MAX_CLOCK_SKEW_S = 60;
export const CREDENTIAL_TTL_S = 900;
/** A renewed credential's whole life, s. */
export const CREDENTIAL_MAX_AGE_S = 6 * 3600;
/** A DPoP proof's `iat` may differ from our clock by this much, either way, s. */
export const DPOP_WINDOW_S = 60;
/** Single-use keys (tokens, proofs) that one identity may have unexpired; at the cap new ones are refused, none forgotten. */
export const MAX_REPLAY_KEYS = 50_000;
/** Session credentials that one identity may have unexpired. */
export const MAX_CREDENTIALS = 2_000;
/** Bytes of an issuer's discovery document, and of its key set. */
export const MAX_ISSUER_DOCUMENT_BYTES = 128 * 1024;
/** How long one fetch from an issuer may take, ms. */
export const ISSUER_TIMEOUT_MS = 5_000;
/** Issuer keys are fetched again after this, ms. */
export const ISSUER_KEYS_MAX_AGE_MS = 10 * 60_000;
/** Last good keys are used for this long while the issuer cannot be reached, ms since they were fetched. */
export const ISSUER_KEYS_STALE_MS = 4 * 3600_000;
/** At least this long between two fetches from one issuer by one isolate, whatever `kid` a token names, ms. */
export const ISSUER_REFETCH_MS = 30_000;
export const AGENT_TOKEN_TTL_S = 60;
export const ENROLMENT_TTL_S = 24 * 3600;

// ── sessions ──
export const SESSION_MAX_S = 8 * 3600;
export const SESSIONS_PER_IDENTITY = 64;
/** Between telling an agent to end a session and cutting its sockets, ms: together under one second. */
export const KILL_GRACE_MS = 500;

// ── holds ──
/** A client whose command is held is told so again this often, ms. */
export const HOLD_NOTICE_EVERY_MS = 15_000;
/** How long votes are taken where the policy does not say, ms. */
export const HOLD_TTL_MS = 15 * 60_000;
/** The longest that a command is held while its transaction keeps locks, whatever the policy says, ms. */
export const HOLD_IN_TRANSACTION_MAX_MS = 5 * 60_000;
/** After its time to live a hold waits this long for the gateway's own word, ms. */
export const HOLD_GRACE_MS = 5_000;
/** A client that does not wait for approvals waits this long for whether one was given before, ms. */
export const HOLD_FAIL_ANSWER_MS = 5_000;
/** A held command is decided anew this soon after a new bundle at the latest, ms. */
export const HOLD_RECHECK_MS = 1_000;
/** Definitions of what a held command names must be read within this, ms. */
export const HOLD_DEFINITIONS_MS = 10_000;
/** The target's estimate of a held command (EXPLAIN), ms and bytes. */
export const HOLD_ESTIMATE_MS = 2_000;
export const HOLD_ESTIMATE_BYTES = 16 * 1024;
/** Approvals that one agent waits for. */
export const MAX_PENDING_APPROVALS = 10_000;
/** Approvals of one session whose last state its connector is told again after a reconnect. */
export const MAX_APPROVAL_NOTICES = 100;

// ── approvals ──
/** Approvals that take votes at once, of one identity and of one session. */
export const APPROVALS_PER_IDENTITY = 100;
export const APPROVALS_PER_SESSION = 20;
/** UTF-8 bytes of one request for approval as JSON: the whole command, its parameters and objects. */
export const MAX_APPROVAL_BYTES = 1536 * 1024;
/** Refused attempts to vote that an approval keeps; more are only in the audit. */
export const MAX_REFUSED_VOTES = 100;

// ── chat ──
/** A signed message of a chat channel may be this old, or this far ahead, s (GW-10). */
export const CHAT_WINDOW_S = 300;
/** Bytes of one message from a chat channel. */
export const MAX_CHAT_BYTES = 256 * 1024;
/** How long one attempt to tell a chat channel may take, ms. */
export const CHAT_TIMEOUT_MS = 10_000;
/** Attempts to tell a chat channel of one thing. */
export const CHAT_ATTEMPTS = 8;

// ── bundles ──
export const MAX_BUNDLE_BYTES = 512 * 1024;
export const MAX_BUNDLE_FILES = 500;
/** Columns and column names that a bundle's data classes may list: each is compared with every column of a catalogue. */
export const MAX_MASKING_PATTERNS = 2000;

// ── recording ──
/** A segment is closed and uploaded once it holds this much; one event may carry it past. */
export const SEGMENT_TARGET_BYTES = 512 * 1024;
export const MAX_EVENT_BYTES = 4 * 1024 * 1024;
export const MAX_SEGMENT_BYTES = SEGMENT_TARGET_BYTES + MAX_EVENT_BYTES;
/** Characters of a statement in D1's index; the recording holds the whole, and the row says `truncated`. */
export const MAX_INDEXED_TEXT = 32 * 1024;

// ── plans ──
/** UTF-8 bytes of a plan's text: it travels in one control message, and people read it. */
export const MAX_PLAN_BYTES = 256 * 1024;
export const MAX_PLAN_STATEMENTS = 1_000;
/** How long a plan that needs no consent may be run after it was made, ms; one that does, until its approval expires. */
export const PLAN_TTL_MS = 24 * 3600_000;
/** Plans of one identity that could still be run. */
export const PLANS_PER_IDENTITY = 200;

// ── SQL ──
/** UTF-8 bytes of one text of SQL that is analysed; anything longer is refused. */
export const MAX_SQL_BYTES = 1024 * 1024;
/** Its tokens, comments included: they, not the bytes, set what parsing costs in time and memory. */
export const MAX_SQL_TOKENS = 100_000;
/** Different effects (an action on an object) of one text: each is a decision of policy. */
export const MAX_SQL_EFFECTS = 5_000;
/** Nesting of its parse tree, in nodes. */
export const MAX_AST_DEPTH = 500;

// ── masking ──
/** Bytes of a value whose mask has to read it, or that is scanned: the work is done in one go. A longer one becomes NULL. */
export const MAX_MASKED_VALUE = 1024 * 1024;
/** Nesting of a json or jsonb value that is masked by path or scanned; a deeper one becomes NULL. */
export const MAX_MASKED_JSON_DEPTH = 512;
/** Bytes of one row, or of one line of copy data, of which something is masked: it is held in memory whole. */
export const MAX_MASKED_ROW_BYTES = 16 * 1024 * 1024;

// ── the catalogue of a target ──
/** A target's catalogue is loaded anew after this, besides after every definition statement seen, ms. */
export const CATALOGUE_REFRESH_MS = 5 * 60_000;
/** While it is used, definitions are compared with those at the load as often as this, ms; for statements that read views, every time. */
export const CATALOGUE_CONFIRM_MS = 5_000;
/** One that could not be loaded anew for this long is not used any more, ms. */
export const CATALOGUE_STALE_MS = 15 * 60_000;
/** How long one load may take, ms. */
export const CATALOGUE_LOAD_MS = 20_000;
/** How long a load waits for a lock, for instance one that a client's open transaction holds, ms. */
export const CATALOGUE_LOCK_MS = 1_000;
/** The side connection is closed after it was idle for this long, ms. */
export const CATALOGUE_IDLE_MS = 30_000;
/** Columns of all relations of a target. */
export const MAX_CATALOGUE_COLUMNS = 1_000_000;
