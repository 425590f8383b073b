/**
 * Decimal numbers of any size, exactly: `coefficient × 10^-scale`. For generalising numbers to a multiple without the
 * rounding of binary floating point.
 */

export interface Decimal {
  readonly coefficient: bigint;
  /** Digits after the point, ≥ 0. */
  readonly scale: number;
}

/** Digits beyond which a number is not read: PostgreSQL's numeric has at most 131,072 before the point and 16,383 after. */
const MAX_DIGITS = 150_000;

/** `-12.50`, `5`, `1e-7`, `.5`; null for anything else. */
export function parseDecimal(text: string): Decimal | null {
  if (text.length > MAX_DIGITS) return null;
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/.exec(text);
  if (match === null) return null;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = match;
  if (whole === "" && fraction === "") return null;
  const magnitude = BigInt(whole + fraction);
  const coefficient = sign === "-" ? -magnitude : magnitude;
  const scale = fraction.length - Number(exponent);
  if (Math.abs(scale) > MAX_DIGITS) return null;
  return scale >= 0 ? { coefficient, scale } : { coefficient: coefficient * 10n ** BigInt(-scale), scale: 0 };
}

/** Without zeros at the end of its fraction. */
export function normalise({ coefficient, scale }: Decimal): Decimal {
  if (scale === 0) return { coefficient, scale };
  if (coefficient === 0n) return { coefficient, scale: 0 };
  const digits = coefficient.toString();
  let zeros = 0;
  while (zeros < scale && digits.charCodeAt(digits.length - 1 - zeros) === 0x30) zeros++;
  return { coefficient: coefficient / 10n ** BigInt(zeros), scale: scale - zeros };
}

export function printDecimal({ coefficient, scale }: Decimal): string {
  if (scale === 0) return coefficient.toString();
  const negative = coefficient < 0n;
  const digits = (negative ? -coefficient : coefficient).toString().padStart(scale + 1, "0");
  return `${negative ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Down to a multiple of `step`, towards minus infinity; null when the step is not a positive number. */
export function floorTo(value: Decimal, step: number): Decimal | null {
  const by = Number.isFinite(step) && step > 0 ? parseDecimal(String(step)) : null;
  if (by === null || by.coefficient === 0n) return null;
  const scale = Math.max(value.scale, by.scale);
  const coefficient = value.coefficient * 10n ** BigInt(scale - value.scale);
  const unit = by.coefficient * 10n ** BigInt(scale - by.scale);
  const rest = ((coefficient % unit) + unit) % unit;
  return normalise({ coefficient: coefficient - rest, scale });
}
