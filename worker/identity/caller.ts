/** What authentication answers: a `Caller`, or a `Refused` whose `code` the client sees and whose `reason` only the audit does. */
import type { ErrorCode } from "../../protocol/errors.ts";
import { err, type Result } from "../../protocol/result.ts";
import type { Workload } from "../../protocol/workload.ts";
import type { IdentityDeclaration, Policy } from "../../policy/types.ts";

export interface Caller {
  /** As the active bundle declares it. */
  readonly identity: IdentityDeclaration;
  readonly workload: Workload;
  readonly via: "oidc" | "credential";
  /** When what was presented stops being accepted, ms since the epoch. */
  readonly expiresAt: number;
}

export interface Refused {
  readonly code: ErrorCode;
  /** In detail, for the audit log; holds no token and no part of one but claims named in it. */
  readonly reason: string;
  readonly identity?: string;
  readonly issuer?: string;
  readonly subject?: string;
}

/** The active bundle, as far as authentication reads it. */
export interface ActiveBundle {
  readonly version: number;
  readonly policy: Pick<Policy, "gateway" | "identities">;
}

/** What was learnt of the token before it was refused. */
export type Learnt = Omit<Refused, "code" | "reason">;

export const refused = (code: ErrorCode, reason: string, learnt: Learnt = {}): Result<never, Refused> => err({ ...learnt, code, reason });
