/**
 * Dates of the proleptic Gregorian calendar as days since 1970-01-01, and ISO 8601 text as PostgreSQL, JSON and HTTP
 * write it. Years 1 to 9999 only: what lies outside is not a date here.
 */

export interface Civil {
  readonly year: number;
  /** 1 to 12, 1 to 31. */
  readonly month: number;
  readonly day: number;
}

export type Precision = "year" | "month" | "day";

/** Days from 1970-01-01 to a date: eras of 400 years, years that begin in March. */
export function daysOf({ year, month, day }: Civil): number {
  const shifted = month > 2 ? year : year - 1;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719468;
}

export function civilOf(days: number): Civil {
  const shifted = days + 719468;
  const era = Math.floor(shifted / 146097);
  const dayOfEra = shifted - era * 146097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
  };
}

export const FIRST_DAY = daysOf({ year: 1, month: 1, day: 1 });
export const LAST_DAY = daysOf({ year: 9999, month: 12, day: 31 });
export const inCalendar = (days: number): boolean => days >= FIRST_DAY && days <= LAST_DAY;

/** The first day of the year or month that a day is in, or the day itself. */
export function truncateDays(days: number, to: Precision): number {
  const { year, month } = civilOf(days);
  if (to === "day") return days;
  return daysOf({ year, month: to === "year" ? 1 : month, day: 1 });
}

const pad = (value: number, width: number): string => String(value).padStart(width, "0");

/** `1987-03-05`. */
export function printDate(days: number): string {
  const { year, month, day } = civilOf(days);
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`;
}

/** Days of `YYYY-MM-DD` with a day that exists; null for anything else. */
export function parseDate(text: string): number | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text);
  if (match === null) return null;
  const civil = { year: Number(match[1]), month: Number(match[2]), day: Number(match[3]) };
  if (civil.year < 1 || civil.month < 1 || civil.month > 12 || civil.day < 1 || civil.day > 31) return null;
  const days = daysOf(civil);
  return civilOf(days).day === civil.day ? days : null;
}

export const DAY_US = 86_400_000_000;

/** Microseconds since midnight of `HH:MM:SS[.ffffff]`, 24:00:00 and a leap second included; null for anything else. */
export function parseTime(text: string): number | null {
  const match = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/.exec(text);
  if (match === null) return null;
  const [hours, minutes, seconds] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const us = ((hours * 60 + minutes) * 60 + seconds) * 1e6 + Number((match[4] ?? "").padEnd(6, "0"));
  return minutes < 60 && seconds <= 60 && us <= DAY_US ? us : null;
}

/** `HH:MM:SS`, with a fraction where there is one. */
export function printTime(us: number): string {
  const seconds = Math.floor(us / 1e6);
  const fraction = us % 1e6 === 0 ? "" : `.${pad(us % 1e6, 6).replace(/0+$/, "")}`;
  return `${pad(Math.floor(seconds / 3600), 2)}:${pad(Math.floor(seconds / 60) % 60, 2)}:${pad(seconds % 60, 2)}${fraction}`;
}

/** Seconds east of UTC of `+02`, `-03:30`, `+01:02:03`, `Z`; null for anything else. */
export function parseOffset(text: string): number | null {
  if (text === "Z") return 0;
  const match = /^([+-])(\d\d)(?::?(\d\d)(?::(\d\d))?)?$/.exec(text);
  if (match === null) return null;
  const [hours, minutes, seconds] = [Number(match[2]), Number(match[3] ?? 0), Number(match[4] ?? 0)];
  if (hours > 15 || minutes > 59 || seconds > 59) return null;
  const east = (hours * 60 + minutes) * 60 + seconds;
  return match[1] === "-" ? -east : east;
}
