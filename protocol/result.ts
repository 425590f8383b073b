/**
 * `Result`: how pure code reports an expected failure. Throwing is left for bugs.
 * A failure carries a tagged reason; the edge of the program (HTTP, close code, SQLSTATE, exit status)
 * turns it into what the peer may see, in one place.
 */
export type Result<T, E> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

export const ok = <T>(value: T): Result<T, never> => ({ ok: true, value });
export const err = <E>(error: E): Result<never, E> => ({ ok: false, error });

/** For the `default` of an exhaustive switch: a compile error when a case is missing, a throw if reached. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
