/** One line of `doctor`. `check` is a stable name for programs. */
export interface Finding {
  readonly check: string;
  /** `skip`: could not be looked at, because of an earlier failure. */
  readonly status: "ok" | "warn" | "fail" | "skip";
  /** What is so, and what to do where something is wrong. */
  readonly message: string;
  /** Statements that would mend it at a target: for a person to review and run, never run here. */
  readonly sql?: readonly string[];
}
