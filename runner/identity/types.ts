/** What a source of a job's OIDC token is. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface TokenSource {
  /** For messages: `GitHub Actions`, `SALLYPORT_TOKEN`, … */
  readonly name: string;
  /** Whether a new token can be had at any time. One that cannot is exchanged once and its credential kept for the job. */
  readonly mintable: boolean;
  /** @throws TokenUnavailable */
  fetch(audience: string): Promise<string>;
}

/** A message for the person, with what to do; no token in it. */
export class TokenUnavailable extends Error {
  override name = "TokenUnavailable";
}

export interface SourceKind {
  /** What it looks for, for `doctor` and for the message when none is found. */
  readonly looksFor: string;
  /** Undefined when this environment is not its own. @throws TokenUnavailable when it is, and something is missing. */
  find(env: Environment): TokenSource | undefined;
}
