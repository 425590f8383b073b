/**
 * Bind's parameters as they are recorded: text ones masked, binary and long ones as their size. The recording's size
 * is bounded whatever a client binds.
 */
import type { Bind } from "../codec/frontend.ts";

/** Characters of one parameter, and of all of a Bind. */
const MAX_PARAMETER = 1024;
const MAX_PARAMETERS = 256 * 1024;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export type RecordedParameter = string | null | { bytes: number };

function text(bytes: Buffer): string | null {
  try {
    return UTF8.decode(bytes);
  } catch {
    return null;
  }
}

/** Undefined when there are none. */
export function recordParameters(message: Bind, maskText: (text: string) => string): readonly RecordedParameter[] | undefined {
  const { parameters, parameterFormats } = message;
  if (parameters.length === 0) return undefined;
  let left = MAX_PARAMETERS;
  return parameters.map((parameter, i) => {
    if (parameter === null) return null;
    const format = parameterFormats.length === 1 ? parameterFormats[0] : (parameterFormats[i] ?? 0);
    const value = format === 0 && parameter.length <= Math.min(MAX_PARAMETER, left) ? text(parameter) : null;
    if (value === null) return { bytes: parameter.length };
    left -= parameter.length;
    return maskText(value);
  });
}
