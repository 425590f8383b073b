/**
 * The one registry of error codes that a peer may see. A code never changes meaning; docs/errors.md lists
 * them, and a test keeps the page and this table the same. The reason in detail goes to the audit log,
 * never into these sentences.
 */
export interface ErrorEntry {
  /** HTTP status where the code is answered over HTTP. */
  readonly status: number;
  /** One sentence for a human, saying what to do where something can be done. */
  readonly sentence: string;
}

export const ERRORS = {
  // identity: 401
  token_missing: { status: 401, sentence: "No token was presented: send Authorization: Bearer <OIDC token>." },
  token_invalid: { status: 401, sentence: "The token was not accepted." },
  token_expired: { status: 401, sentence: "The token has expired or is too old: fetch a fresh one." },
  token_replayed: { status: 401, sentence: "This token was already used: fetch a fresh one, or exchange it once at /v1/token." },
  issuer_unavailable: { status: 503, sentence: "The token's issuer could not be reached to verify it: try again." },
  proof_invalid: { status: 401, sentence: "The DPoP proof does not match the credential, the request or the clock." },
  credential_expired: { status: 401, sentence: "The session credential has expired: exchange the job's token again." },
  agent_unknown: { status: 401, sentence: "The agent's key is not enrolled here, or was revoked." },
  enrolment_invalid: { status: 401, sentence: "The enrolment token is unknown, used or expired: ask for a new one." },
  bootstrap_invalid: { status: 401, sentence: "The bootstrap secret is wrong, or no longer accepted because a bundle is active." },
  signature_invalid: { status: 401, sentence: "The message is not signed by a channel of this gateway, is too old, or came before." },
  // authorisation: 403
  identity_unmatched: { status: 403, sentence: "No identity in the active bundle matches this token." },
  identity_revoked: { status: 403, sentence: "This identity is revoked." },
  denied: { status: 403, sentence: "Policy does not allow this." },
  approval_required: { status: 403, sentence: "Policy requires an approval for this." },
  vote_refused: { status: 403, sentence: "This vote does not count." },
  plan_unusable: { status: 409, sentence: "The plan cannot be run: it was used, refused, or its time is over. Plan it anew." },
  // not found: 404
  not_found: { status: 404, sentence: "No such thing, or not yours to see." },
  target_unknown: { status: 404, sentence: "No agent serves a target of this name." },
  // bad requests
  bad_request: { status: 400, sentence: "The request was malformed." },
  bundle_invalid: { status: 422, sentence: "The bundle was refused: see problems." },
  conflict: { status: 409, sentence: "The thing has changed meanwhile: look again and retry." },
  approval_over: { status: 409, sentence: "The approval has ended already." },
  too_large: { status: 413, sentence: "The request is larger than its limit." },
  upgrade_required: { status: 426, sentence: "This address speaks WebSocket." },
  too_many: { status: 429, sentence: "This identity has reached its quota: try again later." },
  // state of the gateway and its sites
  no_bundle: { status: 503, sentence: "No bundle is active yet: push one with sallyport policy push." },
  site_offline: { status: 503, sentence: "No agent of the target's site is connected." },
  agent_unready: { status: 503, sentence: "The agent could not take this now: try again." },
  policy_stale: { status: 503, sentence: "The agent's policy is older than its limit: it refuses until the gateway is reachable." },
  recording_unavailable: { status: 503, sentence: "The session cannot be recorded, so nothing runs." },
  target_unreachable: { status: 502, sentence: "The agent could not reach the target or was not accepted by it." },
  internal: { status: 500, sentence: "Something failed inside the gateway; the reference finds it in the log." },
  // how a session ends
  session_closed: { status: 410, sentence: "The session ended." },
  session_killed: { status: 410, sentence: "The session was ended by an administrator." },
  session_expired: { status: 410, sentence: "The session reached its deadline." },
  session_idle: { status: 410, sentence: "The session was idle for too long." },
  session_lost: { status: 410, sentence: "The session could not be resumed in time." },
  agent_draining: { status: 410, sentence: "The agent is shutting down." },
  protocol_violation: { status: 400, sentence: "The peer broke the stream protocol." },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export const isErrorCode = (text: unknown): text is ErrorCode => typeof text === "string" && Object.hasOwn(ERRORS, text);
